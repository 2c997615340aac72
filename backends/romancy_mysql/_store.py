"""The store: the methods of the protocol, each calling the module that implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.errors import StorageUnavailableError
from romancy.storage.lying import PAGE
from romancy.storage.records import Capabilities, Delivered
from romancy.storage.sqlkit.figures import SqlFigures
from romancy_mysql._claims import claim
from romancy_mysql._commit import Committer
from romancy_mysql._database import Database
from romancy_mysql._find import count, find
from romancy_mysql._inbox import deliver
from romancy_mysql._joined import join_session
from romancy_mysql._leases import Leases
from romancy_mysql._lookups import MySQLLookups
from romancy_mysql._outbox import MySQLOutbox
from romancy_mysql._posted import Posted
from romancy_mysql._prune import prune
from romancy_mysql._rebuilding import MySQLRebuilding
from romancy_mysql._router import MySQLRouter
from romancy_mysql._rows import read
from romancy_mysql._scripts import Scripts
from romancy_mysql._sessions import open_session
from romancy_mysql._upkeep import MySQLUpkeep
from romancy_mysql._wakeups import Wakeups

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from romancy.status import Status
    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.lying import Lying
    from romancy.storage.outbox import Outbox
    from romancy.storage.protocol import Session
    from romancy.storage.query import Position, Query
    from romancy.storage.records import (
        Census,
        ClaimRequest,
        Delivery,
        History,
        InstanceRow,
        LogRow,
        Page,
        Peer,
        PruneRequest,
        Pulse,
        Takeover,
        Work,
        Worker,
    )
    from romancy.storage.routing import Router
    from romancy.storage.tally import OpenWork, Slice, Tally, Trend
    from romancy_mysql._settings import Settings

__all__ = ["MySQLStore"]


class MySQLStore:
    """A database on a MySQL or MariaDB server."""

    def __init__(self, settings: Settings) -> None:
        self.database = Database(settings)
        self._wakeups = Wakeups(self.database)
        self._committer = Committer(self.database, self._wakeups.tell)
        self.commit = self._committer.commit
        self._router = MySQLRouter(self.database, self._wakeups.tell)
        self._posted = Posted(self.database, self._wakeups.tell, self._router.dispatch)
        self._leases = Leases(self.database)
        self._outbox = MySQLOutbox(self.database, self._wakeups)
        scripts = Scripts(self.database)
        self.lookups = MySQLLookups(self.database, scripts.run)
        self.slices = self.lookups
        self.figures = SqlFigures(scripts.run, scripts.run_each)
        self.rebuilding = MySQLRebuilding(self.database, self._wakeups.tell)
        self.upkeep = MySQLUpkeep(self.database, lambda: Database(settings))

    @property
    def capabilities(self) -> Capabilities:
        dialect = self.database.dialect
        if dialect is None:
            raise StorageUnavailableError(f"{self.database.settings.where}: not open; call `open()` first")
        return Capabilities(name=dialect.name, push=False, transactional_ddl=False, sql=True, placeholder="%s")

    @property
    def outbox(self) -> Outbox:
        return self._outbox

    @property
    def router(self) -> Router:
        return self._router

    async def open(self, *, migrate: bool = True) -> None:
        await self.database.open(migrate=migrate)
        await self._wakeups.open()

    async def close(self) -> None:
        await self._posted.close()
        await self._wakeups.close()
        await self.database.close()

    async def read(self, instance_id: str, /, *, after: int = 0, limit: int = 1000) -> History | None:
        return await read(self.database, instance_id, after, limit)

    async def claim(self, request: ClaimRequest, /) -> Work:
        return await claim(self.database, request)

    async def heartbeat(self, worker: Worker, /, *, leaving: bool = False) -> Pulse:
        return await self._leases.heartbeat(worker, leaving=leaving)

    async def census(self) -> Census:
        return await self._leases.census()

    async def tally(self, *, most: int, newest: int) -> Tally:
        return await self.figures.tally(most=most, newest=newest)

    async def open_work(self, *, most: int) -> OpenWork:
        return await self.figures.open_work(most=most)

    async def lying(
        self, instance_id: str | None = None, /, *, after: tuple[str, str] = ("", ""), limit: int = PAGE
    ) -> list[Lying]:
        return await self.lookups.lying(instance_id, after=after, limit=limit)

    async def taken_ids(self, instance_ids: Sequence[str], /) -> set[str]:
        return await self.lookups.taken_ids(instance_ids)

    async def last_commits(self, instances: Sequence[InstanceRow], /) -> dict[str, LogRow]:
        return await self.lookups.last_commits(instances)

    async def trend(self, *, since: int, width: int, most: int, newest: int) -> Trend:
        return await self.figures.trend(since=since, width=width, most=most, newest=newest)

    async def tally_slice(self, *, after: Position | None, count: int, width: int) -> Slice:
        return await self.figures.tally_slice(after=after, count=count, width=width)

    async def loads(self, workers: Sequence[str], /, *, most: int) -> dict[str, int]:
        return await self.figures.loads(workers, most=most)

    async def takeover(self, worker: str, dead: Peer, body: bytes, writer: str, /, *, limit: int = 100) -> Takeover:
        answer = await self._leases.takeover(worker, dead, body, writer, limit)
        self._wakeups.tell(answer.moved)
        return answer

    async def deliver(self, batch: Sequence[Delivery], /) -> list[Delivered]:
        answers = await deliver(self.database, batch)
        self._wakeups.tell(
            one.instance_id for one, answer in zip(batch, answers, strict=True) if answer is Delivered.ACCEPTED
        )
        return answers

    async def find(self, query: Query, /) -> Page:
        return await find(self.database, query)

    async def count(self, query: Query, /) -> dict[tuple[str, Status], int]:
        return await count(self.database, query)

    def session(
        self, *, join: object | None = None, isolation: IsolationLevel | None = None
    ) -> AbstractAsyncContextManager[Session]:
        if join is not None:
            return join_session(self.database, self._committer, self._posted, join)
        return open_session(self.database, self._committer, isolation)

    async def wait_for_work(self, timeout: float, /) -> frozenset[str] | None:
        return await self._wakeups.wait(timeout)

    async def prune(self, request: PruneRequest, /) -> int:
        return await prune(self.database, request)
