"""Commits a batch by one statement or one transaction in one round trip. Only after a refusal it reads why.

The transaction is composed as if everything would be accepted. If a row count falls short, it is rolled back whole, the
deciding rows are read, the refused items drop out with their outcomes, and the rest is sent again. A refused item costs
its neighbours no more than that.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from romancy.errors import StorageUnavailableError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.limits import check_batch
from romancy.storage.outbox import OUTBOX_NEWS
from romancy.storage.records import Append, Outcome, Step
from romancy.storage.sqlkit.portions import portions
from romancy_mysql._database import pause
from romancy_mysql._effects import StepLog, Write, index_set, weight
from romancy_mysql._errors import LockWaitError, MismatchError, RefusedValueError, UnpreparedError
from romancy_mysql._explain import born_of, look, on_item, settled, started
from romancy_mysql._nowait import unheld
from romancy_mysql._sql import comma, row, source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from romancy.storage.records import Create, Delivery, Item
    from romancy_mysql._connection import Wire
    from romancy_mysql._database import Database

__all__ = ["Committer"]

_BATCH_BYTES = 3 * 1024 * 1024
_ROUNDS = 8


class Committer:
    """Writes batches. Between batches it keeps only the known sets of index paths."""

    def __init__(self, database: Database, tell: Callable[[Iterable[str]], None]) -> None:
        self._database = database
        self._tell = tell
        self._steps: StepLog
        self._known_sets: set[tuple[str, str, str]] = set()

    def open(self) -> None:
        """Begin, once the database knows its dialect."""
        self._steps = StepLog(self._database.__getitem__)

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        """As `Store.commit` promises."""
        check_batch(batch, worker)
        if len(batch) == 1 and type(alone := batch[0]) is Step:
            return [await self._lone(alone, worker)]
        self._database.check_open()
        outcomes: dict[str, Outcome] = {}
        ordered = sorted(batch, key=_place) if len(batch) > 1 else batch
        others = [item for item in batch if type(item) is not Step]
        if others:
            await self.remember_paths(others)
        for portion in portions(ordered, weight, _BATCH_BYTES):
            await _Settling(self._database, worker, outcomes, self._steps).settle(portion)
        if others:
            self.tell([item for item in others if outcomes[item.instance_id] is Outcome.ACCEPTED])
        return [outcomes[item.instance_id] for item in batch]

    async def _lone(self, item: Step, worker: str | None) -> Outcome:
        """The outcome of a lone step, on the shortest path: most batches are one."""
        database = self._database
        try:
            if await database.insist(partial(self._append, item, worker), lock_waits=0):
                return Outcome.ACCEPTED
        except LockWaitError:
            return Outcome.LOCKED
        except (RefusedValueError, UnicodeEncodeError, OverflowError):
            return Outcome.INVALID
        outcomes: dict[str, Outcome] = {}
        await _Settling(database, worker, outcomes, self._steps).settle([item])
        return outcomes[item.instance_id]

    async def _append(self, item: Step, worker: str | None, wire: Wire) -> bool:
        """Write the item's row, by the prepared statement if possible."""
        behind = item.behind
        if wire.prepares and behind is not None:
            try:
                answer = await wire.execute(self._steps.prepared, self._steps.bound(item, behind, worker), "append_log")
            except UnpreparedError:
                pass
            else:
                return answer.affected == 1
        (answer,) = await self._database.send(wire, (self._steps.statement([item], worker),))
        return answer.affected == 1

    async def signal(self, deliveries: Sequence[Delivery]) -> None:
        """Count a session's deliveries, after its commit. If that fails, the next sweep finds them."""
        mail = [(one.instance_id, one.delivery_id) for one in deliveries]
        try:
            if mail:
                await self._database.write(list(Write(self._database.__getitem__).count_later(mail)))
        except StorageUnavailableError:
            return

    def tell(self, items: Iterable[Item]) -> None:
        """Wake the callers that wait for instances that these items made due, delivered to or ended."""
        self._tell({one for item in items for one in _concerned(item)})

    async def remember_paths(self, batch: Sequence[Item]) -> None:
        """Record every set of declared paths for searches before the first instance that starts with it."""
        sets = {(create.workflow_name, *index_set(create.index)) for create in _created(batch)} - self._known_sets
        if sets:
            rows = comma(row(*one) for one in sorted(sets))
            await self._database.ask(self._database.statement("add_index_sets", rows=rows))
            self._known_sets |= sets


