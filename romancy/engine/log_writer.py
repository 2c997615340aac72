"""Group commit: one writer per process turns everything that is ready into one batch.

It never waits on purpose. What queues up while one batch is on its way is the next batch, so a lone append goes out
at once (in the task it came from, if nothing else runs) and five hundred concurrent ones share a commit. A batch whose
outcome is unknown is sent again as it is (the store recognises each item by its nonce) until it is known, however long
the database is away.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from romancy._logs import about, get_logger
from romancy.core import driving
from romancy.engine.gc_pause import GcPause
from romancy.engine.incarnation import Incarnation
from romancy.errors import RomancyError, StorageUnavailableError, UsageError
from romancy.storage.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from romancy.storage.protocol import Store
    from romancy.storage.records import Item

    Done = Callable[[Outcome], None]
    Entry = tuple[Item, Done, str | None]

__all__ = ["LogWriter"]

logger = get_logger("romancy.engine")

_BATCH_ITEMS: Final = 1000
_BATCH_BYTES: Final = 4 * 1024 * 1024
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
_A_MOMENT: Final = 0.25
_TOLD_AT_ONCE: Final = 200
"""How many hear of their commits in one turn of the event loop."""
_MANY: Final = 32
"""Where one batch has so many items there is enough at work for the collector to be told."""


class LogWriter:
    """Commits items in batches and tells each submitter the outcome of its own."""

    def __init__(self, store: Store, incarnation: Incarnation | None = None) -> None:
        self._store = store
        self._incarnation = incarnation or Incarnation()
        self._queue: list[Entry] = []
        self._ease = GcPause()
        self._refusals: dict[str, Exception] = {}
        self._sleeping: asyncio.Future[None] | None = None
        """The writer waits for this one while there is nothing to write."""
        self._flushed: list[asyncio.Future[None]] = []
        self._busy = False
        self._under_way = 0
        """How many items the last batch has that was sent."""
        self._written_at = -_A_MOMENT
        """When that was answered."""
        self.written = 0
        """How many items have been written in all."""
        self._gathering = 0
        """How many callers are about to submit more, which is to share the next batch."""
        self._guest: asyncio.Task[Any] | None = None
        """A task that writes its own item."""
        self._apart: set[asyncio.Task[None]] = set()
        """Those that wait for somebody else's transaction, each by itself."""

    @property
    def load(self) -> int:
        """How many items are queued or on their way, or were so a moment ago: as many are likely to follow."""
        recent = self._busy or asyncio.get_running_loop().time() - self._written_at < _A_MOMENT
        return len(self._queue) + self._under_way * recent

    def submit(self, item: Item, done: Done) -> None:
        """Queue an item; `done` hears its outcome, on the event loop. An instance has one item here at a time."""
        self._queue.append((item, done, self._incarnation.token))
        if not (self._busy or self._awaits_more):
            self._wake()

    @property
    def _awaits_more(self) -> bool:
        return bool(self._gathering) and len(self._queue) < _BATCH_ITEMS

    @contextmanager
    def gathering(self) -> Generator[None]:
        """Until the block ends no batch is sent that is not full: its caller submits many, with turns for others."""
        self._gathering += 1
        try:
            yield
        finally:
            self._gathering -= 1
            if self._queue and not self._busy:
                self._wake()

    def _wake(self) -> None:
        sleeping, self._sleeping = self._sleeping, None
        if sleeping is not None and not sleeping.done():
            sleeping.set_result(None)

    async def write(self, item: Item, done: Done) -> None:
        """Write an item here and now and tell `done`; for a caller that knows of nobody who could join.

        It saves the turn of the event loop in which the writer would wake up. While something is queued or on its way
        the item is queued.
        """
        if self._busy or self._queue:
            self.submit(item, done)
            return
        entry = item, done, self._incarnation.token
        outcomes: list[Outcome] | None = None
        self._busy, self._under_way, self._guest = True, 1, asyncio.current_task()
        try:
            try:
                outcomes = await self._store.commit([item], worker=entry[2])
            except Exception as error:  # noqa: BLE001 - told to whoever submitted it
                outcomes = await self._insist([item], entry[2], error)
            self.written += 1
            self._written_at = asyncio.get_running_loop().time()
            self._settle([entry], outcomes)
        finally:
            self._busy, self._guest = False, None
            if outcomes is None:  # cancelled meanwhile: it is recognised by its nonce if it is in already
                self._queue.insert(0, entry)
            if self._queue or self._flushed:
                self._wake()

    async def flushed(self) -> None:
        """Return when nothing is queued or on its way."""
        while self._queue or self._busy or self._apart:
            flushed = asyncio.get_running_loop().create_future()
            self._flushed.append(flushed)
            await flushed

    def refuse(self, item: Item, error: Exception) -> None:
        """Remember why an item is INVALID."""
        logger.error(
            "instance %s: its commit cannot be written: %s",
            item.instance_id,
            error,
            exc_info=None if isinstance(error, RomancyError) else error,
            extra=about(item),
        )
        self._refusals[item.instance_id] = error

    def refusal(self, instance_id: str) -> Exception:
        """Why an instance's item was INVALID; told once."""
        return self._refusals.pop(instance_id, UsageError(f"instance {instance_id}: the database refused its values"))

    async def run(self) -> None:
        """Commit what is submitted, until cancelled."""
        try:
            await self._run()
        finally:
            for waiting in self._apart:
                waiting.cancel()
            if self._guest is not None:
                self._guest.cancel()
            self._ease.end()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._queue or self._busy or self._awaits_more:
                self._tell_flushed()
                self._sleeping = loop.create_future()
                await self._sleeping
            await self._write_next()

    async def _write_next(self) -> None:
        batch = self._take()
        self._busy = True
        self._under_way = len(batch)
        outcomes: list[Outcome] | None = None
        try:
            outcomes = await self._commit([item for item, _, _ in batch], batch[0][2])
            self.written += len(batch)
            self._written_at = asyncio.get_running_loop().time()
            if len(batch) == 1:
                self._settle(batch, outcomes)
            else:
                if len(batch) >= _MANY:
                    self._ease.for_a_moment()
                await self._settle_all(batch, outcomes)
        finally:
            self._busy = False
            if outcomes is None:  # cancelled meanwhile: each is recognised by its nonce if it is in already
                self._queue[:0] = batch

    async def _settle_all(self, batch: list[Entry], outcomes: list[Outcome]) -> None:
        """Tell them all, with turns of the event loop for others; whoever is left is told at a cancellation."""
        step = _TOLD_AT_ONCE
        for first in range(0, len(batch), step):
            if first:
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    self._settle(batch[first:], outcomes[first:])
                    raise
            with driving():
                self._settle(batch[first : first + step], outcomes[first : first + step])

    def _settle(self, batch: list[Entry], outcomes: list[Outcome]) -> None:
        for entry, outcome in zip(batch, outcomes, strict=True):
            item, done, _ = entry
            if outcome is Outcome.LOCKED:
                self._wait_apart(entry)
                continue
            try:
                done(outcome)
            except Exception:
                logger.exception("instance %s: what follows its commit failed", item.instance_id, extra=about(item))

    def _wait_apart(self, entry: Entry) -> None:
        """Send a locked item again by itself, so that nobody else waits for what holds it up."""
        item = entry[0]
        logger.warning(
            "instance %s: another transaction holds up its commit; sent again", item.instance_id, extra=about(item)
        )
        waiting = asyncio.create_task(self._write_apart(entry))
        self._apart.add(waiting)
        waiting.add_done_callback(self._is_through)

    def _is_through(self, waiting: asyncio.Task[None]) -> None:
        self._apart.discard(waiting)
        self._tell_flushed()

    async def _write_apart(self, entry: Entry) -> None:
        outcome, pause = Outcome.LOCKED, _FIRST_PAUSE
        while outcome is Outcome.LOCKED:
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(pause * 2, _LONGEST_PAUSE)
            (outcome,) = await self._commit([entry[0]], entry[2])
        self._settle([entry], [outcome])

    def _tell_flushed(self) -> None:
        flushed, self._flushed = self._flushed, []
        for waiter in flushed:
            if not waiter.done():
                waiter.set_result(None)

    def _take(self) -> list[Entry]:
        """The next batch: in order, within bounds, each instance at most once, all by one incarnation."""
        if len(self._queue) == 1:
            batch, self._queue = self._queue, []
            return batch
        size, instances = 0, set[str]()
        for count, (item, _, worker) in enumerate(self._queue):
            size += len(item.body)
            instances.add(item.instance_id)
            full = count == _BATCH_ITEMS or (count and size > _BATCH_BYTES)
            if full or len(instances) == count or worker != self._queue[0][2]:
                batch, self._queue = self._queue[:count], self._queue[count:]
                return batch
        batch, self._queue = self._queue, []
        return batch

    async def _commit(self, items: list[Item], worker: str | None) -> list[Outcome]:
        try:
            return await self._store.commit(items, worker=worker)
        except Exception as error:  # noqa: BLE001 - told to whoever submitted it
            return await self._insist(items, worker, error)

    async def _insist(self, items: list[Item], worker: str | None, error: Exception) -> list[Outcome]:
        """The outcomes of a batch whose commit raised this: send it again as long as the database is away."""
        pause = _FIRST_PAUSE
        while isinstance(error, StorageUnavailableError):
            logger.warning("the database is away, %d commits wait: %s", len(items), error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(pause * 2, _LONGEST_PAUSE)
            try:
                return await self._store.commit(items, worker=worker)
            except Exception as again:  # noqa: BLE001 - as above
                error = again
        if len(items) == 1:
            self.refuse(items[0], error)
            return [Outcome.INVALID]
        # One of them cannot be written at all; the others must not suffer for it.
        return [outcome for item in items for outcome in await self._commit([item], worker)]
