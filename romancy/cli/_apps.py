"""Finds the app that a command names as `module:attribute`, as the user would import it in the current folder."""

from __future__ import annotations

import importlib
import linecache
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from romancy.app import Romancy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["load", "load_app"]

T = TypeVar("T")

_NOT_WHEN_IMPORTED: Final = (
    'put what it runs, opening the app included, under `if __name__ == "__main__":`; '
    "the command opens the app by itself"
)


def load_app(target: str) -> Romancy:
    """The app of `module:attribute`; without an attribute `app`, or the only app that the module has.

    Raises click.UsageError, which says what was looked for and where, and click.ClickException if the module itself
    fails: with file and line, and without the frames of Python's own files.
    """
    return load(target, {Romancy: "app"})


def load(target: str, usual: Mapping[type[T], str]) -> T:
    """The object of `module:attribute`, of one of these classes; raises as `load_app` does.

    Without an attribute it is the one of the first class that the module has any of: under the usual name, or the only
    one.
    """
    name, _, attribute = target.partition(":")
    module = _import(name, target)
    kinds = tuple(usual)
    apps = {key: value for key, value in vars(module).items() if isinstance(value, kinds)}
    if attribute:
        found = getattr(module, attribute, None)
        if isinstance(found, kinds):
            return found
        what = "no such name" if found is None else f"a {type(found).__name__}, no Romancy app"
        raise click.UsageError(f"{target}: {what} in module {name}{_offer(name, apps)}")
    for kind, expected in usual.items():
        some = {key: value for key, value in apps.items() if isinstance(value, kind)}
        if expected in some:
            return some[expected]
        if len(set(map(id, some.values()))) == 1:
            return next(iter(some.values()))
        if some:
            break
    problem = "has several apps" if apps else "has no app: make one, `app = Romancy(url)`, and do not open it there"
    raise click.UsageError(f"module {name} {problem}{_offer(name, apps)}")


def _import(name: str, target: str) -> object:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    if not name or name.endswith(".py") or "/" in name:
        raise click.UsageError(f"{target}: name a module as Python imports it, as in `shop.workflows:app`, not a file")
    try:
        # Warnings are suspended: a coroutine that the failed module left unawaited must not add a second message.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            return _run(name, here)
    except ModuleNotFoundError as error:
        raise click.UsageError(f"{target}: there is no module {error.name!r} in {here} or among the packages") from None


def _run(name: str, here: str) -> object:
    try:
        return importlib.import_module(name)
    except SystemExit:
        raise click.ClickException(
            f"module {name} ends the process when it is imported; {_NOT_WHEN_IMPORTED}"
        ) from None
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and _is_of(error.name, name):
            raise
        told = _told(error, name, here)
        traceback.clear_frames(error.__traceback__)
        raise click.ClickException(told) from None


def _is_of(missing: str | None, name: str) -> bool:
    return missing is not None and (name == missing or name.startswith(f"{missing}."))


def _told(error: Exception, name: str, here: str) -> str:
    """Where the module failed and with which error. If it runs a program, the text says not to."""
    lines = [f"module {name} cannot be imported"]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(here)]
    if frames and not isinstance(error, SyntaxError):  # which names the place itself
        last = frames[-1]
        source = linecache.getline(last.filename, last.lineno or 0).strip()
        lines += [f'  File "{last.filename}", line {last.lineno}, in {last.name}', f"    {source}"]
    lines += "".join(traceback.format_exception_only(error)).rstrip().splitlines()
    if isinstance(error, RuntimeError) and "running" in str(error):
        lines.append(f"It runs an event loop when it is imported; {_NOT_WHEN_IMPORTED}")
    return "\n".join(lines)


def _offer(name: str, apps: Iterable[str]) -> str:
    return f"; it has {', '.join(f'{name}:{key}' for key in sorted(apps))}" if apps else ""
