"""Finding the app that a command names as `module:attribute`, as the user would import it in the current folder."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

from romancy.app import Romancy

__all__ = ["load_app"]


def load_app(target: str) -> Romancy:
    """The app of `module:attribute`; without an attribute `app`, or the only app that the module has.

    Raises click.UsageError in words that say what was looked for where. Errors of the module's own come through.
    """
    name, _, attribute = target.partition(":")
    module = _import(name, target)
    apps = {key: value for key, value in vars(module).items() if isinstance(value, Romancy)}
    if attribute:
        found = getattr(module, attribute, None)
        if isinstance(found, Romancy):
            return found
        what = "no such name" if found is None else f"a {type(found).__name__}, no Romancy app"
        raise click.UsageError(f"{target}: {what} in module {name}{_offer(name, apps)}")
    if "app" in apps:
        return apps["app"]
    if len(set(map(id, apps.values()))) == 1:
        return next(iter(apps.values()))
    problem = "has several apps" if apps else "has no app: make one, `app = Romancy(url)`, and do not open it there"
    raise click.UsageError(f"module {name} {problem}{_offer(name, apps)}")


def _import(name: str, target: str) -> object:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    if not name or name.endswith(".py") or "/" in name:
        raise click.UsageError(f"{target}: name a module as Python imports it, as in `shop.workflows:app`, not a file")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise click.UsageError(f"{target}: there is no module {error.name!r} in {here} or among the packages") from None


def _offer(name: str, apps: dict[str, Romancy]) -> str:
    return f"; it has {', '.join(f'{name}:{key}' for key in sorted(apps))}" if apps else ""
