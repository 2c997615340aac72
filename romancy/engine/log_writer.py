"""Group commit: one writer per process puts everything that is ready into one batch.

The writer never waits on purpose. Items that queue up while a batch is in flight form the next batch. A lone append
therefore goes out at once (in its own task, if nothing else runs), and five hundred concurrent ones share a commit. A
batch with an unknown outcome is sent again unchanged until the outcome is known, however long the database is away. The
store recognises each item by its nonce.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Struct

from romancy._logs import about, get_logger
from romancy.core import driving
from romancy.engine.gc_pause import GcPause
from romancy.engine.incarnation import Incarnation
from romancy.engine.outage import Outage
from romancy.engine.surroundings import here
from romancy.errors import RomancyError, StorageUnavailableError, UsageError
from romancy.storage.records import Append, Item, Outcome, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store

    Done = Callable[[Outcome], None]

__all__ = ["Entry", "LogWriter", "is_laden"]

logger = get_logger("romancy.engine")

_BATCH_ITEMS: Final = 1000
_BATCH_BYTES: Final = 4 * 1024 * 1024
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
_A_MOMENT: Final = 0.25
_TOLD_AT_ONCE: Final = 200
"""How many submitters get the outcome of their commits in one turn of the event loop."""
_MANY: Final = 32
"""A batch of this size or more raises the threshold of the garbage collector."""
_ON_THEIR_WAY: Final = 2
"""How many turns of the event loop after such a batch most of the items that follow from it are submitted.

They share the next commit then. Otherwise the writer would take those of the first turn alone.
"""


_LOCKED: Final = Outcome.LOCKED
"""Python 3.11 calls a function for each `Outcome.LOCKED`."""


_ITEM: Final = attrgetter("item")
_WORKER: Final = attrgetter("worker")
_BODY: Final = attrgetter("body")
_INSTANCE: Final = attrgetter("instance_id")


class Entry(Protocol):
    """An item on its way to the log. An instance has one at a time."""

    @property
    def item(self) -> Item:
        """What is written."""
        ...

    @property
    def worker(self) -> str | None:
        """The incarnation that writes it."""
        ...

    @property
    def settle(self) -> Callable[[Any, Outcome], None]:
        """Acts on the entry's outcome, on the event loop."""
        ...


class _Asked(Struct, gc=False):
    """An item of somebody who wants nothing but its outcome."""

    item: Item
    worker: str | None
    settle: Callable[[_Asked, Outcome], None]
    done: Done


def _tell(asked: _Asked, outcome: Outcome) -> None:
    asked.done(outcome)


