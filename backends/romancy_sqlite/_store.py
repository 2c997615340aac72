"""The store that callers use. It turns each call into a job for the writer or a read."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from romancy.errors import SchemaVersionError, StorageUnavailableError, UsageError
from romancy.storage.limits import can_be_id, check_batch, check_deliveries, check_step
from romancy.storage.records import Capabilities, Outcome, Step
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
from romancy_sqlite import _file
from romancy_sqlite._claims import claim
from romancy_sqlite._commit import row_of, weight_of, write_items, write_lone
from romancy_sqlite._connection import check_version
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._find import SqliteSearches
from romancy_sqlite._guard import Reason
from romancy_sqlite._inbox import deliver_all, deliver_one, weight_of_mail
from romancy_sqlite._interpreter import SqliteInterpreter
from romancy_sqlite._lone_writer import LoneWriter
from romancy_sqlite._migrations import bring_up_to_date
from romancy_sqlite._read import read_history
from romancy_sqlite._rebuilding import SPELLING
from romancy_sqlite._router import SqliteRouter
from romancy_sqlite._scripts import heads, texts
from romancy_sqlite._transactions import SqliteSessions
from romancy_sqlite._upkeep import SqliteUpkeep
from romancy_sqlite._watch import Watch
from romancy_sqlite._writer import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from romancy.storage.records import (
        ClaimRequest,
        Delivered,
        Delivery,
        History,
        Item,
        Peer,
        Pulse,
        Takeover,
        Work,
        Worker,
    )
    from romancy_sqlite._connection import Tx
    from romancy_sqlite._settings import Settings
    from romancy_sqlite._shared import Shared

__all__ = ["SqliteStore"]

Result = TypeVar("Result")
_ACCEPTED: Final = Outcome.ACCEPTED
"""Python 3.11 calls a function for each `Outcome.ACCEPTED`."""


class SqliteStore:
    """A store on one SQLite file. Several stores, in one process or in many, may share the file."""

    _at_once = True
    """Whether a takeover is one transaction."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sql = texts(settings.prefix)
        self._sessions = self._make_sessions()
        self._interpreter = interpreter = self._make_interpreter()
        self._leases = Leases(interpreter)
        self._takeovers = Takeovers(interpreter, at_once=self._at_once)
        self.services = Services(
            sessions=self._sessions,
            router=SqliteRouter(self, interpreter),
            outbox=SqlOutbox(interpreter, self._wait_for_outbox),
            reading=SqlReading(interpreter, interpreter, SqliteSearches(lambda name: self._sql[name])),
            lookups=SqlLookups(interpreter, interpreter),
            figures=SqlFigures(interpreter, interpreter),
            upkeep=self._make_upkeep(interpreter),
            rebuilding=SqlRebuilding(interpreter, SPELLING),
            journal=SqlJournal(interpreter),
            amending=SqlAmending(interpreter),
        )
        self._opened: tuple[_file.SharedFile, Watch] | None = None
        self._lone = LoneWriter()
        self._in_flight: set[asyncio.Future[object]] = set()

    def _make_interpreter(self) -> SqliteInterpreter:
        return SqliteInterpreter(self, heads())

    def _make_sessions(self) -> SqliteSessions:
        return SqliteSessions(self, self._sql, self._settings.session_limit)

    def _make_upkeep(self, interpreter: SqliteInterpreter) -> SqliteUpkeep:
        return SqliteUpkeep(interpreter, self._settings)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            name=f"SQLite {sqlite3.sqlite_version}",
            push=False,
            transactional_ddl=True,
            sql=True,
            placeholder="?",
            embedded=True,
            gives_places=True,
            sessions_exclude=True,
            place="" if self._opened is None else self._opened[0].identity,
        )

    async def open(self, *, migrate: bool = True) -> None:
        if self._opened is not None:
            return
        check_version()
        opening = asyncio.ensure_future(asyncio.to_thread(self._acquire, migrate=migrate))
        try:
            shared = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_give_back)
            raise
        shared.catch_up()  # including this store's own migrations, which callers need not see
        watch = Watch(shared.look)
        shared.watches.add(watch)
        watch.hear_others(shared.log, shared.catch_up)
        self._opened = shared, watch

    def _acquire(self, *, migrate: bool) -> _file.SharedFile:
        if not migrate and not self._settings.path.exists():
            raise SchemaVersionError(
                f"SQLite file {self._settings.path}: there is no such file; a database that is missing, or older than "
                "this version, is brought up to date by opening an app or by `romancy migrate`"
            )
        shared = _file.acquire(self._settings)
        try:
            bring_up_to_date(shared, self._settings.prefix, migrate=migrate)
        except BaseException:
            _file.release(shared)
            raise
        return shared

    async def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is None:
            return
        shared, watch = opened
        shared.watches.discard(watch)
        watch.end()
        reason = f"SQLite file {self._settings.path}: the store was closed during the call"
        for future in self._in_flight:
            if not future.done():
                future.set_exception(StorageUnavailableError(reason))
        self._sessions.finish(Reason(UsageError, reason))
        await asyncio.to_thread(_file.release, shared)

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        lone = batch[0] if len(batch) == 1 else None
        step = lone if type(lone) is Step else None
        if step is None:
            check_batch(batch, worker)
        else:
            check_step(step, worker)
        if not batch:
            return []
        writer = (shared := self._use()[0]).writer  # on a slow disk, it is never the event loop's thread that writes
        caller = worker or asyncio.current_task()  # a worker makes one commit after the other, from many tasks
        if (
            lone is not None
            and writer.quick
            and (self._lone.expects_nobody(caller) or (await self._lone.alone(caller) and self._use()))
        ):
            if step is not None:
                if writer.write_one(self._sql["append_log"], row_of(step, shared.now(), worker), len(step.body)):
                    return [_ACCEPTED]
            elif done := writer.run_inline(partial(write_lone, item=lone, worker=worker), self._sql, weight_of(batch)):
                return [done[0]]
        return await self._queue(partial(write_items, batch=batch, worker=worker), weight_of(batch))

    async def read(self, instance_id: str, /, *, after: int = 0, limit: int = 1000) -> History | None:
        if not can_be_id(instance_id):
            return None
        return await self.run_read(partial(read_history, instance_id=instance_id, after=after, limit=limit))

    async def claim(self, request: ClaimRequest, /) -> Work:
        return await claim(self, heads(), request)

    async def heartbeat(self, worker: Worker, /) -> Pulse:
        pulse = await self._beat(worker, leaving=False)
        self._sessions.worker = worker
        return pulse

    async def leave(self, worker: Worker, /) -> None:
        await self._beat(worker, leaving=True)
        self._sessions.worker = None

    async def _beat(self, worker: Worker, *, leaving: bool) -> Pulse:
        self._use()[0].check_file()
        return await self._leases.heartbeat(worker, leaving=leaving)

    async def takeover(self, worker: str, dead: Peer, body: bytes, writer: str, /, *, limit: int = 100) -> Takeover:
        return await self._takeovers.take_over(worker, dead, body, writer, limit=limit)

    async def deliver(self, batch: Sequence[Delivery], /) -> list[Delivered]:
        check_deliveries(batch)
        if not batch:
            return []
        if len(batch) == 1:
            lone = batch[0]
            return [await self.run_write(partial(deliver_one, delivery=lone), weight=weight_of_mail(lone), lone=True)]
        return await self.run_write(partial(deliver_all, batch=batch), weight=sum(map(weight_of_mail, batch)))

    async def wait_for_work(self, timeout: float, /) -> frozenset[str] | None:
        _, watch = self._use()
        changed = await watch.wait(timeout)
        self._use()
        return changed

    async def _wait_for_outbox(self, timeout: float) -> bool:
        return await self.watch.wait_for_outbox(timeout)

    @property
    def shared(self) -> Shared:
        """The open database."""
        return self._use()[0]

    @property
    def file(self) -> _file.SharedFile:
        """The same, as a file."""
        self._use()
        assert self._opened is not None  # noqa: S101 - `_use` has checked it
        return self._opened[0]

    @property
    def watch(self) -> Watch:
        """The changes for this store's callers."""
        return self._use()[1]

    # --- how calls reach the file -----------------------------------------------------------------------------

    def _use(self) -> tuple[Shared, Watch]:
        if self._opened is None:
            raise StorageUnavailableError(
                f"SQLite file {self._settings.path}: not open; call `open()` first, and nothing after `close()`"
            )
        shared = self._opened[0]
        if shared.refuses:
            shared.refuse()
        return self._opened

    def run_read(self, work: Callable[[Tx], Result]) -> Coroutine[Any, Any, Result]:
        """Run queries on one snapshot of the database."""
        return self._use()[0].read(self._sql, work)

    def run_write(
        self, work: Callable[[Tx], Result], *, weight: int = 3, lone: bool = False
    ) -> Coroutine[Any, Any, Result]:
        """Run work in a transaction. Small `lone` work may run on this thread."""
        return (self._here_or_queued if lone else self._queue)(work, weight)

    async def _here_or_queued(self, work: Callable[[Tx], Result], weight: int) -> Result:
        caller = asyncio.current_task()
        if self._lone.expects_nobody(caller) or await self._lone.alone(caller):
            done = self._use()[0].writer.run_inline(work, self._sql, weight)
            if done is not None:
                return done[0]
        return await self._queue(work, weight)

    async def _queue(self, work: Callable[[Tx], Result], weight: int) -> Result:
        """Leave work to the writer's thread, which commits it together with other queued work."""
        job = Job(work, self._sql, weight=weight)
        writer = self.file.writer
        self._in_flight.add(job.future)
        writer.submit(job)
        try:
            result: Result = await job.future
        finally:
            self._in_flight.discard(job.future)
        return result


def _give_back(opening: asyncio.Future[_file.SharedFile]) -> None:
    """Release what the thread opened: the caller of `open` was cancelled, and the file must not stay open."""
    if not opening.cancelled() and opening.exception() is None:
        threading.Thread(target=_file.release, args=(opening.result(),)).start()
