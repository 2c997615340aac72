"""The app of a process: made from the settings, opened when it is first needed, and again after a fork."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from django.db import connections
from msgspec.structs import replace

from romancy._logs import get_logger
from romancy.app import Romancy
from romancy.errors import RomancyError, UsageError
from romancy.ext.django._connections import with_fresh_connections
from romancy.ext.django._settings import Chosen, chosen
from romancy.sync import SyncRomancy
from romancy.sync._calling import Keeper

__all__ = ["close_app", "made", "open_before_the_request", "opened_app"]

logger = get_logger("romancy.django")


class DjangoRomancy(Romancy):
    """An app whose plain activities may use Django's ORM for as long as their thread lives."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._settings = replace(self._settings, stage=with_fresh_connections)


class DjangoSyncRomancy(SyncRomancy):
    """The same for code without `await`."""

    def __init__(self, said: Chosen) -> None:
        Keeper.__init__(self, lambda: made(said))


def made(said: Chosen, *, worker: bool | None = None) -> Romancy:
    """An app as the setting `ROMANCY` wants it, not open."""
    works = said.worker if worker is None else worker
    try:
        return DjangoRomancy(said.url, workflows=said.workflows, worker=works, **said.options)
    except TypeError as error:
        raise UsageError(f"ROMANCY['OPTIONS']: {error}") from None


class _Process:
    """The state of the app in a process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.app: SyncRomancy | None = None
        if sys.platform != "win32":  # which does not fork
            os.register_at_fork(after_in_child=self._unlock)

    def _unlock(self) -> None:
        """Replace the lock after a fork: the thread that may have held it does not exist in the child."""
        self.lock = threading.Lock()

    def opened(self) -> SyncRomancy:
        app = self.app
        if app is not None and app.is_open:
            return app
        with self.lock:
            said = chosen()
            _check_no_transaction(said)
            if self.app is None:
                self.app = DjangoSyncRomancy(said)
            return self.app if self.app.is_open else self.app.open()

    def close(self) -> None:
        with self.lock:
            app, self.app = self.app, None
            if app is not None and app.is_open:
                app.close()


_process = _Process()


def opened_app() -> SyncRomancy:
    """The app of this process. It is opened by the first request or the first call, and closed with the interpreter.

    Any number of threads may use it. A forked process opens it again. Raises UsageError for a setting that is wrong,
    and in code that an event loop runs: an async view calls a plain function that uses the app, through
    `sync_to_async`.
    """
    return _process.opened()


def close_app() -> None:
    """Close the app of this process, if it is open. Tests need it before they drop their database."""
    _process.close()


def open_before_the_request(**_: object) -> None:
    """Open the app before the request's transaction: on SQLite, its opening would wait for that to end."""
    try:
        opened_app()
    except UsageError:
        pass  # a view that needs the app gets the error; other views work, as in tests on a database in memory
    except RomancyError as error:
        logger.warning("the app of this process cannot be opened, and this request continues without it: %s", error)


def _check_no_transaction(said: Chosen) -> None:
    """Refuse to open an app while this thread holds a transaction on the file: the opening would wait for it."""
    if said.alias is None:
        return
    connection = connections[said.alias]
    if connection.vendor == "sqlite" and connection.in_atomic_block:
        raise UsageError(
            "opened_app() opens the app of this process, and has to write to the file that this transaction may hold; "
            "call opened_app() once before `atomic()`"
        )
