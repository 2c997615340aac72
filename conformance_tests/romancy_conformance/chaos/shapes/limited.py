"""Instances that want places under limits, while operators stop some of them.

At any moment the database has to hold no more places of a lane than allowed, and of two that wait there the one with
the higher priority has to get one first. Every instance has to come to its place, whatever its fair key, except those
that do not wait for ever: whoever was refused or waited for too long must not have begun. At the end no place may be
left.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from romancy import (
    Limit,
    PlaceExpiredError,
    RomancyError,
    StartSkippedError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.core import ActivityScheduled, CancelRequested, PlaceGranted, PlaceRefused
from romancy.storage.admission import decode_terms
from romancy.storage.routing import InterestKind, Owner, address_held_at, address_of_lane, whole_lane
from romancy_conformance.chaos.shapes.acts import FORMS
from romancy_conformance.chaos.shapes.honesty import TERMINATED
from romancy_conformance.chaos.stage import stage

if TYPE_CHECKING:
    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Limited"]

_MOST: Final = 12
_STOPPED: Final = 0.2
_CUT: Final = 0.5
"""The share of those that are stopped which is terminated."""
_LOOKS: Final = 40
_PATIENCE: Final = 200
"""How often it looks, at the end, whether the places of terminated instances are gone: a sweep removes them."""
_ALLOWED: Final = 2
_WHOLE = Limit("shape whole", key="key", concurrency=_ALLOWED)
_SECTION = Limit("shape section", concurrency=_ALLOWED)
_CALLS = Limit("shape calls", key="key", concurrency=_ALLOWED)
_RATE = Limit("shape rate", key="key", rate=(3, 0.5))
_SHORT = 0.4
_ALONE: Final = 0.5
"""The share of the starts of those that may be skipped which hear of it."""
_SKIPS = Limit(_WHOLE.name, key="key", concurrency=_ALLOWED, full="skip")
_REPLACES = Limit(_WHOLE.name, key="key", concurrency=_ALLOWED, full="replace_queued")
_CANCELS = Limit(_WHOLE.name, key="key", concurrency=_ALLOWED, full="cancel_running")
_EXECUTES = Limit(_WHOLE.name, key="key", concurrency=_ALLOWED, hold="executing")
_HEAVY = Limit(_WHOLE.name, key="key", concurrency=_ALLOWED, units=_ALLOWED)
_EXPIRES = Limit(_WHOLE.name, key="key", concurrency=_ALLOWED, expires=_SHORT)
_SOON = Limit(_SECTION.name, concurrency=_ALLOWED, expires=_SHORT)
_LIMITS = (_WHOLE, _SECTION, _CALLS)
_EXPIRED: Final = -1
"""The result of a body that has waited for too long."""
_PRIORITIES: Final = (-9, -1, 0, 0, 0, 1, 5)
_KEYS: Final = (None, None, "a", "b", "c")
"""Which take turns when they wait for a worker, and in the line of a limit."""


@activity(limits=[_CALLS, _RATE])
async def shape_call(key: str, number: int) -> int:
    return number


@workflow(version="1", limits=[_WHOLE])
async def shape_limited_whole(ctx: WorkflowContext, key: str, count: int, form: str, nap: float) -> int:
    return await _work(ctx, count, form, nap)


@workflow(version="1", limits=[_SKIPS])
async def shape_limited_skips(ctx: WorkflowContext, key: str, count: int, form: str, nap: float) -> int:
    return await _work(ctx, count, form, nap)


@workflow(version="1", limits=[_REPLACES])
async def shape_limited_replaces(ctx: WorkflowContext, key: str, count: int, form: str, nap: float) -> int:
    return await _work(ctx, count, form, nap)


@workflow(version="1", limits=[_CANCELS])
async def shape_limited_cancels(ctx: WorkflowContext, key: str, count: int, form: str, nap: float) -> int:
    return await _work(ctx, count, form, nap)


@workflow(version="1", limits=[_EXECUTES])
async def shape_limited_executes(ctx: WorkflowContext, key: str, count: int, form: str, nap: float) -> int:
    return await _work(ctx, count, form, nap)


@workflow(version="1", limits=[_HEAVY])
async def shape_limited_heavy(ctx: WorkflowContext, key: str, count: int, form: str, nap: float) -> int:
    return await _work(ctx, count, form, nap)


@workflow(version="1", limits=[_EXPIRES])
async def shape_limited_expires(ctx: WorkflowContext, key: str, count: int, form: str, nap: float) -> int:
    return await _work(ctx, count, form, nap)


@workflow(version="1")
async def shape_limited_soon(ctx: WorkflowContext, key: str, count: int, form: str, nap: float) -> int:
    try:
        async with ctx.limit(_SOON, key):
            return await _work(ctx, count, form, nap)
    except PlaceExpiredError:
        return _EXPIRED


_ALIKE = (
    shape_limited_whole, shape_limited_skips, shape_limited_replaces, shape_limited_cancels, shape_limited_expires,
    shape_limited_soon, shape_limited_heavy, shape_limited_executes,
)  # fmt: skip
"""With the same parameters."""
_REFUSED = {shape_limited_skips.name, shape_limited_replaces.name, shape_limited_cancels.name}
_MAKES_WAY = {shape_limited_replaces.name, shape_limited_cancels.name}
_AT_WHOLE = {each.name for each in _ALIKE} - {shape_limited_soon.name}


@workflow(version="1")
async def shape_limited_parts(ctx: WorkflowContext, key: str, count: int, form: str, nap: float, again: bool) -> int:  # noqa: FBT001 - of an input
    async with ctx.limit(_SECTION, key):
        total = await _work(ctx, count, form, nap)
        if again:
            shape_limited_parts.recur(key, count, form, nap, again=False)
        return total


@workflow(version="1")
async def shape_limited_calls(ctx: WorkflowContext, key: str, count: int) -> int:
    return sum(await asyncio.gather(*(shape_call(key, number) for number in range(count))))


async def _work(ctx: WorkflowContext, count: int, form: str, nap: float) -> int:
    total = 0
    for number in range(count):
        if nap:
            await ctx.sleep(nap)
        total += await FORMS[form](number)
    return total


async def _made_way(scene: Scene, path: str) -> bool:
    """Whether it was refused, or stopped for another start."""
    events = await scene.insist(partial(scene.app.history, path))
    return any(isinstance(one, PlaceRefused) or (isinstance(one, CancelRequested) and one.place) for one in events)


def _lane_of(path: str) -> int:
    """Which of the two keys an instance has."""
    return int(path.rpartition(".")[2]) % 2


class _Line(NamedTuple):
    """What a look has found at a lane: who waits, with which priority, and who has a place."""

    waiting: dict[tuple[Owner, str], int]
    inside: set[tuple[Owner, str]]


class Limited:
    """A batch of instances with two keys, in several ways."""

    name = "limited"
    sealed = False
    workflows: tuple[Any, ...] = (*_ALIKE, shape_limited_parts, shape_limited_calls)

    async def play(self, scene: Scene) -> None:
        """Start all at once, stop some, look at the lanes now and then, and compare what each returns."""
        chance, calls, alone, right = scene.chance, list[Any](), dict[str, Any](), dict[str, int]()
        ways = dict[str, Any]()
        for number in range(chance.randint(_MOST // 2, _MOST)):
            path, count = f"{scene.path}.{number}", chance.choice((0, 1, 1, 2))
            key, form, nap = f"{scene.path}/{number % 2}", chance.choice([*FORMS]), chance.choice((0.0, 0.3, 1.0))
            ways[path] = chance.choice(self.workflows)
            way = ways[path].options(
                instance_id=path, priority=chance.choice(_PRIORITIES), fair_key=chance.choice(_KEYS)
            )
            if way.name == shape_limited_calls.name:
                calls.append(way.bind(key, count))
            elif way.name == shape_limited_parts.name:
                calls.append(way.bind(key, count, form, nap, again=chance.random() < _STOPPED))
            elif way.name == shape_limited_skips.name and chance.random() < _ALONE:
                alone[path] = way.bind(key, count, form, nap)
            else:
                calls.append(way.bind(key, count, form, nap))
            right[path] = sum(range(count))
        await scene.insist(partial(scene.app.start_many, calls))
        stopped = {path: chance.uniform(0.0, 2.0) for path in right if chance.random() < _STOPPED}
        outcomes, *_ = await asyncio.gather(
            asyncio.gather(*(self._ends(scene, path, alone.get(path)) for path in right)),
            asyncio.gather(*(self._is_stopped(scene, path, after) for path, after in stopped.items())),
            *(self._is_kept(scene, limit, number, list(right)) for limit in _LIMITS for number in range(2)),
        )
        refused = [0, 0]
        for (path, total), outcome in zip(right.items(), outcomes, strict=True):
            if path in stopped and isinstance(outcome, RomancyError):
                continue
            refused[_lane_of(path)] += await self._is_right(scene, path, ways[path].name, total, outcome)
        self._has_let_some_in(scene, ways, refused)
        await self._has_let_the_newest_in(scene, ways)
        await self._leaves_nothing(scene, list(right))

    async def _is_right(self, scene: Scene, path: str, way: str, right: int, outcome: Any) -> bool:
        """Compare what it returned; whoever got no place must not have begun. Returns whether it was refused."""
        events = await scene.insist(partial(scene.app.history, path))
        refused = any(isinstance(event, PlaceRefused) for event in events)
        if refused:
            as_said = way in _REFUSED and isinstance(outcome, WorkflowCancelledError)
        elif outcome == right:
            return False
        elif any(isinstance(event, CancelRequested) and event.place for event in events):
            if way != shape_limited_cancels.name or not isinstance(outcome, WorkflowCancelledError):
                scene.find("wrong", f"{path} of {way} was stopped for a newer one, and ended with {outcome!r}")
            return False
        elif way == shape_limited_soon.name:
            as_said = outcome == _EXPIRED
        else:
            late = isinstance(outcome, WorkflowFailedError) and outcome.error_type.endswith("PlaceExpiredError")
            as_said = way == shape_limited_expires.name and late
        begun = any(isinstance(event, (ActivityScheduled, PlaceGranted)) for event in events)
        if not as_said or begun:
            scene.find("wrong", f"{path} of {way} ended with {outcome!r}, begun: {begun}; it had to return {right}")
        return refused

    async def _ends(self, scene: Scene, path: str, alone: Any) -> Any:
        """Wait for its end, and first start it if it waits for the answer: that has to be what becomes of it."""
        skipped = False
        if alone is None:
            return await scene.outcome(path)
        try:
            await scene.insist(lambda: scene.app.start(alone.workflow, *alone.args, **alone.kwargs))
        except StartSkippedError:
            skipped = True
        outcome = await scene.outcome(path)
        events = await scene.insist(partial(scene.app.history, path))
        if skipped != any(isinstance(event, PlaceRefused) for event in events):
            scene.find(
                "wrong", f"{path}: its start said {'' if skipped else 'not '}skipped, and its log says otherwise"
            )
        return outcome

    @staticmethod
    def _has_let_some_in(scene: Scene, ways: dict[str, Any], refused: list[int]) -> None:
        """Who is refused finds places taken, so as many as there are places were not."""
        for number in range(2):
            names = [way.name for path, way in ways.items() if _lane_of(path) == number]
            at_lane = sum((_ALLOWED if one == shape_limited_heavy.name else 1) for one in names if one in _AT_WHOLE)
            if refused[number] and at_lane - refused[number] < _ALLOWED:
                scene.find("wrong", f"{refused[number]} of {at_lane} were refused at {_ALLOWED} places")

    @staticmethod
    async def _has_let_the_newest_in(scene: Scene, ways: dict[str, Any]) -> None:
        """Of those that make way for newer ones, the newest makes way for nobody."""
        for number in range(2):
            kind = [path for path, way in ways.items() if way.name in _MAKES_WAY and _lane_of(path) == number]
            left = kind and [path for path in kind if not await _made_way(scene, path)]
            if kind and not left:
                scene.find("wrong", f"{kind} have all made way for a newer one")

    async def _is_stopped(self, scene: Scene, path: str, after: float) -> None:
        await asyncio.sleep(after)  # the moment is what is tried
        terminates = scene.chance.random() < _CUT
        with suppress(RomancyError):
            if terminates:
                await scene.stop(partial(scene.app.terminate, path, reason=TERMINATED))
            else:
                await scene.stop(partial(scene.app.cancel, path))

    async def _is_kept(self, scene: Scene, limit: Limit, number: int, ids: list[str]) -> None:
        """Look at a lane now and then."""
        last = _Line({}, set())
        for _ in range(_LOOKS):
            await asyncio.sleep(scene.chance.uniform(0.0, 0.5))  # as above
            last = await self._looks(scene, address_of_lane(limit.name, f"{scene.path}/{number}"), last, ids)

    async def _looks(self, scene: Scene, lane: str, last: _Line, ids: list[str]) -> _Line:
        found = await scene.insist(partial(scene.store.services.lookups.places_of, ids))
        inside = [each for each in found if each[1].address == address_held_at(lane)]
        taken = sum(decode_terms(one.where).units for _, one in inside)
        if taken > _ALLOWED:
            names = Counter(owner.name for owner, _ in inside)
            scene.find("wrong", f"{lane} has {taken} places, {_ALLOWED} are allowed: {dict(names)}")
        has = {(owner, one.interest_id) for owner, one in inside}
        waiting = {
            (owner, one.interest_id): decode_terms(one.where).priority
            for owner, one in found
            if one.kind is InterestKind.TAKE and whole_lane(one.address) == lane
        }
        # Both stood in line at the last look, and one still does after the other has got its place. On a server, a
        # dispatch may have been frozen between its look at the line and its commit.
        if not stage.is_quick:
            return _Line(waiting, has)
        passed = max((each for one, each in waiting.items() if one in last.waiting), default=None)
        for one in has & last.waiting.keys():
            if passed is not None and last.waiting[one] < passed:
                scene.find("wrong", f"{one} at {lane} went before one with the priority {passed}: {last.waiting[one]}")
        return _Line(waiting, has)

    async def _leaves_nothing(self, scene: Scene, ids: list[str]) -> None:
        places = partial(scene.store.services.lookups.places_of, ids)
        left = await scene.insist(places)
        for _ in range(_PATIENCE):
            if not left:
                return
            await asyncio.sleep(0.5)
            left = await scene.insist(places)
        scene.find("wrong", f"places are left: {[(owner.name, one.address) for owner, one in left]}")
