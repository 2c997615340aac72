"""Instances that want places under limits, while operators stop some of them.

At any moment the database has to hold no more places of a lane than allowed, every instance has to come to its place,
and at the end no place may be left.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from romancy import Limit, RomancyError, WorkflowContext, activity, workflow
from romancy.storage.routing import address_held_at, address_of_lane
from romancy_conformance.chaos.shapes.acts import FORMS
from romancy_conformance.chaos.shapes.honesty import TERMINATED

if TYPE_CHECKING:
    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Limited"]

_MOST: Final = 12
_STOPPED: Final = 0.2
_CUT: Final = 0.5
"""The share of those that are stopped which is terminated."""
_LOOKS: Final = 8
_PATIENCE: Final = 200
"""How often it looks, at the end, whether the places of terminated instances are gone: a sweep removes them."""
_ALLOWED: Final = 2
_WHOLE = Limit("shape whole", key="key", concurrency=_ALLOWED)
_SECTION = Limit("shape section", concurrency=_ALLOWED)
_CALLS = Limit("shape calls", key="key", concurrency=_ALLOWED)
_RATE = Limit("shape rate", key="key", rate=(3, 0.5))
_LIMITS = (_WHOLE, _SECTION, _CALLS)


@activity(limits=[_CALLS, _RATE])
async def shape_call(key: str, number: int) -> int:
    return number


@workflow(version="1", limits=[_WHOLE])
async def shape_limited_whole(ctx: WorkflowContext, key: str, count: int, form: str, nap: float) -> int:
    return await _work(ctx, count, form, nap)


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


class Limited:
    """A batch of instances with two keys, in three ways."""

    name = "limited"
    sealed = False
    workflows: tuple[Any, ...] = (shape_limited_whole, shape_limited_parts, shape_limited_calls)

    async def play(self, scene: Scene) -> None:
        """Start all at once, stop some, look at the lanes now and then, and compare what each returns."""
        chance, calls, right = scene.chance, list[Any](), dict[str, int]()
        for number in range(chance.randint(_MOST // 2, _MOST)):
            path, count = f"{scene.path}.{number}", chance.choice((0, 1, 1, 2))
            key, form, nap = f"{scene.path}/{number % 2}", chance.choice([*FORMS]), chance.choice((0.0, 0.01, 0.3))
            way = chance.choice(self.workflows).options(instance_id=path)
            if way.name == shape_limited_calls.name:
                calls.append(way.bind(key, count))
            elif way.name == shape_limited_whole.name:
                calls.append(way.bind(key, count, form, nap))
            else:
                calls.append(way.bind(key, count, form, nap, again=chance.random() < _STOPPED))
            right[path] = sum(range(count))
        await scene.insist(partial(scene.app.start_many, calls))
        stopped = {path: chance.uniform(0.0, 2.0) for path in right if chance.random() < _STOPPED}
        await asyncio.gather(
            *(self._ends(scene, path, total, stopped=path in stopped) for path, total in right.items()),
            *(self._is_stopped(scene, path, after) for path, after in stopped.items()),
            *(self._is_within(scene, chance.uniform(0.0, 3.0)) for _ in range(_LOOKS)),
        )
        await self._leaves_nothing(scene, list(right))

    async def _ends(self, scene: Scene, path: str, right: int, *, stopped: bool) -> None:
        outcome = await scene.outcome(path)
        if isinstance(outcome, RomancyError) and stopped:
            return
        if isinstance(outcome, RomancyError) or outcome != right:
            scene.find("wrong", f"{path} ended with {outcome}; it had to return {right}")

    async def _is_stopped(self, scene: Scene, path: str, after: float) -> None:
        await asyncio.sleep(after)  # the moment is what is tried
        terminates = scene.chance.random() < _CUT
        with suppress(RomancyError):
            if terminates:
                await scene.stop(partial(scene.app.terminate, path, reason=TERMINATED))
            else:
                await scene.stop(partial(scene.app.cancel, path))

    async def _is_within(self, scene: Scene, after: float) -> None:
        await asyncio.sleep(after)  # as above
        for limit in _LIMITS:
            for number in range(2):
                address = address_held_at(address_of_lane(limit.name, f"{scene.path}/{number}"))
                inside = await scene.insist(partial(scene.store.rooms.router.interests, address))
                if len(inside) > _ALLOWED:
                    names = Counter(owner.name for owner, _ in inside)
                    scene.find("wrong", f"{address} has {len(inside)} places, {_ALLOWED} are allowed: {dict(names)}")

    async def _leaves_nothing(self, scene: Scene, ids: list[str]) -> None:
        places = partial(scene.store.rooms.lookups.places_of, ids)
        left = await scene.insist(places)
        for _ in range(_PATIENCE):
            if not left:
                return
            await asyncio.sleep(0.5)
            left = await scene.insist(places)
        scene.find("wrong", f"places are left: {[(owner.name, one.address) for owner, one in left]}")
