"""Workflows of quick activities are stopped at random moments: the log has what was done, as completed or unknown.

No process dies here and no call fails. With `ROMANCY_SOAK=1` each case stops some thousand instances.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest

from romancy import (
    InstanceEndedError,
    RetryPolicy,
    Romancy,
    RomancyError,
    TerminalError,
    WorkflowContext,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.core import ActivityCancelled, ActivityCompleted, CompensationCompleted

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

SOAK = os.environ.get("ROMANCY_SOAK") == "1"
AT_ONCE = 40
ROUNDS = 40 if SOAK else 2

effects: Counter[tuple[str, str, str]] = Counter()
"""How often each call was carried out, by its instance, id and idempotency key."""
net: Counter[tuple[str, int]] = Counter()
"""What stands of each piece of work."""


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    effects.clear()
    net.clear()


def _carried_out(number: int, change: int) -> None:
    ctx = activity_context()
    effects[ctx.instance_id, ctx.activity_id, ctx.idempotency_key] += 1
    net[ctx.instance_id, number] += change


@compensation
async def take_back(number: int) -> None:
    _carried_out(number, -1)


@activity(compensation=take_back, retry=RetryPolicy.none())
async def put(number: int) -> int:
    _carried_out(number, 1)
    return number


@activity(compensation=take_back, retry=RetryPolicy.none())
def put_on_a_thread(number: int) -> int:
    _carried_out(number, 1)
    return number


@activity(retry=RetryPolicy.none())
async def breaks(seconds: float) -> None:
    await asyncio.sleep(seconds)
    raise TerminalError("no")


@workflow
async def puts(ctx: WorkflowContext, count: int, naps: bool, on_a_thread: bool) -> int:  # noqa: FBT001 - stored input
    total = 0
    for number in range(count):
        if naps and number % 2:
            await ctx.sleep(0.01)
        total += await (put_on_a_thread(number) if on_a_thread else put(number))
    return total


@workflow
async def puts_in_time(ctx: WorkflowContext, count: int, naps: bool, on_a_thread: bool, seconds: float) -> int:  # noqa: FBT001
    child = puts.options(instance_id=f"{ctx.instance_id}.child")
    try:
        async with asyncio.timeout(seconds):
            return await child(count, naps, on_a_thread)
    except TimeoutError:
        return -1


@workflow
async def puts_beside(ctx: WorkflowContext, count: int, naps: bool, on_a_thread: bool, seconds: float) -> int:  # noqa: FBT001
    async with asyncio.TaskGroup() as group:
        group.create_task(breaks(seconds))
        group.create_task(puts.fn(ctx, count, naps, on_a_thread))
    return 0


class Shape(NamedTuple):
    """One instance, and when it is stopped."""

    steps: int
    naps: bool
    seconds: float


async def _stopped(app: Romancy, how: str, instance_id: str, shape: Shape, *, on_a_thread: bool) -> str:
    """Start an instance, stop it, and wait for its end. The id of the instance whose activities these are."""
    count, naps, seconds = shape
    if how == "limit":
        handle = await app.start(puts_in_time.options(instance_id=instance_id), count, naps, on_a_thread, seconds)
        await handle.result(timeout=120)
        return f"{instance_id}.child"
    if how == "sibling":
        handle = await app.start(puts_beside.options(instance_id=instance_id), count, naps, on_a_thread, seconds)
    else:
        handle = await app.start(puts.options(instance_id=instance_id), count, naps, on_a_thread)
        await asyncio.sleep(seconds)  # the moment is what is tried
        with suppress(InstanceEndedError):
            await (app.cancel(instance_id) if how == "cancel" else app.terminate(instance_id))
    with suppress(RomancyError):
        await handle.result(timeout=120)
    return instance_id


async def _faults(app: Romancy, instance_id: str, how: str) -> list[str]:
    """What the log and the record of what was done disagree about."""
    with suppress(RomancyError):
        await app.handle(instance_id).result(timeout=120)  # a child that was given up may still stop
    instance = await app.get_instance(instance_id)
    assert instance is not None
    history = await app.history(instance_id)
    done = {id: count for (where, id, _), count in effects.copy().items() if where == instance_id}
    completed = {event.id for event in history if isinstance(event, ActivityCompleted | CompensationCompleted)}
    faults = [f"{id} was carried out {count} times" for id, count in done.items() if count > 1]
    faults += [
        f"{id} completed, and was not carried out" for id in completed if id.startswith("put") and not done.get(id)
    ]
    faults += [
        f"{event.id} was cancelled, and was carried out"
        for event in history
        if isinstance(event, ActivityCancelled) and not event.unknown and done.get(event.id)
    ]
    if how != "terminate" and instance.status in ("cancelled", "failed"):
        faults += [
            f"{number} stands {left}" for (where, number), left in net.copy().items() if where == instance_id and left
        ]
    return faults


@pytest.mark.parametrize("on_a_thread", [False, True], ids=["coroutines", "threads"])
@pytest.mark.parametrize("how", ["cancel", "limit", "sibling", "terminate"])
@pytest.mark.long
async def test_what_is_stopped_amid_quick_activities_loses_and_doubles_nothing(
    open_app: Open,
    how: str,
    on_a_thread: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    app = await open_app()
    chance = random.Random(f"{how}/{on_a_thread}")
    faults: dict[str, list[str]] = {}
    for turn in range(ROUNDS):
        shapes = [
            Shape(chance.randint(10, 40), chance.random() < 0.4, chance.uniform(0.02, 0.5)) for _ in range(AT_ONCE)
        ]
        stopped = [
            _stopped(app, how, f"{turn}-{number}", shape, on_a_thread=on_a_thread)
            for number, shape in enumerate(shapes)
        ]
        for instance_id in await asyncio.gather(*stopped):
            if found := await _faults(app, instance_id, how):
                faults[instance_id] = found
    assert not faults
