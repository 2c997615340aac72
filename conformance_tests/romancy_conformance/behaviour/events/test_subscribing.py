"""A subscription is durable before anything that its workflow asks for after it has begun."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.core import Unsubscribed
from romancy.engine import lazy_results
from romancy.storage.routing import address_of_type
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

begun: list[str] = []
gates: list[asyncio.Event] = []


@pytest.fixture(autouse=True)
def scene() -> None:
    begun.clear()
    gates[:] = [asyncio.Event()]


@activity
async def held(name: str) -> None:
    begun.append(name)
    await gates[0].wait()


@activity(commit="lazy")
async def held_lazily(name: str) -> None:
    begun.append(name)
    await gates[0].wait()


@activity
async def quick() -> None: ...


@activity(commit="lazy")
async def quick_and_lazy() -> None: ...


async def next_reading(ctx: WorkflowContext) -> object:
    return (await ctx.wait_event("reading", timeout=20)).data


@workflow
async def at_first(ctx: WorkflowContext) -> object:
    await ctx.subscribe("reading")
    await held("activity")
    return await next_reading(ctx)


@workflow
async def later(ctx: WorkflowContext) -> object:
    await quick()
    await ctx.subscribe("reading")
    await held("activity")
    return await next_reading(ctx)


@workflow
async def with_another_type(ctx: WorkflowContext) -> object:
    """It has an interest in the database already, of a subscription and of a wait that has ended."""
    await ctx.subscribe("other")
    await asyncio.gather(ctx.sleep(0.001), quick())
    await quick()
    await ctx.subscribe("reading")
    await held("activity")
    return await next_reading(ctx)


@workflow
async def behind_a_patch(ctx: WorkflowContext) -> object:
    """No other request of the step has an effect either."""
    await quick()
    if ctx.patched("subscribes"):
        await ctx.subscribe("reading")
    ctx.on_undo(quick)
    await held("activity")
    return await next_reading(ctx)


@workflow
async def in_a_later_run(ctx: WorkflowContext) -> object:
    if ctx.run == 1:
        await quick()
        return in_a_later_run.recur()
    await quick()
    await ctx.subscribe("reading")
    await held("activity")
    return await next_reading(ctx)


@workflow
async def lazily_at_first(ctx: WorkflowContext) -> object:
    await ctx.subscribe("reading")
    await held_lazily("activity")
    return await next_reading(ctx)


@workflow
async def lazily_later(ctx: WorkflowContext) -> object:
    await quick_and_lazy()
    await ctx.subscribe("reading")
    await held_lazily("activity")
    return await next_reading(ctx)


@workflow
async def between_lazy_ones(ctx: WorkflowContext) -> object:
    """Results are held back when it subscribes."""
    for _ in range(3):
        await quick_and_lazy()
    await ctx.subscribe("reading")
    await quick_and_lazy()
    await held("activity")
    return await next_reading(ctx)


calls_later = calling(later)


@workflow
async def unsubscribes(ctx: WorkflowContext, *, lazily: bool) -> None:
    await ctx.subscribe("reading")
    await ctx.sleep(0.001)
    await (quick_and_lazy() if lazily else quick())
    await ctx.unsubscribe("reading")
    await (held_lazily("activity") if lazily else held("activity"))


@workflow
async def changes_its_mind(ctx: WorkflowContext) -> None:
    await quick()
    await ctx.subscribe("reading")
    await ctx.unsubscribe("reading")
    await held("activity")


async def listeners(store: Store) -> int:
    return len(await store.services.router.interests(address_of_type("reading")))


@pytest.mark.parametrize(
    "subscriber",
    [
        at_first,
        later,
        with_another_type,
        behind_a_patch,
        in_a_later_run,
        lazily_at_first,
        lazily_later,
        between_lazy_ones,
        calls_later,
    ],
    ids=lambda subscriber: subscriber.name,
)
async def test_an_event_that_comes_during_the_next_activity_is_kept(
    app: Romancy, store: Store, subscriber: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy_results, "LONGEST_WAIT", 3600.0)
    handle = await app.start(subscriber)
    await until(lambda: begun)

    assert await listeners(store) == 1
    await app.send("reading", 7)
    gates[0].set()

    assert await handle.result(timeout=30) == 7


@pytest.mark.parametrize("lazily", [False, True], ids=["plain", "lazy"])
async def test_nothing_is_kept_during_the_activity_after_the_end_of_a_subscription(
    app: Romancy, store: Store, monkeypatch: pytest.MonkeyPatch, *, lazily: bool
) -> None:
    monkeypatch.setattr(lazy_results, "LONGEST_WAIT", 3600.0)
    handle = await app.start(unsubscribes, lazily=lazily)
    await until(lambda: begun)

    assert await listeners(store) == 0
    gates[0].set()
    await handle.result(timeout=30)


async def test_a_subscription_that_is_given_up_at_once_leaves_nothing(app: Romancy, store: Store) -> None:
    handle = await app.start(changes_its_mind)
    await until(lambda: begun)

    assert await listeners(store) == 0
    gates[0].set()
    await handle.result(timeout=30)


@workflow
async def stops_listening_beside(ctx: WorkflowContext) -> list[object]:
    """A task waits for events again and again, and another one ends the subscription."""

    async def three() -> list[object]:
        return [(await ctx.wait_event("reading")).data for _ in range(3)]

    waiting = asyncio.create_task(three())
    await ctx.subscribe("reading")
    await ctx.wait_event("go")
    await ctx.unsubscribe("reading")
    return await waiting


async def test_the_end_of_a_subscription_takes_nothing_from_a_task_that_waits(open_app: Open, storage_url: str) -> None:
    """All events are in the inbox when it looks there."""
    async with Romancy(storage_url, workflows=[stops_listening_beside]) as first:
        handle = await first.start(stops_listening_beside)
        await first.signal(handle.instance_id, "go")

        async def unsubscribed() -> bool:
            return any(isinstance(event, Unsubscribed) for event in await first.history(handle.instance_id))

        await until(unsubscribed)
        other = await open_app(worker=False)
    for reading in range(3):
        await other.send("reading", reading)

    again = await open_app()

    assert await again.handle(handle.instance_id).result(timeout=30) == [0, 1, 2]
