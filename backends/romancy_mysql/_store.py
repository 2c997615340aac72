"""The store: the methods of the protocol, each calling the module that implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.errors import StorageUnavailableError
from romancy.storage.lying import PAGE
from romancy.storage.records import Capabilities, Delivered
from romancy.storage.sqlkit.leases import Leases
from romancy.storage.sqlkit.outbox import SqlOutbox
from romancy_mysql._claims import claim, lying
from romancy_mysql._commit import Committer
from romancy_mysql._database import Database
from romancy_mysql._find import count, find
from romancy_mysql._inbox import deliver
from romancy_mysql._interpreter import MySQLInterpreter
from romancy_mysql._joined import join_session
from romancy_mysql._posted import Posted
from romancy_mysql._prune import prune
from romancy_mysql._rebuilding import MySQLRebuilding
from romancy_mysql._router import MySQLRouter
from romancy_mysql._rows import last_commits, read, taken_ids
from romancy_mysql._sessions import open_session
from romancy_mysql._slices import MySQLSlices
from romancy_mysql._takeover import takeover
from romancy_mysql._tally import loads, tally, tally_slice, trend
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
    from romancy.storage.tally import Slice, Tally, Trend
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
        interpreter = MySQLInterpreter(self.database, self._wakeups.tell)
        self._outbox = SqlOutbox(interpreter, self._wakeups.wait_for_outbox)
        urgent = MySQLInterpreter(self.database, self._wakeups.tell, lambda: self.database.heartbeats)
        self._leases = Leases(interpreter, urgent)
        self.slices = MySQLSlices(self.database)
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
        return await tally(self.database, most, newest)

    async def lying(
        self, instance_id: str | None = None, /, *, after: tuple[str, str] = ("", ""), limit: int = PAGE
    ) -> list[Lying]:
        return await lying(self.database, instance_id, after, limit)

    async def taken_ids(self, instance_ids: Sequence[str], /) -> set[str]:
        return await taken_ids(self.database, instance_ids)

    async def last_commits(self, instances: Sequence[InstanceRow], /) -> dict[str, LogRow]:
        return await last_commits(self.database, instances)

    async def trend(self, *, since: int, width: int, most: int, newest: int) -> Trend:
        return await trend(self.database, since, width, most, newest)

    async def tally_slice(self, *, after: Position | None, count: int, width: int) -> Slice:
        return await tally_slice(self.database, after, count, width)

    async def loads(self, workers: Sequence[str], /, *, most: int) -> dict[str, int]:
        return await loads(self.database, workers, most)

    async def takeover(self, worker: str, dead: Peer, body: bytes, writer: str, /, *, limit: int = 100) -> Takeover:
        answer = await takeover(self.database, worker, dead, body, writer, limit)
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