class LogWriter:
    """Commits items in batches and tells each submitter the outcome of its own item."""

    def __init__(
        self,
        store: Store,
        incarnation: Incarnation | None = None,
        *,
        timed: Callable[[float, int], None] | None = None,
        outage: Outage | None = None,
    ) -> None:
        """`timed` is called with the seconds that each commit took and the number of its items."""
        self.outage = Outage() if outage is None else outage
        self._store = store
        self._seconds = here().seconds
        self._timed = timed
        self._incarnation = incarnation or Incarnation()
        self._queue: list[Entry] = []
        self._ease = GcPause()
        self._refusals: dict[str, Exception] = {}
        self._sleeping: asyncio.Future[None] | None = None
        """The future that the writer awaits while there is nothing to write."""
        self._flushed: list[asyncio.Future[None]] = []
        self._busy = False
        self._under_way = 0
        """The number of items in the last batch sent."""
        self._written_at = -_A_MOMENT
        """When the last batch was answered."""
        self.written = 0
        """How many items have been written in all."""
        self._gathers = Gathering(self.gathers)
        self._gathering = 0
        """The number of callers that are about to submit more items for the next batch."""
        self._guest: asyncio.Task[Any] | None = None
        """A task that writes its own item."""
        self._apart: set[asyncio.Task[None]] = set()
        """Tasks that write apart: each an item that waits for another transaction, or amendments."""
        self._locked: dict[int, Item] = {}
        """These items, by their identities."""
        self._batch: list[Item] = []
        """The items in flight, or of the batch that waits for the database."""
        self._sent_ids: set[int] | None = None
        """The identities of those that may have been sent. None: not asked for yet."""
        self._unwanted: dict[int, Item] = {}
        """Items on their way to the database that nobody wants any more."""
        self._withdrawn: dict[int, Item] = {}
        """Items that are not to be sent, by their identities."""

    @property
    def load(self) -> int:
        """How many items are queued or in flight, or were so a moment ago; about as many will follow."""
        recent = self._busy or self._seconds() - self._written_at < _A_MOMENT
        return len(self._queue) + self._under_way * recent

    @property
    def idle(self) -> bool:
        """Whether nothing is queued or in flight."""
        return not (self._queue or self._busy or self._apart)

    def under_way(self) -> dict[str, Item]:
        """What is queued or in flight, by instance: these logs may grow without another call."""
        if self.idle:
            return {}
        items = (*map(_ITEM, self._queue), *self._batch, *self._locked.values())
        return {item.instance_id: item for item in items}

    def submit(self, item: Item, done: Done) -> None:
        """Queue an item. `done` is called with its outcome, on the event loop.

        An instance has one item here at a time.
        """
        self.put(_Asked(item, self._incarnation.token, _tell, done))

    def put(self, entry: Entry) -> None:
        """Queue an entry."""
        self._queue.append(entry)
        if self._sleeping is not None and not (self._busy or (self._gathering and self._awaits_more)):
            self._wake()

    def aside(self, writing: Coroutine[Any, Any, None]) -> None:
        """Begin a task that writes to logs on its own way. It ends with the writer, and is waited for as items are."""
        task = asyncio.create_task(writing)
        self._apart.add(task)
        task.add_done_callback(self._is_through)

    def withdraw(self, item: Item) -> bool:
        """Take back a submitted item without an outcome. False if it may have been sent. Its outcome is INVALID.

        One that may have been sent is not sent again if that has certainly written nothing.
        """
        if self._sent_ids is None:
            self._sent_ids = set(map(id, self._batch))
        if id(item) in self._sent_ids or id(item) in self._locked:
            self._unwanted[id(item)] = item
            return False
        if not self._withdrawn:
            asyncio.get_running_loop().call_soon(self._drop_withdrawn)
        self._withdrawn[id(item)] = item
        return True

    def _drop_withdrawn(self) -> None:
        """Remove withdrawn items from the queue."""
        queue, self._queue = self._queue, []
        for entry in queue:
            if self._withdrawn.pop(id(entry.item), None) is None:
                self._queue.append(entry)
            else:
                entry.settle(entry, Outcome.INVALID)

    def _forget_unwanted(self, batch: list[Entry]) -> None:
        for entry in batch:
            if id(entry.item) not in self._locked:
                self._unwanted.pop(id(entry.item), None)

    async def outcome_of(self, item: Item) -> Outcome:
        """Queue an item, and return its outcome."""
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def tell(outcome: Outcome) -> None:
            if not answer.done():  # nobody waits any more
                answer.set_result(outcome)

        self.submit(item, tell)
        return await answer

    @property
    def _awaits_more(self) -> bool:
        """Whether those who submit many items will soon submit more."""
        return self._gathering > 0 and len(self._queue) < _BATCH_ITEMS

    def gathering(self) -> Gathering:
        """Send only full batches until the block ends.

        The caller submits many items and yields to others between them.
        """
        return self._gathers

    def gathers(self, callers: int) -> None:
        """Count callers that begin to submit many items, or with a negative number those that have done so."""
        self._gathering += callers
        if callers > 0:
            self._ease.for_a_moment()
        elif self._queue and not self._busy:
            self._wake()

    def _wake(self) -> None:
        sleeping, self._sleeping = self._sleeping, None
        if sleeping is not None and not sleeping.done():
            sleeping.set_result(None)

    async def write(self, entry: Entry, task: asyncio.Task[Any]) -> None:
        """Write an entry in this task, which calls and knows of no item that could join.

        This saves the turn of the event loop in which the writer would wake up. While something is queued or in flight,
        the entry is queued.
        """
        if self._busy or self._queue:
            self.put(entry)
            return
        item = entry.item
        outcomes: list[Outcome] | None = None
        self._busy, self._under_way, self._guest = True, 1, task
        self._batch, self._sent_ids = [item], None
        try:
            try:
                commit = self._store.commit if self._timed is None else self._measured
                outcomes = await commit([item], worker=entry.worker)
            except Exception as error:  # noqa: BLE001 - the submitter is told
                outcomes = await self._insist([item], entry.worker, error)
            self.written += 1
            self._written_at = self._seconds()
            self._settle([entry], outcomes)
        finally:
            self._busy, self._guest = False, None
            self._batch, self._sent_ids = [], None
            if self._unwanted:
                self._forget_unwanted([entry])
            if outcomes is None:  # cancelled: the store recognises a written item by its nonce
                self._queue.insert(0, entry)
            if self._queue or self._flushed:
                self._wake()

    async def flushed(self) -> None:
        """Return when nothing is queued or in flight."""
        while not self.idle:
            flushed = asyncio.get_running_loop().create_future()
            self._flushed.append(flushed)
            await flushed

    def refuse(self, item: Item, error: Exception) -> None:
        """Record why an item is INVALID. Who starts an instance gets the reason; that of others is logged."""
        self._refusals[item.instance_id] = error
        if isinstance(item, Append) and item.create is not None:
            return
        logger.error(
            "instance %s: its commit cannot be written: %s",
            item.instance_id,
            error,
            exc_info=None if isinstance(error, RomancyError) else error,
            extra=about(item),
        )

    def refusal(self, instance_id: str) -> Exception:
        """Why an instance's item was INVALID. The reason can be read once."""
        return self._refusals.pop(instance_id, UsageError(f"instance {instance_id}: the database refused its values"))

    async def run(self) -> None:
        """Commit submitted items until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                while not self._queue or self._busy or (self._gathering and self._awaits_more):
                    self._tell_flushed()
                    self._sleeping = loop.create_future()
                    await self._sleeping
                await self._write_next()
        finally:
            for waiting in self._apart:
                waiting.cancel()
            if self._guest is not None:
                self._guest.cancel()
            self._ease.end()

    async def _write_next(self) -> None:
        batch = self._take()
        if not batch:
            return  # all were withdrawn
        self._busy = True
        self._under_way = len(batch)
        self._batch, self._sent_ids = [entry.item for entry in batch], None
        outcomes: list[Outcome] | None = None
        try:
            outcomes = await self._commit(self._batch, batch[0].worker)
            self.written += len(batch)
            self._written_at = self._seconds()
            if len(batch) == 1:
                self._settle(batch, outcomes)
            else:
                if len(batch) >= _MANY:
                    self._ease.for_a_moment()
                await self._settle_all(batch, outcomes)
                if len(batch) >= _MANY:
                    for _ in range(_ON_THEIR_WAY):
                        await asyncio.sleep(0)
        finally:
            self._busy = False
            self._batch, self._sent_ids = [], None
            if self._unwanted:
                self._forget_unwanted(batch)
            if outcomes is None:  # cancelled: the store recognises each item by its nonce if it is written already
                self._queue[:0] = batch

    async def _settle_all(self, batch: list[Entry], outcomes: list[Outcome]) -> None:
        """Call all submitters back, with turns of the event loop between them.

        After a cancellation, the remaining ones are called at once.
        """
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
            self._batch = self._batch[step:]

    def _settle(self, batch: list[Entry], outcomes: list[Outcome]) -> None:
        for entry, outcome in zip(batch, outcomes, strict=True):
            if outcome is _LOCKED and not is_laden(entry.item):
                self._wait_apart(entry)
                continue
            try:
                entry.settle(entry, outcome)
            except Exception:
                logger.exception(
                    "instance %s: the commit is written, but its outcome could not be acted on",
                    entry.item.instance_id,
                    extra=about(entry.item),
                )

    def _wait_apart(self, entry: Entry) -> None:
        """Send a locked item again by itself, so that no other item waits for the transaction that blocks it."""
        item = entry.item
        self._locked[id(item)] = item
        logger.warning(
            "instance %s: another transaction blocks its commit; sent again", item.instance_id, extra=about(item)
        )
        self.aside(self._write_apart(entry))

    def _is_through(self, waiting: asyncio.Task[None]) -> None:
        self._apart.discard(waiting)
        self._tell_flushed()

    async def _write_apart(self, entry: Entry) -> None:
        outcome, pause = Outcome.LOCKED, _FIRST_PAUSE
        while outcome is Outcome.LOCKED:
            await asyncio.sleep(pause * here().uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)
            if id(entry.item) in self._unwanted:
                outcome = Outcome.INVALID  # it was refused, and so is not in the log
            else:
                (outcome,) = await self._commit([entry.item], entry.worker)
        self._locked.pop(id(entry.item), None)
        self._unwanted.pop(id(entry.item), None)
        self._settle([entry], [outcome])

    def _tell_flushed(self) -> None:
        flushed, self._flushed = self._flushed, []
        for waiter in flushed:
            if not waiter.done():
                waiter.set_result(None)

    def _take(self) -> list[Entry]:
        """The next batch: in order, within the limits, of one incarnation, no instance twice, as itself or a child."""
        if self._withdrawn:
            self._drop_withdrawn()
        if len(self._queue) <= 1 or self._is_one_batch():
            batch, self._queue = self._queue, []
            return batch
        size, named, instances = 0, 0, set[str]()
        worker = self._queue[0].worker
        for count, entry in enumerate(self._queue):
            item = entry.item
            size += len(item.body)
            named += 1
            instances.add(item.instance_id)
            if type(item) is not Step and item.starts:
                named += len(item.starts)
                instances.update([start.instance_id for start in item.starts])
            full = count == _BATCH_ITEMS or (count and size > _BATCH_BYTES)
            if full or (count and len(instances) < named) or entry.worker != worker:
                batch, self._queue = self._queue[:count], self._queue[count:]
                return batch
        batch, self._queue = self._queue, []
        return batch

    def _is_one_batch(self) -> bool:
        """Whether all that is queued is one batch of steps, as nearly always. Nothing here is a call for each item."""
        items = list(map(_ITEM, self._queue))
        return (
            len(items) <= _BATCH_ITEMS
            and set(map(type, items)) == {Step}
            and sum(map(len, map(_BODY, items))) <= _BATCH_BYTES
            and len(set(map(_WORKER, self._queue))) == 1
            and len(set(map(_INSTANCE, items))) == len(items)
        )

    async def _commit(self, items: list[Item], worker: str | None) -> list[Outcome]:
        try:
            return await (self._store.commit if self._timed is None else self._measured)(items, worker=worker)
        except Exception as error:  # noqa: BLE001 - the submitter is told
            return await self._insist(items, worker, error)

    async def _measured(self, items: Sequence[Item], *, worker: str | None) -> list[Outcome]:
        began = self._seconds()
        outcomes = await self._store.commit(items, worker=worker)
        if self._timed is not None:
            self._timed(self._seconds() - began, len(items))
        return outcomes

    async def _insist(self, items: list[Item], worker: str | None, error: Exception) -> list[Outcome]:
        """The outcomes of a batch whose commit raised `error`: send it again as long as the database is away."""
        pause, sent = _FIRST_PAUSE, False
        while isinstance(error, StorageUnavailableError):
            self.outage.failed("commits wait", error)
            sent = sent or error.maybe_written
            wait = pause * here().uniform(0.5, 1.0)
            if await self._pause(items, wait, sent=sent):
                return await self._without_withdrawn(items, worker)
            pause = min(pause * 2, _LONGEST_PAUSE)
            try:
                outcomes = await self._store.commit(items, worker=worker)
            except Exception as again:  # noqa: BLE001 - as above
                error = again
            else:
                self.outage.answered("commits wait")
                return outcomes
        self.outage.answered("commits wait")
        if len(items) == 1:
            self.refuse(items[0], error)
            return [Outcome.INVALID]
        # One of them cannot be written at all; the others are written alone.
        return [outcome for item in items for outcome in await self._commit([item], worker)]

    async def _pause(self, items: list[Item], wait: float, *, sent: bool) -> bool:
        """Wait before the next try of a batch. Returns whether items of it were withdrawn meanwhile."""
        if sent or items is not self._batch:
            await asyncio.sleep(wait)
            return False
        self._sent_ids = set()
        if self._unwanted:
            mine = {id(item): item for item in items}
            self._withdrawn |= {key: mine[key] for key in self._unwanted.keys() & mine.keys()}
        try:
            await asyncio.sleep(wait)
        finally:
            self._sent_ids = None
        return any(id(item) in self._withdrawn for item in items) if self._withdrawn else False

    async def _without_withdrawn(self, items: list[Item], worker: str | None) -> list[Outcome]:
        """The outcomes of a batch of which some items are not sent."""
        kept = [item for item in items if self._withdrawn.pop(id(item), None) is None]
        left = set(map(id, kept))
        self._batch, self._sent_ids = kept, None
        outcomes = iter(await self._commit(kept, worker) if kept else ())
        return [next(outcomes) if id(item) in left else Outcome.INVALID for item in items]


class Gathering:
    """The block of a caller that submits many items."""

    __slots__ = ("_gathers",)

    def __init__(self, gathers: Callable[[int], None]) -> None:
        self._gathers = gathers

    def __enter__(self) -> None:
        self._gathers(1)

    def __exit__(self, *_: object) -> None:
        self._gathers(-1)


def is_laden(item: Item) -> bool:
    """Whether a first append carries what may be in its way: its start can be written without that."""
    if not isinstance(item, Append) or item.create is None:
        return False
    return bool(item.starts or item.deliveries or item.outbox or item.postings or item.interests)