class _Settling:
    """Finds the outcome of each item of one batch."""

    def __init__(self, database: Database, worker: str | None, outcomes: dict[str, Outcome], steps: StepLog) -> None:
        self._database = database
        self._worker = worker
        self._outcomes = outcomes
        self._steps = steps
        self._settled: frozenset[object] = frozenset()
        """Deliveries and nested starts that an earlier copy has already settled."""

    async def settle(self, items: Sequence[Item]) -> None:
        """Write the items that can be written, and record the outcome of each."""
        todo = list(items)
        for attempt in range(_ROUNDS):
            try:
                accepted = await self._write(todo)
            except LockWaitError:
                await self._apart(todo)
                return
            except RefusedValueError:
                await self._bisect(todo)
                return
            if accepted:
                self._outcomes |= {item.instance_id: Outcome.ACCEPTED for item in todo}
                return
            left = await self._drop_refused(todo)
            if not left:
                return
            if len(left) == len(todo):
                await pause(attempt)
            todo = left
        raise StorageUnavailableError(
            f"{self._database.settings.where}: rows kept changing under a commit; it can be sent again"
        )

    async def _write(self, items: Sequence[Item]) -> bool:
        """Write everything or nothing. Steps are one statement, which needs no transaction."""
        database = self._database
        steps = [item for item in items if type(item) is Step]
        try:
            if len(steps) == len(items):
                statement = self._steps.statement(steps, self._worker)
                (answer,) = await database.insist(lambda wire: database.send(wire, (statement,)), lock_waits=0)
                return answer.affected == len(items)
            write = Write(database.__getitem__, worker=self._worker)
            for item in items:
                write.add(item, skip=self._settled)
            return await database.write(write.statements(), lock_waits=0)
        except MismatchError:
            return False
        except UnicodeEncodeError:  # half of a surrogate pair in some text
            raise RefusedValueError from None

    async def _drop_refused(self, items: Sequence[Item]) -> list[Item]:
        """Record the outcome of items that cannot be written any more, and return the others."""
        appends = [item for item in items if isinstance(item, Append)]
        deliveries = [one for item in appends for one in item.deliveries]
        postings = [one for item in appends for one in item.postings]
        database = self._database
        facts = await look(
            database, lambda wanted: database.ask(*wanted), items, deliveries, postings, worker=self._worker
        )
        left: list[Item] = []
        for item in items:
            outcome = on_item(item, facts, self._worker)
            if outcome is None:
                left.append(item)
            else:
                self._outcomes[item.instance_id] = outcome
        kept = [item for item in left if isinstance(item, Append)]
        there = started(facts, [one for item in kept for one in item.starts])
        self._settled |= there | settled(facts, deliveries, postings, born_of(kept) - there)
        return left

    async def _bisect(self, items: Sequence[Item]) -> None:
        """Halve the items until the one with refused values is alone."""
        if len(items) == 1:
            self._outcomes[items[0].instance_id] = Outcome.INVALID
            return
        middle = len(items) // 2
        await self.settle(items[:middle])
        await self.settle(items[middle:])

    async def _apart(self, items: Sequence[Item]) -> None:
        """Another transaction holds a row: write the free items first, then retry the others, each by itself."""
        held = await self._held(items) if len(items) > 1 else {items[0].instance_id}
        if not held:  # what was locked is free again, or is none of the rows that were looked at
            held = {item.instance_id for item in items}
        free = [item for item in items if item.instance_id not in held]
        if free:
            await self.settle(free)
        if len(items) == 1:
            self._outcomes[items[0].instance_id] = Outcome.LOCKED
            return
        alone = [self.settle([item]) for item in items if item.instance_id in held]
        for error in await asyncio.gather(*alone, return_exceptions=True):
            if isinstance(error, BaseException):
                raise error

    async def _held(self, items: Sequence[Item]) -> set[str]:
        """The items whose place in the log, or a row they need, is held by another open transaction."""
        database = self._database
        starts = [one for item in items if isinstance(item, Append) for one in item.starts]
        places = {_place(item) for item in items}
        places |= {(start.instance_id, start.life, 1) for start in starts}
        needed = {item.instance_id: _needed(item) for item in items}
        ids = sorted({one for group in needed.values() for one in group})
        if not database.engine.skips_locked:
            taken = await database.insist(partial(self._held_by_probes, sorted(places), ids))
            return {one for one, group in needed.items() if group & taken}
        parameters = source(("instance_id", "life", "seq"), sorted(places))
        _, written, *_, instances, unlocked = await database.ask(
            database.statement("see_uncommitted"),
            database["look_log"].statement(parameters, lock=comma(())),
            *((database.statement("see_committed"),) if database.engine.levels_stay else ()),
            database.statement("look_instances", ids=comma(ids), lock=comma(())),
            database.statement("free_instances", ids=comma(ids)),
        )
        taken = {bytes(line[0]).decode() for line in written.rows}
        taken |= {bytes(line[0]).decode() for line in instances.rows} - {
            bytes(line[0]).decode() for line in unlocked.rows
        }
        return {one for one, group in needed.items() if group & taken}

    async def _held_by_probes(self, places: Sequence[tuple[str, int, int]], ids: Sequence[str], wire: Wire) -> set[str]:
        """The instances that another transaction holds, or at whose places somebody has written or is writing."""
        database = self._database
        wire.tainted = True
        await database.send(wire, [database.begin])
        probe = database["free_place"]
        found = await unheld(
            partial(database.send, wire),
            places,
            lambda some: [probe.statement(instance_id=one, life=life, seq=seq) for one, life, seq in some],
        )
        free = {
            place for part, answers in found for place, answer in zip(part, answers, strict=True) if not answer.rows
        }
        unlocked = {line[0].decode() for line in await database.lock_free(wire, ids)}
        (there,) = await database.send(wire, [database.statement("look_instances", ids=comma(ids), lock=comma(()))])
        await database.roll_back(wire)
        return {place[0] for place in places if place not in free} | {
            one for line in there.rows if (one := line[0].decode()) not in unlocked
        }


def _place(item: Item) -> tuple[str, int, int]:
    return item.instance_id, item.life, item.seq


def _concerned(item: Item) -> Iterator[str]:
    """The instances to announce to callers other than the writer."""
    if isinstance(item, Step):
        return
    if item.create is not None and item.create.owner is None:
        yield item.instance_id
    yield from (one.instance_id for one in item.starts)
    yield from (one.instance_id for one in item.deliveries)
    if item.outbox:
        yield OUTBOX_NEWS
    change = item.change
    if change is not None and (change.release or change.status in TERMINAL_STATUSES or change.status is Status.STUCK):
        yield item.instance_id


def _needed(item: Item) -> set[str]:
    """The instances whose rows an item touches."""
    if not isinstance(item, Append):
        return {item.instance_id}
    started = {one.instance_id for one in item.starts}
    return {item.instance_id} | started | {one.instance_id for one in item.deliveries}


def _created(batch: Sequence[Item]) -> Iterator[Create]:
    """What these items create."""
    appends = [item for item in batch if isinstance(item, Append)]
    for item in appends:
        for one in (item, *item.starts):
            if one.create is not None:
                yield one.create
