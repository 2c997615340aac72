"""The in-memory store: a real store for tests, examples and caches that may be lost. Its data ends with its process.

What every store must do is specified by the model of the suite (`romancy_conformance/contract/walking/model.py`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.errors import StorageUnavailableError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.limits import check_batch, check_deliveries
from romancy.storage.mail import Waiting, choose_mail, left_out
from romancy.storage.marks import WORKER_NEWS
from romancy.storage.memory._database import Database, LockedError, Transaction
from romancy.storage.memory._outbox import MemoryOutbox
from romancy.storage.memory._rooms import (
    MemoryFigures,
    MemoryLookups,
    MemoryReading,
    MemorySessions,
    MemoryUpkeep,
)
from romancy.storage.memory._router import MemoryRouter
from romancy.storage.memory._rows import Instance, WorkerRow, after_delivery
from romancy.storage.memory._write import (
    alive,
    deliver,
    free,
    head_of,
    number_mail,
    short_log,
    uncounted_of,
    write_item,
)
from romancy.storage.outbox import OUTBOX_NEWS
from romancy.storage.records import (
    Capabilities,
    Claimed,
    History,
    Mailbox,
    Outcome,
    Peer,
    Pulse,
    Takeover,
    Work,
)
from romancy.storage.rooms import Rooms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import (
        ClaimRequest,
        Delivered,
        Delivery,
        Item,
        LogRow,
        Worker,
    )

__all__ = ["MemoryStore"]

_PAGE_BYTES = 4 * 1024 * 1024
_AT_WORK = frozenset({Status.RUNNING, Status.CANCELLING, Status.COMPENSATING})
_SLEEPER_GRACE = 5_000_000
_LOCK_PATIENCE, _MAIL_PATIENCE = 1.0, 3.0


class MemoryStore:
    """A store over a `Database`. Several stores may share one, as several processes share a server."""

    capabilities = Capabilities(
        name="memory",
        push=True,
        transactional_ddl=False,
        sql=False,
        placeholder="",
        schema=False,
        processes=False,
        embedded=True,
    )

    def __init__(self, database: Database | None = None) -> None:
        self.database = database if database is not None else Database()
        self._outbox = MemoryOutbox(self.database, self.begin)
        self.rooms = Rooms(
            sessions=MemorySessions(self.database, self.begin),
            router=MemoryRouter(self.begin, self.database),
            outbox=self._outbox,
            reading=MemoryReading(self.database, self.begin, self.peers),
            figures=MemoryFigures(self.begin),
            lookups=MemoryLookups(self.begin),
            upkeep=MemoryUpkeep(self.begin),
        )
        self._registered: set[str] = set()
        """Workers that had a row. If it is gone, the worker is dead."""
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self._open = False

    async def open(self, *, migrate: bool = True) -> None:  # noqa: ARG002 - there is no schema here
        if not self._open:
            self.database.listeners.append(self._hear)
        self._open = True

    async def close(self) -> None:
        if self._open:
            self.database.listeners.remove(self._hear)
        self._open = False
        self._wake.set()
        self._outbox.hear()

    def _hear(self, changed: frozenset[str]) -> None:
        if OUTBOX_NEWS in changed:
            self._outbox.hear()
        if instance_ids := changed - {OUTBOX_NEWS}:
            self._changed |= instance_ids
            self._wake.set()

    def begin(self, patience: float | None = None) -> Transaction:
        if not self._open:
            raise StorageUnavailableError("memory store: not open; call `open()` first, and nothing after `close()`")
        return Transaction(self.database, patience)

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        check_batch(batch, worker)
        return await asyncio.gather(*(self._commit_one(item, worker) for item in batch))

    async def _commit_one(self, item: Item, worker: str | None) -> Outcome:
        """Write one item in a transaction of its own, so that waiting for a lock does not delay its neighbours."""
        try:
            async with self.begin(_LOCK_PATIENCE) as tx:
                outcome = await write_item(tx, self.database, item, worker)
                if outcome is Outcome.ACCEPTED:
                    await tx.commit()
        except LockedError:
            return Outcome.LOCKED
        return outcome

    async def read(self, instance_id: str, /, *, after: int = 0, limit: int = 1000) -> History | None:
        tx = self.begin()
        row: Instance | None = tx.get("instances", (instance_id,))
        if row is None:
            return None
        page: list[LogRow] = []
        size = 0
        if limit <= 0:
            return History(instance=row.public(), rows=page)
        for (owner, life, seq), entry in tx.scan("log"):
            if (owner, life) != (instance_id, row.life) or seq <= after:
                continue
            if len(page) == limit or (page and size + len(entry.body) > _PAGE_BYTES):
                return History(instance=row.public(), rows=page, more=True)
            page.append(entry)
            size += len(entry.body)
        return History(instance=row.public(), rows=page)

    async def claim(self, request: ClaimRequest, /) -> Work:
        claimed: list[Claimed] = []
        fresh = 0
        async with self.begin() as tx:
            await tx.step("claim")
            if not alive(tx, request.worker):
                return Work(claimed=[], mail=[], now=self.database.now())
            if request.sweep:
                self._sweep(tx, request)
            for row in self._candidates(tx, request):
                if row.owner != request.worker:
                    if fresh >= request.limit or not tx.try_lock("instances", (row.instance_id,)):
                        continue
                    fresh += 1
                    tx.put("instances", (row.instance_id,), replace(row, owner=request.worker, wake_at=None))
                claimed.append(self._claimed(row))
            await tx.commit()
        tx = self.begin()
        mail, more = self._mail(tx, request, {one.instance_id for one in claimed})
        due = [row.wake_at for _, row in tx.scan("instances") if row.wake_at and row.workflow_name in request.codes]
        return Work(
            claimed=claimed, mail=mail, next_due=min(due, default=None), now=self.database.now(), more=more
        )  # fmt: skip

    def _mail(self, tx: Transaction, request: ClaimRequest, fresh: set[str]) -> tuple[list[Mailbox], bool]:
        """Mailboxes within bounds, without kept messages. An empty one only for an instance claimed earlier."""
        boxes = {
            row.instance_id: self._mailbox(
                tx, row, left_out(request, row.instance_id, row.signals, fresh=row.instance_id in fresh)
            )
            for _, row in tx.scan("instances")
            if row.owner == request.worker
            and (row.signals != row.seen or row.instance_id in fresh or request.known.get(row.instance_id) == -1)
        }
        waiting = [
            Waiting(one, box.signals, sum(len(row.body) for row in box.rows), one in fresh)
            for one, box in boxes.items()
        ]
        chosen, more = choose_mail(waiting, request)
        return [boxes[one] for one in chosen if boxes[one].rows or one not in fresh], more

    def _candidates(self, tx: Transaction, request: ClaimRequest) -> list[Instance]:
        now = self.database.now()
        due: list[Instance] = []
        for _, row in tx.scan("instances"):
            if row.owner == request.worker:
                if request.recover:
                    due.append(row)
                continue
            code = request.codes.get(row.workflow_name)
            if code is None or code in row.refused or row.wake_at is None or row.wake_at > now:
                continue
            if row.code in request.leave and row.wake_at > now - request.grace:
                continue
            due.append(row)
        return sorted(due, key=lambda row: (row.wake_at or 0, row.instance_id))

    def _sweep(self, tx: Transaction, request: ClaimRequest) -> None:
        """Repair instances left asleep or stranded, and offer stuck instances to code that they have not refused."""
        now = self.database.now()
        for key, row in tx.scan("instances"):
            if row.status in TERMINAL_STATUSES or not tx.try_lock("instances", key):
                continue
            fitting = request.codes.get(row.workflow_name, "") not in row.refused | {""}
            if uncounted := uncounted_of(tx, row.instance_id, now - _SLEEPER_GRACE):
                row = after_delivery(row, now, len(uncounted))  # noqa: PLW2901 - the row as it is from here on
                number_mail(tx, uncounted, row.signals)
            asleep = row.owner is None and row.wake_at is None
            wanted = fitting if row.status is Status.STUCK else row.signals != row.seen or row.status in _AT_WORK
            tx.put("instances", key, replace(row, wake_at=now) if asleep and wanted else row)

    def _claimed(self, row: Instance) -> Claimed:
        own = {"head", "head_writer", "crashes", "due", "log"}
        same = {name: getattr(row, name) for name in Claimed.__struct_fields__ if name not in own}
        head = head_of(self.database, row)
        last: LogRow | None = self.database.tables["log"].get((row.instance_id, row.life, head))
        return Claimed(
            **same,
            head=head,
            head_writer=None if last is None else last.writer,
            crashes=row.crashes if row.crash_seq == head else 0,
            due=(row.wake_at or 0) if row.owner is None else 0,
            log=short_log(self.database, row, head),
        )

    def _mailbox(self, tx: Transaction, row: Instance, after: int) -> Mailbox:
        mails = [mail for key, mail in tx.scan("inbox") if key[0] == row.instance_id and mail.number > after]
        rows = [mail.row for mail in mails]
        return Mailbox(instance_id=row.instance_id, life=row.life, signals=row.signals, rows=rows, after=after)

    async def heartbeat(self, worker: Worker, /) -> Pulse:
        return await self._beat(worker, leaving=False)

    async def leave(self, worker: Worker, /) -> None:
        await self._beat(worker, leaving=True)

    async def _beat(self, worker: Worker, *, leaving: bool) -> Pulse:
        async with self.begin() as tx:
            await tx.step("heartbeat")
            row: WorkerRow | None = await tx.lock("workers", (worker.token,))
            now = self.database.now()
            if row is None and worker.token in self._registered:
                return Pulse(now=now, alive=False, peers=self.peers(but=worker.token))
            if row is None:
                row = WorkerRow(worker=worker, beat=0, dead=False, started_at=now)
                if worker.codes:
                    tx.touched.add(WORKER_NEWS + worker.token)
            if not row.dead:
                row = replace(row, worker=worker, beat=row.beat + 1, dead=leaving, beat_at=now)
                tx.put("workers", (worker.token,), row)
            await tx.commit()
        self._registered.add(worker.token)
        return Pulse(now=now, alive=not row.dead, peers=self.peers(but=worker.token))

    def peers(self, but: str = "") -> list[Peer]:
        tx = self.begin()
        owners = {instance.owner for _, instance in tx.scan("instances")}
        return [
            Peer(
                token=key[0],
                worker_id=other.worker.worker_id,
                lease=other.worker.lease,
                beat=other.beat,
                dead=other.dead,
                codes=other.worker.codes,
                host=other.worker.host,
                started_at=other.started_at,
                beat_at=other.beat_at,
            )
            for key, other in tx.scan("workers")
            if key[0] != but and (not other.dead or key[0] in owners)
        ]

    async def takeover(self, worker: str, dead: Peer, body: bytes, writer: str, /, *, limit: int = 100) -> Takeover:
        async with self.begin() as tx:
            await tx.step("takeover.mark")
            row: WorkerRow | None = await tx.lock("workers", (dead.token,))
            if not alive(tx, worker) or row is None or (not row.dead and row.beat != dead.beat):
                return Takeover(refused=True)
            tx.put("workers", (dead.token,), replace(row, dead=True))
            await tx.commit()
        owned = [row for _, row in self.begin().scan("instances") if row.owner == dead.token]
        moved: list[str] = []
        for instance in owned[:limit]:
            async with self.begin() as tx:
                if await free(tx, self.database, instance, dead.token, body, writer):
                    await tx.commit()
                    moved.append(instance.instance_id)
        return Takeover(moved=tuple(moved), left=len(owned) > len(moved))

    async def deliver(self, batch: Sequence[Delivery], /) -> list[Delivered]:
        check_deliveries(batch)
        try:
            async with self.begin(_MAIL_PATIENCE) as tx:
                answers = [await deliver(tx, self.database, delivery) for delivery in batch]
                await tx.commit()
        except LockedError:
            raise StorageUnavailableError(
                "memory store: another transaction holds an instance of these messages; none is in; send them again"
            ) from None
        return answers

    async def wait_for_work(self, timeout: float, /) -> frozenset[str] | None:
        self.begin()
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return frozenset()
        self.begin()
        self._wake.clear()
        changed, self._changed = self._changed, set()
        return frozenset(changed)
