"""The store: the methods of the protocol, each calling the module that implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.errors import StorageUnavailableError
from romancy.storage.records import Capabilities, Delivered
from romancy.storage.services import Services
from romancy.storage.sqlkit.amending import SqlAmending
from romancy.storage.sqlkit.figures import SqlFigures
from romancy.storage.sqlkit.journal import SqlJournal
from romancy.storage.sqlkit.leases import Leases
from romancy.storage.sqlkit.lookups import SqlLookups
from romancy.storage.sqlkit.outbox import SqlOutbox
from romancy.storage.sqlkit.reading import SqlReading
from romancy.storage.sqlkit.rebuilding import SqlRebuilding
from romancy.storage.sqlkit.takeover import Takeovers
from romancy_mysql._claims import claim
from romancy_mysql._commit import Committer
from romancy_mysql._database import Database
from romancy_mysql._find import MySQLSearches
from romancy_mysql._inbox import deliver
from romancy_mysql._interpreter import MySQLInterpreter
from romancy_mysql._posted import Posted
from romancy_mysql._rebuilding import SPELLING
from romancy_mysql._router import MySQLRouter
from romancy_mysql._rows import read
from romancy_mysql._standby import MySQLStandby
from romancy_mysql._transactions import MySQLSessions
from romancy_mysql._upkeep import MySQLUpkeep
from romancy_mysql._wakeups import Wakeups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import (
        ClaimRequest,
        Delivery,
        History,
        Peer,
        Pulse,
        Takeover,
        Work,
        Worker,
    )
    from romancy_mysql._settings import Settings

__all__ = ["MySQLStore"]


class MySQLStore:
    """A database on a server that speaks MySQL's wire."""

    def __init__(self, settings: Settings) -> None:
        self.database = Database(settings)
        self._wakeups = Wakeups(self.database)
        self._committer = Committer(self.database, self._wakeups.tell)
        self.commit = self._committer.commit
        self._interpreter = interpreter = MySQLInterpreter(self.database, self._wakeups.tell)
        router = MySQLRouter(self.database, self._wakeups.tell, interpreter)
        self._posted = Posted(self.database, self._wakeups.tell, router.dispatch)
        urgent = MySQLInterpreter(self.database, self._wakeups.tell, lambda: self.database.heartbeats)
        self._leases = Leases(urgent)
        self._takeovers = Takeovers(interpreter)
        self.services = Services(
            sessions=MySQLSessions(self.database, self._committer, self._posted),
            router=router,
            outbox=SqlOutbox(interpreter, self._wakeups.wait_for_outbox),
            reading=SqlReading(interpreter, interpreter, MySQLSearches(self.database)),
            lookups=SqlLookups(interpreter, interpreter),
            figures=SqlFigures(interpreter, interpreter),
            upkeep=MySQLUpkeep(self.database, interpreter, lambda: Database(settings)),
            rebuilding=SqlRebuilding(interpreter, SPELLING),
            journal=SqlJournal(interpreter),
            amending=SqlAmending(interpreter),
            standby=MySQLStandby(self.database),
        )

    @property
    def capabilities(self) -> Capabilities:
        dialect = self.database.dialect
        if dialect is None:
            raise StorageUnavailableError(f"{self.database.settings.where}: not open; call `open()` first")
        return Capabilities(
            name=dialect.name,
            push=False,
            transactional_ddl=False,
            sql=True,
            placeholder="%s",
            row_locks=dialect.engine.row_locks,
            serializable=not dialect.engine.not_serializable,
        )

    async def open(self, *, migrate: bool = True) -> None:
        await self.database.open(migrate=migrate)
        self._committer.open()
        await self._wakeups.open()

    async def close(self) -> None:
        await self._posted.close()
        await self._wakeups.close()
        await self.database.close()

    async def read(self, instance_id: str, /, *, after: int = 0, limit: int = 1000) -> History | None:
        return await read(self.database, instance_id, after, limit)

    async def claim(self, request: ClaimRequest, /) -> Work:
        return await claim(self.database, self._interpreter, request)

    async def heartbeat(self, worker: Worker, /) -> Pulse:
        return await self._leases.heartbeat(worker, leaving=False)

    async def leave(self, worker: Worker, /) -> None:
        await self._leases.heartbeat(worker, leaving=True)

    async def takeover(self, worker: str, dead: Peer, body: bytes, writer: str, /, *, limit: int = 100) -> Takeover:
        return await self._takeovers.take_over(worker, dead, body, writer, limit=limit)

    async def deliver(self, batch: Sequence[Delivery], /) -> list[Delivered]:
        answers = await deliver(self.database, batch)
        self._wakeups.tell(
            one.instance_id for one, answer in zip(batch, answers, strict=True) if answer is Delivered.ACCEPTED
        )
        return answers

    async def wait_for_work(self, timeout: float, /) -> frozenset[str] | None:
        return await self._wakeups.wait(timeout)
