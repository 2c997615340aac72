"""The calls of the storage benchmarks: appends as the engine makes them, and every other call of a worker."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from typing import TYPE_CHECKING

from romancy.engine.incarnation import Incarnation
from romancy.engine.log_writer import LogWriter
from romancy.status import Status
from romancy.storage.query import project_with_index
from romancy.storage.records import (
    Append,
    Change,
    ClaimRequest,
    Delivered,
    Delivery,
    Item,
    OutboxRow,
    Outcome,
    Step,
    Worker,
)
from romancy.storage.steps import behind
from romancy_conformance.contract.building import start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy.storage.protocol import Store

    Round = Callable[[], Awaitable[int]]

__all__ = ["EVENTS", "HISTORY", "Workload"]

EVENTS = 2
BODY = (
    b'[{"type":"ActivityCompleted","id":"charge_card:17","result":{"receipt":"r-2026-000017","paid":1999}},'
    b'{"type":"ActivityScheduled","id":"send_receipt:17","name":"send_receipt","args":["r-2026-000017"]}]'
)
INPUT = b'{"order":{"id":"o-4711","status":"pending","total":1999},"customer":{"id":"c-1","country":"DE"}}'
HISTORY = 10_000
"""Rows of the log that is read."""
WORKFLOW = "order"
CODE = "3f2a9c"


class Stream:
    """One instance and the next number in its log."""

    def __init__(self, start: Append) -> None:
        self.instance_id = start.instance_id
        self.life = start.life
        self.seq = 1
        self.last = start.writer

    def step(self) -> Step:
        """The next row of the log, and nothing else."""
        self.seq += 1
        before, self.last = self.last, f"worker-{secrets.token_hex(8)}"
        return Step(self.instance_id, self.life, self.seq, self.last, BODY, behind(before))

    def next(
        self, *, change: Change | None = None, outbox: tuple[OutboxRow, ...] = (), deliveries: tuple[Delivery, ...] = ()
    ) -> Append:
        """The next row of the log with these effects."""
        self.seq += 1
        after, self.last = self.last, f"worker-{secrets.token_hex(8)}"
        return Append(
            instance_id=self.instance_id, life=self.life, seq=self.seq, writer=self.last, body=BODY, after=after,
            change=change, outbox=outbox, deliveries=deliveries,
        )  # fmt: skip


class Workload:
    """A registered worker with its own instances."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._worker = Worker(token=f"bench-{secrets.token_hex(8)}", worker_id="bench", lease=600_000_000)
        self._numbers = itertools.count(1)
        self._streams: list[Stream] = []
        self._mail: list[Stream] = []
        self._long: Stream | None = None

    @classmethod
    async def on(cls, store: Store) -> Workload:
        """Make a workload with a worker, 64 instances to write and 100 to write to."""
        self = cls(store)
        await store.heartbeat(self._worker)
        self._streams = await self._begin(64)
        self._mail = await self._begin(100)
        return self

    def _start(self, *, owned: bool = True) -> Append:
        projection, index = project_with_index(INPUT, ["customer.id"])
        run = {"status": Status.RUNNING, "owner": self._worker.token} if owned else {}
        return start(
            f"order-{secrets.token_hex(12)}", workflow_name=WORKFLOW, code=CODE, body=BODY, input=INPUT,
            projection=projection, index=index, **run,
        )  # fmt: skip

    async def _commit(self, items: Sequence[Item]) -> int:
        outcomes = await self._store.commit(items, worker=self._worker.token)
        _all_are(Outcome.ACCEPTED, outcomes)
        return len(items)

    async def _begin(self, count: int) -> list[Stream]:
        starts = [self._start() for _ in range(count)]
        await self._commit(starts)
        return [Stream(start) for start in starts]

    async def plain(self) -> int:
        """One append, and wait for it."""
        return await self._commit([self._streams[0].step()])

    async def writers(self, count: int, seconds: float) -> float:
        """Run tasks, each of which appends again as soon as its last append is done; return events a second."""
        log = LogWriter(self._store, Incarnation(self._worker.token))
        writing = asyncio.create_task(log.run())
        began = time.perf_counter()
        counts = await asyncio.gather(*[_append(log, stream, began + seconds) for stream in self._streams[:count]])
        elapsed = time.perf_counter() - began
        await log.flushed()
        writing.cancel()
        await asyncio.wait({writing})
        return EVENTS * sum(counts) / elapsed

    def _effect(self, what: str, stream: Stream) -> Append:
        match what:
            case "a change":
                return stream.next(change=Change(status=Status.RUNNING, seen=0))
            case "an outbox row":
                row = OutboxRow(outbox_id=self._id(), topic="orders", body=BODY)
                return stream.next(outbox=(row,))
            case _:
                return stream.next(deliveries=(self._delivery(),))

    def effects(self) -> dict[str, Round]:
        """Appends that do more than write to the log, one at a time."""

        async def step(what: str) -> int:
            return await self._commit([self._effect(what, self._streams[0])])

        return {what: lambda what=what: step(what) for what in _EFFECTS}  # type: ignore[misc]

    def effect_batches(self, size: int) -> dict[str, Round]:
        """Make such appends in batches of many."""

        async def step(what: str) -> int:
            return await self._commit([self._effect(what, stream) for stream in self._streams[:size]])

        return {what: lambda what=what: step(what) for what in _EFFECTS}  # type: ignore[misc]

    async def starts(self, count: int) -> int:
        """Start a batch of new instances, searchable and with one indexed path."""
        return await self._commit([self._start() for _ in range(count)])

    def _id(self) -> str:
        return f"{next(self._numbers):016d}-{secrets.token_hex(4)}"

    def _delivery(self) -> Delivery:
        number = next(self._numbers)
        target = self._mail[number % len(self._mail)]
        return Delivery(instance_id=target.instance_id, delivery_id=self._id(), body=BODY)

    async def deliver(self, count: int) -> int:
        """Deliver messages to instances in turn."""
        _all_are(Delivered.ACCEPTED, await self._store.deliver([self._delivery() for _ in range(count)]))
        return count

    async def claim(self, count: int) -> float:
        """Return the seconds of claiming this number of due instances, when nothing else is due."""
        if count:
            await self._commit([self._start(owned=False) for _ in range(count)])
        claimant = Worker(token=f"claims-{secrets.token_hex(8)}", worker_id="bench", lease=600_000_000)
        await self._store.heartbeat(claimant)
        request = ClaimRequest(worker=claimant.token, codes={WORKFLOW: CODE}, limit=100)
        began = time.perf_counter()
        work = await self._store.claim(request)
        elapsed = time.perf_counter() - began
        if len(work.claimed) != count:
            raise RuntimeError(f"claimed {len(work.claimed)} of {count} instances")
        return elapsed

    async def beat(self) -> float:
        """Return the seconds of a heartbeat."""
        began = time.perf_counter()
        await self._store.heartbeat(self._worker)
        return time.perf_counter() - began

    async def read_history(self) -> float:
        """Return the seconds of reading a long log from its beginning to its end."""
        if self._long is None:
            (self._long,) = await self._begin(1)
            while self._long.seq < HISTORY:
                await self._commit([self._long.step()])
        began = time.perf_counter()
        seq, more = 0, True
        while more:
            page = await self._store.read(self._long.instance_id, after=seq)
            if page is None or not page.rows:
                raise RuntimeError(f"the log ends at {seq}")
            seq, more = page.rows[-1].seq, page.more
        if seq != HISTORY:
            raise RuntimeError(f"the log has {seq} rows, not {HISTORY}")
        return time.perf_counter() - began


_EFFECTS = ("a change", "an outbox row", "a delivery")


async def _append(log: LogWriter, stream: Stream, until: float) -> int:
    """Append until this time; return the number of appends."""
    count = 0
    done = asyncio.Event()

    def accepted(outcome: Outcome) -> None:
        _all_are(Outcome.ACCEPTED, [outcome])
        done.set()

    while time.perf_counter() < until:
        done.clear()
        log.submit(stream.step(), accepted)
        await done.wait()
        count += 1
    return count


def _all_are(expected: Outcome | Delivered, answers: list[Outcome] | list[Delivered]) -> None:
    if any(answer is not expected for answer in answers):
        raise RuntimeError(f"a figure of refused calls is no figure: {set(answers)}")
