"""The database that a command works on: reads its options, and opens it without changing it."""

from __future__ import annotations

import asyncio
import functools
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from romancy._lists import lists_of
from romancy._operating import Operator
from romancy.cli._apps import load_app
from romancy.cli._private import refuse_private
from romancy.engine import coded, opened
from romancy.errors import RegistrationError
from romancy.registry import Registry
from romancy.serialization import NO_CODECS
from romancy.storage.backends import create_store
from romancy.storage.url import parse_url

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from romancy.app import Romancy


__all__ = ["Operator", "database", "operating", "running"]

P = ParamSpec("P")
T = TypeVar("T")

_URL = click.option("--url", envvar="ROMANCY_URL", metavar="URL", help="The database; or set ROMANCY_URL.")
_APP = click.option(
    "--app", metavar="MODULE:APP", help="An app of yours, for its URL and its codecs. Its module is imported."
)


def database(command: Callable[P, T]) -> Callable[P, T]:
    """Give a command the options that name a database."""
    return _URL(_APP(command))


@asynccontextmanager
async def operating(
    url: str | None, app: str | Romancy | None, *, lists: bool = False, code: bool = False
) -> AsyncGenerator[Operator]:
    """The database unchanged: it is neither migrated nor created. An app's password is for its own URL alone.

    With `lists`, lists are read from the standby of the app, if that has one. With `code`, the operator knows the
    workflows of the app.
    """
    loaded = load_app(app) if isinstance(app, str) else app
    codecs, password = NO_CODECS, None
    if loaded is not None:
        url, codecs = url or loaded.url, loaded.codecs
        password = loaded.password if url == loaded.url else None
    if url is None:
        raise click.UsageError("which database? Give --url URL, set ROMANCY_URL, or give --app MODULE:APP")
    refuse_private(url)
    read_url = None if loaded is None or url != loaded.url else loaded.read_url
    new, where = functools.partial(create_store, url, password=password), str(parse_url(url))
    within = None if loaded is None or loaded.connect_timeout == math.inf else loaded.connect_timeout
    store = await opened(lambda: coded(new(), codecs), where, patient=False, within=within, migrate=False)
    standby = await lists_of(store, read_url, password, codecs) if lists else None
    operator = Operator(store, standby, _code_of(loaded) if loaded is not None and code else None)
    try:
        yield operator
    finally:
        await operator.leave()
        await store.close()


def _code_of(app: Romancy) -> Registry | None:
    """The code of an app; None if two places declare one name, so that it cannot be told which is meant."""
    try:
        return Registry.collect([*app.workflows.values()])
    except RegistrationError:
        return None


def running(command: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Let click call a command that is an `async def`."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return asyncio.run(command(*args, **kwargs))

    return run
