"""`hold="executing"`: a workflow gives its place back while it waits, and gets it again before it goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    Limit,
    RegistrationError,
    Romancy,
    Workflow,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.core import PlaceAsked, PlaceFreed, PlaceGranted, PlaceNotWanted
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy import Handle

pytestmark = pytest.mark.anyio

SOON = 30.0
GO = EventType("go", str)
BUSY = Limit("busy", key="key", concurrency=1, hold="executing")
entered: asyncio.Queue[str]
leave: asyncio.Event
said: list[str] = []


@pytest.fixture(autouse=True)
def _nobody_inside() -> None:
    global entered, leave
    entered, leave = asyncio.Queue(), asyncio.Event()
    said.clear()


@activity
async def work(name: str) -> None:
    entered.put_nowait(name)
    await leave.wait()


@activity
async def undo(name: str) -> None:
    said.append(f"undone {name}")


@activity
async def say(name: str) -> str:
    said.append(name)
    return name


@workflow(limits=[BUSY])
async def waits(ctx: WorkflowContext, key: str, name: str) -> str:
    got = (await ctx.wait_event(GO)).data
    return await say(f"{name} {got}")


@workflow(limits=[BUSY])
async def works(ctx: WorkflowContext, key: str, name: str) -> str:
    await work(name)
    return name


@workflow(limits=[BUSY])
async def naps(ctx: WorkflowContext, key: str, times: int) -> int:
    for number in range(times):
        await ctx.sleep(0.01)
        await say(f"{ctx.instance_id} {number}")
    return times


@workflow(limits=[BUSY, Limit("z one", concurrency=1)])
async def naps_alone(ctx: WorkflowContext, key: str, times: int) -> int:
    for number in range(times):
        await ctx.sleep(0.01)
        await say(f"{ctx.instance_id} {number}")
    return times


@workflow(limits=[BUSY])
async def parent(ctx: WorkflowContext, key: str) -> str:
    return await waits(key, "child")


@workflow(limits=[BUSY])
async def two_waits(ctx: WorkflowContext, key: str) -> list[str]:
    found = await asyncio.gather(*(ctx.wait_event(one) for one in ("first", "second")))
    return [str(one.data) for one in found]


@workflow(limits=[BUSY, Limit("a busy", concurrency=1, hold="executing"), Limit("z open", concurrency=5)])
async def at_three(ctx: WorkflowContext, key: str) -> str:
    return (await ctx.wait_event(GO)).data


@workflow(limits=[BUSY])
async def section(ctx: WorkflowContext, key: str) -> None:
    async with ctx.limit("busy", key):
        pass


@workflow
async def rests_in_a_section(ctx: WorkflowContext) -> None:
    async with ctx.limit(Limit("x", concurrency=1, hold="executing")):
        pass


WORKFLOWS: list[Workflow[..., Any]] = [
    waits,
    works,
    naps,
    naps_alone,
    parent,
    two_waits,
    at_three,
    section,
    rests_in_a_section,
]


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        yield app


def count(events: list[Any], kind: type) -> int:
    return sum(isinstance(event, kind) for event in events)


async def has(handle: Handle[Any], kind: type, times: int = 1) -> None:
    async def there() -> bool:
        return count(await handle.history(), kind) >= times

    await until(there)


async def rests(handle: Handle[Any]) -> None:
    await has(handle, PlaceFreed)


async def enters(name: str) -> None:
    assert await asyncio.wait_for(entered.get(), SOON) == name


async def test_who_waits_leaves_its_place_to_others(app: Romancy) -> None:
    handles = [await app.start(waits, "x", f"{number}") for number in range(3)]
    for one in handles:
        await rests(one)
    assert await app.limits("busy") == []

    for one in handles:
        await one.signal(GO, "on")

    assert [await one.result(timeout=SOON) for one in handles] == ["0 on", "1 on", "2 on"]
    for one in handles:
        events = await one.history()
        assert [count(events, kind) for kind in (PlaceAsked, PlaceGranted, PlaceFreed)] == [2, 2, 1]


async def test_who_goes_on_waits_for_the_one_that_executes(app: Romancy) -> None:
    first = await app.start(waits, "x", "first")
    await rests(first)
    second = await app.start(works, "x", "second")
    await enters("second")
    await first.signal(GO, "on")
    await has(first, PlaceAsked, 2)
    (lane,) = await app.limits("busy")
    assert (lane.taken, lane.waiting, lane.holders, said) == (1, 1, (second.instance_id,), [])

    leave.set()

    assert [await first.result(timeout=SOON), await second.result(timeout=SOON)] == ["first on", "second"]
    assert await app.limits("busy") == []


async def test_what_comes_while_it_waits_for_its_place_is_not_lost(app: Romancy) -> None:
    first = await app.start(two_waits, "x")
    await rests(first)
    second = await app.start(works, "x", "second")
    await enters("second")
    await first.signal("first", "1")
    await has(first, PlaceAsked, 2)
    await first.signal("second", "2")

    leave.set()

    assert await first.result(timeout=SOON) == ["1", "2"]
    assert await second.result(timeout=SOON) == "second"


async def test_many_take_turns(app: Romancy) -> None:
    handles = [await app.start(naps, "x", 3) for _ in range(4)]

    assert [await one.result(timeout=SOON) for one in handles] == [3] * 4
    assert len(said) == 12


async def test_a_child_may_have_the_place_of_its_parent_that_waits(app: Romancy) -> None:
    handle = await app.start(parent, "x")
    await rests(handle)

    async def child() -> str | None:
        found = [one.instance_id async for one in app.iter_instances(workflow_name="waits")]
        return found[0] if found else None

    async def there() -> bool:
        return await child() is not None

    await until(there)
    await app.signal(str(await child()), GO, "on")
    assert await handle.result(timeout=SOON) == "child on"


async def test_who_is_stopped_while_it_waits_for_its_place_leaves_the_line(app: Romancy) -> None:
    first = await app.start(waits, "x", "first")
    await rests(first)
    second = await app.start(works, "x", "second")
    await enters("second")
    await first.signal(GO, "on")
    await has(first, PlaceAsked, 2)

    await first.cancel("enough")

    with pytest.raises(WorkflowCancelledError, match="enough"):
        await first.result(timeout=SOON)
    assert count(await first.history(), PlaceNotWanted) == 1
    (lane,) = await app.limits("busy")
    assert (lane.taken, lane.waiting) == (1, 0)
    leave.set()
    assert await second.result(timeout=SOON) == "second"


async def test_who_rests_can_be_stopped(app: Romancy) -> None:
    first = await app.start(waits, "x", "first")
    await rests(first)

    await first.cancel("enough")

    with pytest.raises(WorkflowCancelledError, match="enough"):
        await first.result(timeout=SOON)
    assert await app.limits("busy") == []


async def test_another_worker_goes_on_with_who_waits_for_its_place(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        first = await app.start(waits.options(instance_id="first"), "x", "first")
        await rests(first)
        await app.pause_limit("busy")
        await first.signal(GO, "on")
        await has(first, PlaceAsked, 2)
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        await app.resume_limit("busy")
        assert await app.handle("first", waits).result(timeout=SOON) == "first on"
        assert await app.limits("busy") == []


async def test_several_limits_are_asked_for_again_in_their_order(app: Romancy) -> None:
    handle = await app.start(at_three, "x")
    await has(handle, PlaceFreed, 2)
    assert [(lane.limit, lane.taken) for lane in await app.limits()] == [("z open", 1)]

    await handle.signal(GO, "on")

    assert await handle.result(timeout=SOON) == "on"
    asked = [event.limit for event in await handle.history() if isinstance(event, PlaceAsked)]
    assert asked == ["z open", "a busy", "busy", "a busy", "busy"]


async def test_nobody_waits_for_another_that_has_the_rest(app: Romancy) -> None:
    """Who executes has its other place already; so who goes on finds one to wait for that ends."""
    handles = [await app.start(naps_alone, "x", 3) for _ in range(3)]

    assert [await one.result(timeout=SOON) for one in handles] == [3, 3, 3]


async def test_a_section_of_the_same_limit_is_refused(app: Romancy) -> None:
    handle = await app.start(section, "x")

    with pytest.raises(WorkflowFailedError, match="would wait for itself"):
        await handle.result(timeout=SOON)


async def test_a_section_has_its_place_until_it_is_left(app: Romancy) -> None:
    handle = await app.start(rests_in_a_section)

    with pytest.raises(WorkflowFailedError, match=r"limit 'x' has hold='executing'.* it is for limits= of a workflow"):
        await handle.result(timeout=SOON)


def test_it_is_for_workflows_and_for_those_that_stay() -> None:
    with pytest.raises(RegistrationError, match="hold= is one of 'open', 'executing', not 'closed'"):
        Limit("x", concurrency=1, hold="closed")  # type: ignore[arg-type]
    with pytest.raises(RegistrationError, match="with hold='executing' one that waits has none"):
        Limit("x", concurrency=1, hold="executing", full="cancel_running")
    with pytest.raises(RegistrationError, match=r"limit 'x' has hold='executing'.* it is for limits= of a workflow"):

        @activity(limits=[Limit("x", concurrency=1, hold="executing")])
        async def call() -> None: ...
