"""The store that callers use. It turns each call into a job for the writer or a read."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec

from romancy.errors import SchemaVersionError, StorageUnavailableError, UsageError
from romancy.storage.joining import Joined
from romancy.storage.limits import can_be_id, check_batch, check_deliveries, check_step
from romancy.storage.lying import MOST_BYTES, PAGE, Lying, last_of
from romancy.storage.records import Append, Capabilities, InboxRow, LogRow, Outcome
from romancy.storage.sql import heads_of, queries_of
from romancy.storage.sqlkit.leases import Leases
from romancy.storage.sqlkit.outbox import SqlOutbox
from romancy_sqlite import _file
from romancy_sqlite._claims import collect, is_idle, take, take_over
from romancy_sqlite._commit import plain_row, weight_of, write_alone, write_items
from romancy_sqlite._connection import check_version, now
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._find import count, find
from romancy_sqlite._guard import Reason
from romancy_sqlite._inbox import deliver_all
from romancy_sqlite._interpreter import SqliteInterpreter
from romancy_sqlite._joined import JoinedSession
from romancy_sqlite._lone_writer import LoneWriter
from romancy_sqlite._migrations import bring_up_to_date
from romancy_sqlite._prune import KEYS_AT_ONCE, forget_keys, prune
from romancy_sqlite._read import read_history
from romancy_sqlite._rebuilding import SqliteRebuilding
from romancy_sqlite._router import SqliteRouter
from romancy_sqlite._session_thread import Turn
from romancy_sqlite._sessions import SqliteSession, open_session
from romancy_sqlite._slices import SqliteSlices
from romancy_sqlite._tally import loads, tally, tally_slice, trend
from romancy_sqlite._upkeep import SqliteUpkeep
from romancy_sqlite._watch import Watch
from romancy_sqlite._writer import Job

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from romancy.status import Status
    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.query import Position, Query
    from romancy.storage.records import (
        Census,
        Claimed,
        ClaimRequest,
        Delivered,
        Delivery,
        History,
        InstanceRow,
        Item,
        Page,
        Peer,
        PruneRequest,
        Pulse,
        Takeover,
        Work,
        Worker,
    )
    from romancy.storage.tally import Slice, Tally, Trend
    from romancy_sqlite._connection import Tx
    from romancy_sqlite._settings import Settings

__all__ = ["SqliteStore"]

Result = TypeVar("Result")

_FILES = ("queries.sql", "claims.sql", "outbox.sql", "routing.sql", "rebuilding.sql")


class SqliteStore:
    """A store on one SQLite file. Several stores, in one process or in many, may share the file."""

    def __init__(self, settings: Settings) -> None:
        interpreter = SqliteInterpreter(self, heads_of(__package__ or "", _FILES))
        self.outbox = SqlOutbox(interpreter, self._wait_for_outbox)
        self._leases = Leases(interpreter, interpreter)
        self.slices = SqliteSlices(self)
        self.router = SqliteRouter(self)
        self.upkeep = SqliteUpkeep(settings)
        self.rebuilding = SqliteRebuilding(self)
        self._settings = settings
        self._sql = dict(queries_of(__package__ or "", _FILES, settings.prefix))
        self._opened: tuple[_file.SharedFile, Watch] | None = None
        self._lone = LoneWriter()
        self._in_flight: set[asyncio.Future[object]] = set()
        self._turns: set[Turn] = set()
        self._worker: Worker | None = None
        """The worker that sends heartbeats here. A session that was long for its lease renews it when it ends."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            name=f"SQLite {sqlite3.sqlite_version}",
            push=False,
            transactional_ddl=True,
            sql=True,
            placeholder="?",
            embedded=True,
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
        for turn in tuple(self._turns):
            turn.finish(Reason(UsageError, reason))
        await asyncio.to_thread(_file.release, shared)

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        lone = batch[0] if len(batch) == 1 else None
        step = lone if type(lone) is Append and lone.plain else None
        if step is None:
            check_batch(batch, worker)
        else:
            check_step(step, worker)
        if not batch:
            return []
        if lone is not None and (self._lone.expects_nobody() or await self._lone.alone()):
            writer = self._use()[0].writer
            if not writer.quick:
                pass  # too slow a disk for the event loop's thread
            elif step is not None:
                if writer.write_one(self._sql["append_log"], plain_row(step, now(), worker), len(step.body)):
                    return [Outcome.ACCEPTED]
            elif done := writer.run_inline(partial(write_alone, item=lone, worker=worker), self._sql, weight_of(batch)):
                return [done[0]]
        return await self._queue(partial(write_items, batch=batch, worker=worker), weight_of(batch))

    async def read(self, instance_id: str, /, *, after: int = 0, limit: int = 1000) -> History | None:
        if not can_be_id(instance_id):
            return None
        return await self.run_read(partial(read_history, instance_id=instance_id, after=after, limit=limit))

    async def claim(self, request: ClaimRequest, /) -> Work:
        claimed: list[Claimed] = []
        if not await self.run_read(partial(is_idle, request=request)):
            claimed = await self.run_write(partial(take, request=request))
        return await self.run_read(partial(collect, request=request, claimed=claimed))

    async def heartbeat(self, worker: Worker, /, *, leaving: bool = False) -> Pulse:
        self._use()[0].check_file()
        pulse = await self._leases.heartbeat(worker, leaving=leaving)
        self._worker = None if leaving else worker
        return pulse

    async def census(self) -> Census:
        return await self._leases.census()

    async def tally(self, *, most: int, newest: int) -> Tally:
        return await self.run_read(partial(tally, most=most, newest=newest))

    async def lying(
        self, instance_id: str | None = None, /, *, after: tuple[str, str] = ("", ""), limit: int = PAGE
    ) -> list[Lying]:
        given = (*after, last_of(instance_id), limit, MOST_BYTES)
        rows = await self.run_read(lambda tx: tx.rows("lying", given))
        return [Lying(row[0], InboxRow(*row[1:])) for row in rows]

    async def taken_ids(self, instance_ids: Sequence[str], /) -> set[str]:
        ids = msgspec.json.encode(instance_ids).decode()
        return {row[0] for row in await self.run_read(lambda tx: tx.rows("taken_ids", (ids,)))}

    async def last_commits(self, instances: Sequence[InstanceRow], /) -> dict[str, LogRow]:
        keys = msgspec.json.encode([(one.instance_id, one.life, one.last_seq) for one in instances]).decode()
        return {row[0]: LogRow(*row[1:]) for row in await self.run_read(lambda tx: tx.rows("last_commits", (keys,)))}

    async def trend(self, *, since: int, width: int, most: int, newest: int) -> Trend:
        return await self.run_read(partial(trend, since=since, width=width, most=most, newest=newest))

    async def tally_slice(self, *, after: Position | None, count: int, width: int) -> Slice:
        return await self.run_read(partial(tally_slice, after=after, count=count, width=width))

    async def loads(self, workers: Sequence[str], /, *, most: int) -> dict[str, int]:
        return await self.run_read(partial(loads, workers=workers, most=most))

    async def takeover(self, worker: str, dead: Peer, body: bytes, writer: str, /, *, limit: int = 100) -> Takeover:
        return await self.run_write(partial(take_over, worker=worker, dead=dead, body=body, writer=writer, limit=limit))

    async def deliver(self, batch: Sequence[Delivery], /) -> list[Delivered]:
        check_deliveries(batch)
        if not batch:
            return []
        weight = sum(3 + (len(delivery.body) >> 11) for delivery in batch)
        return await self.run_write(partial(deliver_all, batch=batch), weight=weight, lone=len(batch) == 1)

    @asynccontextmanager
    async def session(
        self,
        *,
        join: object | None = None,
        isolation: IsolationLevel | None = None,  # noqa: ARG002 - SQLite has the strongest level alone
    ) -> AsyncGenerator[SqliteSession | JoinedSession]:
        shared, watch = self._use()
        if join is not None:
            joined = JoinedSession(shared, self._sql, Joined.of(join), watch.look_now)
            await joined.check()
            yield joined
            return
        beat = None if self._worker is None else (self._sql["renew"], self._worker)
        turn = Turn(shared, self._settings.session_limit, beat)
        self._turns.add(turn)
        try:
            async with open_session(shared, self._sql, turn) as session:
                yield session
        finally:
            self._turns.discard(turn)

    async def find(self, query: Query, /) -> Page:
        return await self.run_read(partial(find, query=query))

    async def count(self, query: Query, /) -> dict[tuple[str, Status], int]:
        return await self.run_read(partial(count, query=query))

    async def wait_for_work(self, timeout: float, /) -> frozenset[str] | None:
        _, watch = self._use()
        changed = await watch.wait(timeout)
        self._use()
        return changed

    async def _wait_for_outbox(self, timeout: float) -> bool:
        return await self._use()[1].wait_for_outbox(timeout)

    async def prune(self, request: PruneRequest, /) -> int:
        removed = await self.run_write(partial(prune, request=request), weight=request.limit)
        if (before := request.dedupe_before) is not None:
            while await self.run_write(partial(forget_keys, before=before), weight=KEYS_AT_ONCE):
                pass
        return removed

    # --- how calls reach the file -----------------------------------------------------------------------------

    def _use(self) -> tuple[_file.SharedFile, Watch]:
        if self._opened is None:
            raise StorageUnavailableError(
                f"SQLite file {self._settings.path}: not open; call `open()` first, and nothing after `close()`"
            )
        shared = self._opened[0]
        if shared.pid != os.getpid() or shared.replaced is not None:
            shared.refuse()
        return self._opened

    async def run_read(self, work: Callable[[Tx], Result]) -> Result:
        shared, _ = self._use()
        return await shared.read(self._sql, work)

    async def run_write(self, work: Callable[[Tx], Result], *, weight: int = 3, lone: bool = False) -> Result:
        """Run work in a transaction. Small `lone` work may run on this thread."""
        if lone and await self._is_alone():
            done = self._use()[0].writer.run_inline(work, self._sql, weight)
            if done is not None:
                return done[0]
        return await self._queue(work, weight)

    async def _is_alone(self) -> bool:
        return self._lone.expects_nobody() or await self._lone.alone()

    async def _queue(self, work: Callable[[Tx], Result], weight: int) -> Result:
        """Leave work to the writer's thread, which commits it together with other queued work."""
        job = Job(work, self._sql, weight=weight)
        shared, _ = self._use()
        self._in_flight.add(job.future)
        shared.writer.submit(job)
        try:
            result: Result = await job.future
        finally:
            self._in_flight.discard(job.future)
        return result


def _give_back(opening: asyncio.Future[_file.SharedFile]) -> None:
    """Release what the thread opened: the caller of `open` was cancelled, and the file must not stay open."""
    if not opening.cancelled() and opening.exception() is None:
        threading.Thread(target=_file.release, args=(opening.result(),)).start()
