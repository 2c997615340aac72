"""The service for upkeep: removing what is over, missing migrations, and what costs durability or speed."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

from romancy.storage.sqlkit.pruning import Pruning
from romancy.storage.upkeep import Plan, Setting
from romancy_sqlite._connection import check_version, connect
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._errors import translate
from romancy_sqlite._migrations import plan_for
from romancy_sqlite._prune import KEYS_AT_ONCE

if TYPE_CHECKING:
    from pathlib import Path

    from romancy.storage.sqlkit.statements import Interpreter
    from romancy_sqlite._settings import Settings

__all__ = ["SqliteUpkeep"]

_LARGE_LOG = 256 * 1024 * 1024
_MUCH_FREE = 10_000
_SYNCHRONOUS = ("off", "normal", "full", "extra")


class SqliteUpkeep:
    """The operator's side of a store on a file."""

    def __init__(self, interpreter: Interpreter, settings: Settings) -> None:
        self._settings = settings
        self.prune = Pruning(interpreter, keys_at_once=KEYS_AT_ONCE).prune

    async def plan(self) -> Plan:
        return await asyncio.to_thread(self._plan)

    async def settings(self) -> list[Setting]:
        return await asyncio.to_thread(_found, self._settings.path)

    def _plan(self) -> Plan:
        check_version()
        path = self._settings.path
        # A missing file is not created. An existing one is opened read-only.
        address = f"{path.as_uri()}?mode=ro" if path.exists() else ":memory:"
        try:
            with closing(sqlite3.connect(address, uri=True, timeout=10, isolation_level=None)) as connection:
                return plan_for(path, self._settings.prefix, connection)
        except sqlite3.Error as error:
            raise translate(error, path, opening=True) from error


def _found(path: Path) -> list[Setting]:
    try:
        with closing(connect(path)) as connection:
            names = ("journal_mode", "synchronous", "page_count", "freelist_count", "page_size")
            mode, synchronous, pages, free, size = (
                connection.execute(f"pragma {name}").fetchone()[0] for name in names
            )
    except sqlite3.Error as error:
        raise translate(error, path) from error
    log = path.with_name(path.name + "-wal")
    return [
        _expected(
            "journal_mode", str(mode), "wal", "readers and the writer wait for each other; let an app open the file"
        ),
        _expected("synchronous", _SYNCHRONOUS[int(synchronous)], "full", "a loss of power loses commits"),
        _log(log.stat().st_size if log.exists() else 0),
        _free(free, pages, size),
    ]


def _expected(name: str, value: str, wanted: str, otherwise: str) -> Setting:
    advice = f"{otherwise}; {wanted} is wanted"
    return Setting.judged(name, value, good=value == wanted, otherwise="problem", advice=advice)


def _log(size: int) -> Setting:
    return Setting.judged(
        "write-ahead log",
        f"{size / 1_000_000:.1f} MB",
        good=size <= _LARGE_LOG,
        advice="every read looks through it; some process keeps a read transaction open, so it cannot be emptied",
    )


def _free(free: int, pages: int, size: int) -> Setting:
    return Setting.judged(
        "free pages",
        f"{free * size / 1_000_000:.1f} MB of {pages * size / 1_000_000:.1f} MB",
        good=free < max(_MUCH_FREE, pages // 2),
        advice="new rows use them; `vacuum` gives them back while no app has the file open",
    )
