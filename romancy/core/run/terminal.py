"""Finds the class of an error by its recorded name, independent of what this process has imported.

A class is looked for where its name says: in its module, which is imported if it has not been, or among the variables
of the activity's function. Two processes with the same code find the same class or none.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from inspect import unwrap
from typing import TYPE_CHECKING, Any, Final

from romancy.core.loop.thread_state import running_loop
from romancy.errors import TerminalError
from romancy.serialization import exception_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from romancy.serialization import ErrorInfo

__all__ = ["find_error", "terminal_errors"]

_TERMINAL: Final = exception_name(TerminalError)
_SCRIPTS: Final = ("__main__", "__mp_main__")
_LOCAL: Final = "<locals>"


def terminal_errors(info: ErrorInfo, fn: Callable[..., Any]) -> dict[str, type[Exception]]:
    """The terminal errors that the record names, with its causes and members. `fn` is the function that raised it."""
    found: dict[str, type[Exception]] = {_TERMINAL: TerminalError}
    for name in _names(info):
        if name not in found:
            cls = find_error(name, fn, TerminalError)
            if cls is not None:
                found[name] = cls
    return found


def find_error(name: str, fn: Callable[..., Any], base: type[Exception]) -> type[Exception] | None:
    """The class derived from `base` with this name; None if the place that the name gives holds none."""
    return _local(name, fn, base) if _LOCAL in name else _of_a_module(name, fn, base)


def _names(info: ErrorInfo) -> Iterator[str]:
    """The names of classes derived from TerminalError. The bases recorded after TerminalError are not."""
    if _TERMINAL in info.bases:
        yield info.type
        yield from info.bases[: info.bases.index(_TERMINAL)]
    for other in (*info.members, *(() if info.cause is None else (info.cause,))):
        yield from _names(other)


def _local(name: str, fn: Callable[..., Any], base: type[Exception]) -> type[Exception] | None:
    """A class made in the function in which the activity was declared."""
    for cell in getattr(unwrap(fn), "__closure__", None) or ():
        try:
            value = cell.cell_contents
        except ValueError:  # a variable that has not been set
            continue
        if _is_one(value, base) and name.endswith(f".{value.__qualname__}"):
            return value  # type: ignore[no-any-return]
    return None


def _of_a_module(name: str, fn: Callable[..., Any], base: type[Exception]) -> type[Exception] | None:
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        found: Any = _module(".".join(parts[:length]), fn.__module__)
        if found is not None:
            for part in parts[length:]:
                found = getattr(found, part, None)
            return found if _is_one(found, base) else None
    return None


def _is_one(value: object, base: type[Exception]) -> bool:
    return isinstance(value, type) and issubclass(value, base)


def _module(name: str, own: str) -> Any:
    """The module of this name. A script calls itself `__main__`, here or where the error was recorded."""
    if name in _SCRIPTS:
        return sys.modules.get(own)
    if any(part in _SCRIPTS for part in name.split(".")):
        return None
    loop = running_loop()
    if loop is None:
        return _imported(name)
    loop.leave()  # the import of a module is not part of the run
    try:
        return _imported(name)
    finally:
        loop.enter()


def _imported(name: str) -> Any:
    script = sys.modules.get("__main__")
    file = getattr(script, "__file__", None)
    try:
        spec = find_spec(name)
        if file and spec is not None and spec.origin == file:
            return script  # an import under its own name would load it twice
        return import_module(name)
    except (Exception, SystemExit):  # noqa: BLE001 - a module may raise anything while it is imported
        return None
