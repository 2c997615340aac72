"""Commits: a batch is split by what its items carry, and each part is one statement or one transaction.

Steps are one statement, starts are one, appends with a change are one, and so are those that send, deliver,
start, route or renew. Only if one of these delivers to what another starts or changes, or if a child cannot be created,
they need a transaction, of a fixed number of statements. The parts of a batch run concurrently, each on its own
connection. Items do not affect each other: a fault that blocks or breaks a part is traced to its item.
"""

from __future__ import annotations

import asyncio
from operator import attrgetter, methodcaller
from typing import TYPE_CHECKING, Final, cast

from msgspec.structs import astuple

from romancy.storage.admission import places_taken_by
from romancy.storage.limits import check_batch, check_step
from romancy.storage.records import Outcome, Step
from romancy.storage.sqlkit.portions import portions
from romancy.storage.sqlkit.statements import LockedError
from romancy_postgres._columns import firsts_of, path_sets, set_columns, start_columns
from romancy_postgres._effects import (
    all_at_once,
    created_at_once,
    entangled,
    firsts_at_once,
    renews,
    written_at_once,
)
from romancy_postgres._errors import DRIVER_ERRORS, RefusedValueError, UnbornError
from romancy_postgres._places import full_for
from romancy_postgres._routes import routes_size
from romancy_postgres._write import (
    ChildRefusedError,
    Written,
    changed,
    changing,
    created,
    explain,
    write_effects,
    write_steps,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence

    import asyncpg

    from romancy.storage.records import Append, Item
    from romancy_postgres._columns import PathSet
    from romancy_postgres._connection import Link
    from romancy_postgres._database import Database
    from romancy_postgres._signals import Signals

    Outcomes = dict[str, Outcome]
    Part = Callable[[Sequence[Item], str | None, float | None], Awaitable[Outcomes]]

__all__ = ["Commits"]

_PART_BYTES = 4 * 1024 * 1024
_PART_ITEMS = 1000
_APART_SECONDS = 1.0
_APART_WAIT = 0.2
_APART_AT_ONCE = 4


class Commits:
    """The `commit` of a store."""

    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals
        self._known_sets: set[PathSet] = set()

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        """As `Store.commit` promises."""
        if len(batch) == 1 and type(item := batch[0]) is Step and self._database.alone is not None:
            check_step(item, worker)
            # Most batches are one step. This path costs little more than the statement.
            try:
                count = await self._database.run_at_once("append_one", worker, *astuple(item))
            except DRIVER_ERRORS:
                pass  # the general path below handles the error
            else:
                return [Outcome.ACCEPTED if count else await self._explained(item, worker)]
        check_batch(batch, worker)
        parts = self._parts(batch)
        if len(parts) == 1:
            outcomes = await self._settle(*parts[0], worker)
        elif _sends_to_a_start(batch):
            outcomes = await self._in_turn(reversed(parts), worker)  # the starts are the last part
        else:
            outcomes = await _merged(self._settle(write, items, worker) for write, items in parts)
        return list(map(outcomes.__getitem__, map(_target, batch)))

    async def _explained(self, item: Step, worker: str | None) -> Outcome:
        return (await self._reasons([item], worker))[item.instance_id]

    def _reasons(self, items: Sequence[Item], worker: str | None) -> Coroutine[None, None, Outcomes]:
        """Why items were not accepted."""
        return self._database.single(lambda link: explain(link, items, worker), name="explain_appends")

    async def _in_turn(self, parts: Iterable[tuple[Part, list[Item]]], worker: str | None) -> Outcomes:
        outcomes: Outcomes = {}
        for write, items in parts:
            outcomes |= await self._settle(write, items, worker)
        return outcomes

    async def learn_sets(self, sets: dict[PathSet, list[str]]) -> None:
        """Record sets of declared paths for searches, before the first instance with such a set is written."""
        unknown = sets.keys() - self._known_sets
        if unknown:
            await self._database.run("index_sets", *set_columns({one: sets[one] for one in unknown}))
            self._known_sets |= unknown

    def _parts(self, batch: Sequence[Item]) -> list[tuple[Part, list[Item]]]:
        if len(batch) == 1:
            (item,) = batch
            return [(self._steps if isinstance(item, Step) else self._part_of(item), [item])]
        ordered = sorted(batch, key=_target)
        steps = [item for item in ordered if type(item) is Step]
        kinds: dict[Part, list[Item]] = {
            self._changes: [], self._effects: [], self._firsts: [], self._starts: [],
        }  # fmt: skip
        for item in ordered if len(steps) < len(ordered) else ():
            if not isinstance(item, Step):
                kinds[self._part_of(item)].append(item)
        parts: list[tuple[Part, list[Item]]] = [(self._steps, list(part)) for part in _portions(steps)]
        for write, items in kinds.items():
            parts += [(write, part) for part in portions(items, _weight, _PART_BYTES, _PART_ITEMS)]
        return parts

    def _part_of(self, item: Append) -> Part:
        """Which statement writes an append."""
        carries = item.outbox or item.deliveries or item.starts or item.interests or item.uninterested or item.postings
        if item.create is not None:
            return self._firsts if carries or item.create.replaces is not None else self._starts
        return self._effects if carries or renews(item) else self._changes

    async def _settle(self, write: Part, items: Sequence[Item], worker: str | None) -> Outcomes:
        try:
            return await write(items, worker, None)
        except LockedError:
            if len(items) == 1:
                return {items[0].instance_id: Outcome.LOCKED}
            return await self._each_alone(write, items, worker)
        except RefusedValueError:
            if len(items) == 1:
                return {items[0].instance_id: Outcome.INVALID}
        middle = len(items) // 2
        return await _merged(self._settle(write, half, worker) for half in (items[:middle], items[middle:]))

    async def _each_alone(self, write: Part, items: Sequence[Item], worker: str | None) -> Outcomes:
        """Write each item by itself, with short waits, so that one locked row does not delay the others.

        An item that was not tried when the time is up comes back as LOCKED. Its sender sends it again by itself.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + _APART_SECONDS
        turns = asyncio.Semaphore(_APART_AT_ONCE)

        async def write_one(item: Item) -> Outcomes:
            async with turns:
                if loop.time() >= until:
                    return {item.instance_id: Outcome.LOCKED}
                try:
                    return await write([item], worker, _APART_WAIT)
                except LockedError:
                    return {item.instance_id: Outcome.LOCKED}
                except RefusedValueError:
                    return {item.instance_id: Outcome.INVALID}

        return await _merged(map(write_one, items))

    def _send(self, wait: float | None, name: str, *arguments: object) -> Awaitable[list[asyncpg.Record]]:
        if wait is not None:
            return self._database.hurried(methodcaller("fetch", name, *arguments), wait)
        return self._database.fetch(name, *arguments, lock_waits=0)

    async def _steps(self, items: Sequence[Item], worker: str | None, wait: float | None) -> Outcomes:
        steps = cast("Sequence[Step]", items)
        if wait is not None:
            count = await self._database.hurried(lambda link: write_steps(link, steps, worker), wait)
        else:
            send = self._database.single
            count = await send(lambda link: write_steps(link, steps, worker), name="append_many", lock_waits=0)
        if count == len(steps):
            return dict.fromkeys(map(_target, steps), Outcome.ACCEPTED)
        return await self._reasons(steps, worker)

    async def _changes(self, items: Sequence[Item], worker: str | None, wait: float | None) -> Outcomes:
        appends = cast("Sequence[Append]", items)
        answer = await self._send(wait, "append_changes", worker, *changing(appends))
        return await self._appended(appends, worker, changed(appends, answer))

    async def _effects(self, items: Sequence[Item], worker: str | None, wait: float | None) -> Outcomes:
        appends = cast("Sequence[Append]", items)
        if any(map(_starts, appends)):
            await self.learn_sets(path_sets(firsts_of(start for item in appends for start in item.starts)))
        if entangled(appends):
            return await self._by_several(appends, worker, wait)
        try:
            answer = await self._send(wait, "append_effects", worker, *all_at_once(appends))
        except UnbornError:
            return await self._by_several(appends, worker, wait)
        return await self._carried(appends, worker, wait, written_at_once(appends, answer))

    async def _firsts(self, items: Sequence[Item], worker: str | None, wait: float | None) -> Outcomes:
        appends = cast("Sequence[Append]", items)
        await self.learn_sets(path_sets(firsts_of(one for item in appends for one in (item, *item.starts))))
        if entangled(appends) or any(map(places_taken_by, appends)):
            return await self._by_several(appends, worker, wait)
        try:
            answer = await self._send(wait, "append_first", *firsts_at_once(appends))
        except UnbornError:
            return await self._by_several(appends, worker, wait)
        return await self._carried(appends, worker, wait, created_at_once(appends, answer))

    async def _carried(
        self, appends: Sequence[Append], worker: str | None, wait: float | None, written: Written
    ) -> Outcomes:
        """The outcomes after one statement. It has left out parents with a child that is there, perhaps by a copy."""
        parents: list[Append] = []
        if any(map(_starts, appends)):
            parents = [item for item in appends if item.starts and item.instance_id not in written.accepted]
        others = [item for item in appends if item not in parents] if parents else appends
        outcomes = await self._appended(others, worker, written)
        return outcomes | await self._by_several(parents, worker, wait) if parents else outcomes

    async def _by_several(self, appends: Sequence[Append], worker: str | None, wait: float | None) -> Outcomes:
        """Write appends by several statements, which find out which of their children cannot be created."""
        refused: Outcomes = {}
        while left := [item for item in appends if item.instance_id not in refused]:
            try:
                return refused | await self._together(left, worker, wait)
            except ChildRefusedError as error:
                refused |= error.parents
                refused |= await self._reasons_of_heirs(appends, error.parents, worker)
        return refused

    async def _reasons_of_heirs(self, appends: Sequence[Append], lost: Outcomes, worker: str | None) -> Outcomes:
        """Why instances were not created whose ended life had been removed. That was undone."""
        heirs = [item for item in appends if item.create is not None and lost.get(item.instance_id) is Outcome.LOCKED]
        return await self._reasons(heirs, worker) if heirs else {}

    async def _together(self, appends: Sequence[Append], worker: str | None, wait: float | None) -> Outcomes:
        takes_places = any(map(places_taken_by, appends))
        full: set[str] = set()

        async def write(link: Link) -> Written:
            nonlocal full
            full = await full_for(link, appends) if takes_places else set()
            rest = [one for one in appends if one.instance_id not in full] if full else appends
            return await write_effects(link, rest, worker, in_session=False) if rest else Written(set(), set())

        if wait is not None:
            written = await self._database.hurried(write, wait)
        else:
            written = await self._database.transaction(write, lock_waits=0)
        left = [one for one in appends if one.instance_id not in full] if full else appends
        return dict.fromkeys(full, Outcome.FULL) | await self._appended(left, worker, written)

    async def _appended(self, items: Sequence[Append], worker: str | None, written: Written) -> Outcomes:
        if written.stirred:
            self._signals.tell(written.stirred)
        outcomes = dict.fromkeys(written.accepted, Outcome.ACCEPTED)
        if len(outcomes) < len(items):
            left = [item for item in items if item.instance_id not in outcomes]
            outcomes |= await self._reasons(left, worker)
        return outcomes

    async def _starts(self, items: Sequence[Item], worker: str | None, wait: float | None) -> Outcomes:
        appends = cast("Sequence[Append]", items)
        await self.learn_sets(path_sets(firsts_of(appends)))
        answer = await self._send(wait, "start", *start_columns(firsts_of(appends)))
        return await self._appended(appends, worker, created(appends, answer))


_target: Final[Callable[[Item], str]] = attrgetter("instance_id")
_starts: Final[Callable[[Append], Sequence[Append]]] = attrgetter("starts")


def _sends_to_a_start(batch: Sequence[Item]) -> bool:
    """Whether a message goes to an instance that this batch starts: it arrives only if that is there before."""
    appends = [item for item in batch if not isinstance(item, Step)]
    started = {item.instance_id for item in appends if item.create is not None}
    sending = (item.deliveries for item in appends) if started else ()
    return any(delivery.instance_id in started for deliveries in sending for delivery in deliveries)


def _portions(steps: list[Step]) -> Iterable[list[Step]]:
    """As `portions` does, without a call for each step where one portion takes all of them."""
    if 0 < len(steps) <= _PART_ITEMS and sum([len(step.body) for step in steps]) <= _PART_BYTES:
        return (steps,)
    return portions(steps, lambda step: len(step.body), _PART_BYTES, _PART_ITEMS)


def _weight(item: Item) -> int:
    if isinstance(item, Step):
        return len(item.body)
    size = len(item.body)
    if item.create is not None:
        size += len(item.create.input) + len(item.create.projection or b"")
    if item.change is not None:
        size += len(item.change.input or b"")
    if item.outbox or item.deliveries or item.starts:
        size += sum(len(row.body) for row in item.outbox) + sum(len(one.body) for one in item.deliveries)
        size += sum(map(_weight, item.starts))
    if item.interests or item.uninterested or item.postings:
        size += routes_size(item)
    return size


async def _merged(parts: Iterable[Coroutine[None, None, Outcomes]]) -> Outcomes:
    """Run all parts concurrently to their end, then return their outcomes or raise the first error."""
    found = await asyncio.gather(*parts, return_exceptions=True)
    merged: Outcomes = {}
    for part in found:
        if isinstance(part, BaseException):
            raise part
        merged |= part
    return merged
