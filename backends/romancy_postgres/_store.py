"""The store: the methods of the protocol in its order, each calling the module that implements it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.storage.records import Capabilities
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
from romancy_postgres._claims import claim
from romancy_postgres._columns import stored_path
from romancy_postgres._commit import Commits
from romancy_postgres._database import Database
from romancy_postgres._find import PostgresSearches
from romancy_postgres._inbox import deliver
from romancy_postgres._interpreter import PostgresInterpreter
from romancy_postgres._migrations import bring_up_to_date
from romancy_postgres._read import read_history
from romancy_postgres._rebuilding import SPELLING
from romancy_postgres._router import PostgresRouter
from romancy_postgres._server import meet
from romancy_postgres._signals import Signals
from romancy_postgres._standby import PostgresStandby
from romancy_postgres._transactions import PostgresSessions
from romancy_postgres._uncommitted import Uncommitted
from romancy_postgres._upkeep import PostgresUpkeep

if TYPE_CHECKING:
    from romancy.storage.records import (
        Peer,
        Pulse,
        Takeover,
        Worker,
    )
    from romancy_postgres._settings import Settings

__all__ = ["PostgresStore"]


class PostgresStore:
    """A store on PostgreSQL 13 or newer. A session's native object is the `asyncpg.Connection`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = False
        self._capabilities = Capabilities(
            name="PostgreSQL",
            push=settings.listen,
            transactional_ddl=True,
            sql=True,
            placeholder="$1",
            gives_places=True,
        )
        self.database = Database(settings)
        self._signals = Signals(self.database)
        self._commits = Commits(self.database, self._signals)
        self._uncommitted = Uncommitted(self.database, self._signals)
        self.commit = self._commits.commit
        self.read = partial(read_history, self.database)
        self.deliver = partial(deliver, self.database, self._signals)
        self.wait_for_work = self._signals.wait
        self._interpreter = interpreter = PostgresInterpreter(self.database, self._signals.tell)
        self.claim = partial(claim, self.database, self._signals, interpreter)
        urgent = PostgresInterpreter(self.database, self._signals.tell, lambda: self.database.heartbeats)
        search = PostgresInterpreter(self.database, self._signals.tell, lambda: self.database.search)
        self._leases = Leases(urgent)
        self._takeovers = Takeovers(interpreter)
        self.services = Services(
            sessions=PostgresSessions(self.database, self._signals, self._commits, self._uncommitted),
            router=PostgresRouter(self.database, self._signals, interpreter),
            outbox=SqlOutbox(interpreter, self._signals.wait_for_outbox),
            reading=SqlReading(interpreter, search, PostgresSearches(self.database)),
            lookups=SqlLookups(interpreter, search, stored_path),
            figures=SqlFigures(interpreter, search),
            upkeep=PostgresUpkeep(self.database, interpreter, lambda: Database(settings)),
            rebuilding=SqlRebuilding(interpreter, SPELLING),
            journal=SqlJournal(interpreter, self._signals.announce),
            amending=SqlAmending(interpreter),
            standby=PostgresStandby(self.database),
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def open(self, *, migrate: bool = True) -> None:
        if self._started:
            return
        self.database.open()
        try:
            server = await meet(self.database)
            await bring_up_to_date(self.database, migrate=migrate)
            if server.engine.opening is not None:
                await server.engine.opening.after(self.database)
            await self._signals.open()
        except BaseException:
            await self.database.close()
            raise
        gives_places = server.engine.gives_places
        self._capabilities = replace(self._capabilities, name=str(server), gives_places=gives_places)
        self._started = True

    async def close(self) -> None:
        if not self._started:
            return
        self._started = False
        await self._uncommitted.close()
        await self._signals.close()
        await self.database.close()

    async def heartbeat(self, worker: Worker, /) -> Pulse:
        return await self._leases.heartbeat(worker, leaving=False)

    async def leave(self, worker: Worker, /) -> None:
        await self._leases.heartbeat(worker, leaving=True)

    async def takeover(self, worker: str, dead: Peer, body: bytes, writer: str, /, *, limit: int = 100) -> Takeover:
        return await self._takeovers.take_over(worker, dead, body, writer, limit=limit)
