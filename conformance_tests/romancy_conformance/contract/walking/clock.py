"""How the walk decides the time of a database, and empties it.

The present time of a database is part of nearly every answer, so the model must know it exactly. Romancy's adapters are
known here. Another adapter's clock is an entry point of its tests, named after its top-level package:

    [project.entry-points."romancy.conformance.clocks"]
    toy = "toy_tests:ToyClock"
"""

# pyright: reportPrivateUsage=false
# A clock reaches into the adapter, which knows nothing of it.

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from romancy.storage.url import parse_url
from romancy_conformance.contract.scripts import connect_to_postgres, run_script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from romancy.storage.protocol import Store
    from romancy_sqlite import MemoryStore
    from romancy_sqlite._connection import Tx

__all__ = ["BEGINNING", "Clock", "clock_of"]

BEGINNING: Final = 2_000_000_000_000_000
"""When a walk begins: later than now, because clocks do not go back, and before the last second of MariaDB."""
_GROUP: Final = "romancy.conformance.clocks"
_TABLES: Final = (
    "workers", "instances", "log", "inbox", "outbox", "seen", "index", "index_sets", "messages", "interests",
    "addresses", "letters", "journal",
)  # fmt: skip


def _emptied(tables: Iterable[str]) -> str:
    return "".join(f"delete from romancy_{table};" for table in tables)  # noqa: S608 - our own tables


class Clock(ABC):
    """The clock of the database at a URL. It stands still between two calls of `set`."""

    def __init__(self, url: str) -> None:
        self.url = url

    @abstractmethod
    async def begin(self, store: Store) -> None:
        """Take hold of the clock. The store is open."""

    @abstractmethod
    async def set(self, now: int) -> None:
        """From now on it is this time, which is later than before."""

    @abstractmethod
    async def clear(self) -> None:
        """Remove every row of Romancy's tables. Needed to search for a shorter walk that fails."""

    @abstractmethod
    async def end(self) -> None:
        """Let go of the clock."""


class _Memory(Clock):
    _store: MemoryStore

    async def begin(self, store: Store) -> None:
        self._store = cast("MemoryStore", store)

    async def set(self, now: int) -> None:
        self._store.database._clock = lambda: now

    async def clear(self) -> None:
        self._store.database._now = 0
        await self._store.run_write(_delete_all)

    async def end(self) -> None:
        """Its database ends with the test."""


def _delete_all(tx: Tx) -> None:
    for table in _TABLES:
        tx.run_text(f"delete from romancy_{table}", ())  # noqa: S608 - our own tables


class _Sqlite(Clock):
    async def begin(self, store: Store) -> None:
        self._connection: Any = import_module("romancy_sqlite._connection")
        self._file: Any = import_module("romancy_sqlite._file").SharedFile
        self._real = self._connection.now

    async def set(self, now: int) -> None:
        self._tell(lambda: now)

    async def clear(self) -> None:
        await run_script(self.url, _emptied(_TABLES))

    async def end(self) -> None:
        self._tell(self._real)

    def _tell(self, clock: Callable[[], int]) -> None:
        self._connection.now = clock
        self._file.now = staticmethod(clock)


class _Postgres(Clock):
    """Every statement asks the function `romancy_now`, which is replaced by one that reads a table."""

    async def begin(self, store: Store) -> None:
        self._connection = await connect_to_postgres(parse_url(self.url))
        self._real = await self._connection.fetchval("select pg_get_functiondef('romancy_now'::regproc)")
        await self._connection.execute(
            "set synchronous_commit = off; create unlogged table walk (now bigint); insert into walk values (0);"
            "create or replace function romancy_now() returns bigint language sql volatile as 'select now from walk'"
        )

    async def set(self, now: int) -> None:
        await self._connection.execute("update walk set now = $1", now)

    async def clear(self) -> None:
        await self._connection.execute(_emptied(_TABLES))

    async def end(self) -> None:
        await self._connection.execute(f"{self._real}; drop table walk")
        await self._connection.close()


class _MySQL(Clock):
    """`set timestamp` decides what `utc_timestamp` is in a session. It is sent before the next statement of each.

    On TiDB the time is that of the cluster, which nobody can set, and on Vitess nobody can set it either. There it is
    replaced in what is sent.
    """

    async def begin(self, store: Store) -> None:
        self._wire: Any = import_module("romancy_mysql._connection").Wire
        self._now = 0
        tidb = import_module("romancy_mysql.engines.tidb")
        usual, *cluster = (one.encode() for one in (tidb.THEIR_CLOCK, tidb.CLOCK, tidb.MOMENT))
        self._sent, self._setup = self._wire._sent, self._wire.setup
        clock = self

        async def sent(wire: Any, command: int, packet: bytes) -> Any:
            gate = "Vitess" in wire.server_version
            if clock._now and (wire.whole or gate):
                for one in [usual] if gate else cluster:
                    packet = packet.replace(one, b"%d" % clock._now)
            if clock._now and not gate and getattr(wire, "walked", 0) != clock._now:
                wire.walked = clock._now
                seconds, rest = divmod(clock._now, 1_000_000)
                text = b"set timestamp = %d.%06d" % (seconds, rest)
                await (await clock._sent(wire, 3, text)).answers()
            return await clock._sent(wire, command, packet)

        async def setup(wire: Any) -> None:
            wire.walked = 0
            await clock._setup(wire)

        self._wire._sent, self._wire.setup = sent, setup

    async def set(self, now: int) -> None:
        self._now = now

    async def clear(self) -> None:
        await run_script(self.url, _emptied((*_TABLES, "uncounted")))

    async def end(self) -> None:
        self._wire._sent, self._wire.setup = self._sent, self._setup


_OWN: Final[dict[str, Callable[[str], Clock]]] = {
    "romancy_sqlite._memory": _Memory,
    "romancy_sqlite": _Sqlite,
    "romancy_postgres": _Postgres,
    "romancy_mysql": _MySQL,
}


def clock_of(store: Store, url: str) -> Clock:
    """Return the clock of this store's database; skip the test if the suite cannot set it."""
    module = type(store).__module__
    package = module.partition(".")[0]
    if own := _OWN.get(module) or _OWN.get(package):
        return own(url)
    for found in entry_points(group=_GROUP, name=package):
        return cast("Clock", found.load()(url))
    pytest.skip(
        f"capability: the suite cannot set the time of this database: give the tests of {package} an entry point "
        f"{package!r} in the group {_GROUP!r}, a romancy_conformance.contract.walking.clock.Clock"
    )
