"""What kind of function a decorator takes, told in clear errors, and the name it goes by."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from romancy.errors import RegistrationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_function", "is_async", "name_of"]


def is_async(fn: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(fn)


def name_of(fn: Callable[..., Any], name: str | None, decorator: str) -> str:
    """The given name, or the function's. Raises RegistrationError for an empty one."""
    chosen = fn.__name__ if name is None else name
    if not chosen or chosen != chosen.strip():
        raise RegistrationError(f"@{decorator} on {fn.__qualname__}: {chosen!r} is not a name")
    return chosen


def check_function(fn: object, decorator: str) -> None:
    """Raise RegistrationError unless `fn` is a function with a name and one result."""
    kind = type(fn).__name__
    if kind in ("staticmethod", "classmethod"):
        raise RegistrationError(f"@{decorator} goes below @{kind}, directly on the function")
    if not inspect.isfunction(fn):
        raise RegistrationError(f"@{decorator} needs a function, not {kind}")
    where = f"@{decorator} on {fn.__qualname__}"
    if fn.__name__ == "<lambda>":
        raise RegistrationError(f"@{decorator} needs a function with a name of its own; a lambda has none")
    if inspect.isasyncgenfunction(fn) or inspect.isgeneratorfunction(fn):
        raise RegistrationError(f"{where}: a generator has no single result; return a value instead of yielding")
