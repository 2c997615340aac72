"""The store: the methods of the protocol in its order, each calling the module that implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.storage.lying import MOST_BYTES, PAGE, Lying, last_of
from romancy.storage.records import Capabilities, InboxRow, LogRow
from romancy.storage.sqlkit.leases import Leases
from romancy.storage.sqlkit.outbox import SqlOutbox
from romancy_postgres._claims import claim
from romancy_postgres._commit import Commits
from romancy_postgres._database import Database
from romancy_postgres._find import count, find
from romancy_postgres._inbox import deliver
from romancy_postgres._interpreter import PostgresInterpreter
from romancy_postgres._joined import join_session
from romancy_postgres._migrations import bring_up_to_date
from romancy_postgres._prune import prune
from romancy_postgres._read import read_history
from romancy_postgres._rebuilding import PostgresRebuilding
from romancy_postgres._router import PostgresRouter
from romancy_postgres._server import check_server
from romancy_postgres._sessions import open_session
from romancy_postgres._signals import Signals
from romancy_postgres._slices import PostgresSlices
from romancy_postgres._takeover import takeover
from romancy_postgres._tally import loads, tally, tally_slice, trend
from romancy_postgres._uncommitted import Uncommitted
from romancy_postgres._upkeep import PostgresUpkeep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from romancy.status import Status
    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.query import Position, Query
    from romancy.storage.records import (
        Census,
        ClaimRequest,
        Delivered,
        Delivery,
        History,
        InstanceRow,
        Page,
        Peer,
        PruneRequest,
        Pulse,
        Takeover,
        Work,
        Worker,
    )
    from romancy.storage.tally import Slice, Tally, Trend
    from romancy_postgres._sessions import PostgresSession
    from romancy_postgres._settings import Settings

__all__ = ["PostgresStore"]


class PostgresStore:
    """A store on PostgreSQL 13 or newer. A session's native object is the `asyncpg.Connection`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = False
        self._capabilities = Capabilities(
            name="PostgreSQL", push=settings.listen, transactional_ddl=True, sql=True, placeholder="$1"
        )
        self.database = Database(settings)
        self._signals = Signals(self.database)
        self._commits = Commits(self.database, self._signals)
        self._uncommitted = Uncommitted(self.database, self._signals)
        self.commit = self._commits.commit
        interpreter = PostgresInterpreter(self.database, self._signals.tell)
        self.outbox = SqlOutbox(interpreter, self._signals.wait_for_outbox)
        urgent = PostgresInterpreter(self.database, self._signals.tell, lambda: self.database.heartbeats)
        self._leases = Leases(interpreter, urgent)
        self.slices = PostgresSlices(self.database)
        self.router = PostgresRouter(self.database, self._signals)
        self.rebuilding = PostgresRebuilding(self.database, self._signals)
        self.upkeep = PostgresUpkeep(self.database, lambda: Database(settings))

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def open(self, *, migrate: bool = True) -> None:
        if self._started:
            return
        self.database.open()
        try:
            version = await check_server(self.database)
            await bring_up_to_date(self.database, migrate=migrate)
        except BaseException:
            await self.database.close()
            raise
        self._capabilities = replace(self._capabilities, name=f"PostgreSQL {version}")
        await self._signals.open()
        self._started = True

    async def close(self) -> None:
        if not self._started:
            return
        self._started = False
        await self._uncommitted.close()
        await self._signals.close()
        await self.database.close()

    async def read(self, instance_id: str, /, *, after: int = 0, limit: int = 1000) -> History | None:
        return await read_history(self.database, instance_id, after, limit)

    async def claim(self, request: ClaimRequest, /) -> Work:
        return await claim(self.database, self._signals, request)

    async def heartbeat(self, worker: Worker, /, *, leaving: bool = False) -> Pulse:
        return await self._leases.heartbeat(worker, leaving=leaving)

    async def census(self) -> Census:
        return await self._leases.census()

    async def tally(self, *, most: int, newest: int) -> Tally:
        return await tally(self.database, most, newest)

    async def lying(
        self, instance_id: str | None = None, /, *, after: tuple[str, str] = ("", ""), limit: int = PAGE
    ) -> list[Lying]:
        rows = await self.database.fetch("lying", *after, last_of(instance_id), limit, MOST_BYTES)
        return [Lying(row[0], InboxRow(*row[1:])) for row in rows]

    async def taken_ids(self, instance_ids: Sequence[str], /) -> set[str]:
        return {row[0] for row in await self.database.fetch("taken_ids", list(instance_ids))}

    async def last_commits(self, instances: Sequence[InstanceRow], /) -> dict[str, LogRow]:
        keys = [(one.instance_id, one.life, one.last_seq) for one in instances]
        rows = await self.database.fetch("last_commits", *map(list, zip(*keys, strict=True)))
        return {row[0]: LogRow(*row[1:]) for row in rows}

    async def trend(self, *, since: int, width: int, most: int, newest: int) -> Trend:
        return await trend(self.database, since, width, most, newest)

    async def tally_slice(self, *, after: Position | None, count: int, width: int) -> Slice:
        return await tally_slice(self.database, after, count, width)

    async def loads(self, workers: Sequence[str], /, *, most: int) -> dict[str, int]:
        return await loads(self.database, workers, most)

    async def takeover(self, worker: str, dead: Peer, body: bytes, writer: str, /, *, limit: int = 100) -> Takeover:
        return await takeover(self.database, self._signals, worker, dead, body, writer, limit=limit)

    async def deliver(self, batch: Sequence[Delivery], /) -> list[Delivered]:
        return await deliver(self.database, self._signals, batch)

    async def find(self, query: Query, /) -> Page:
        return await find(self.database, query)

    async def count(self, query: Query, /) -> dict[tuple[str, Status], int]:
        return await count(self.database, query)

    def session(
        self, *, join: object | None = None, isolation: IsolationLevel | None = None
    ) -> AbstractAsyncContextManager[PostgresSession]:
        if join is None:
            return open_session(self.database, self._signals, self._commits, isolation or "read committed")
        return join_session(self.database, self._signals, self._commits, self._uncommitted, join)

    async def wait_for_work(self, timeout: float, /) -> frozenset[str] | None:
        return await self._signals.wait(timeout)

    async def prune(self, request: PruneRequest, /) -> int:
        return await prune(self.database, request)
