"""Ends of receivers, subscriptions and waits: no message is lost, duplicated or left without a receiver."""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    Channel,
    ChannelModeConflictError,
    EventTimeoutError,
    Romancy,
    Status,
    UsageError,
    Workflow,
    WorkflowCancelledError,
    WorkflowContext,
    workflow,
)
from romancy.core import MessageReceived, Subscribed
from romancy.engine.joining import Joining
from romancy.storage.routing import address_of_channel
from romancy_conformance.behaviour.cast import receives
from romancy_conformance.behaviour.waiting import joined, status_is, until

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Orders = Channel("orders", int)


async def asking(store: Store, count: int) -> None:
    """Wait until the channel has so many interests, those of receivers included."""

    async def so_many() -> bool:
        return len(await store.services.router.interests(address_of_channel("orders"))) == count

    await until(so_many)


async def received(app: Romancy, instance_id: str) -> list[bytes]:
    """What an instance has received from channels."""
    messages = [event.message for event in await app.history(instance_id) if isinstance(event, MessageReceived)]
    return [bytes(message.data) for message in messages if message.topic.kind == "channel"]


@workflow
async def takes_late(ctx: WorkflowContext, way: str) -> list[int]:
    """Ask for a message, give up, and end on a signal: a message taken meanwhile must go to another receiver."""
    orders = ctx.channel(Orders)
    await orders.subscribe("competing")
    waiting = asyncio.create_task(orders.receive())
    await ctx.wait_event("stop")
    if way == "cancel":
        waiting.cancel()
    else:
        await orders.unsubscribe()
    await asyncio.gather(waiting, return_exceptions=True)
    await ctx.wait_event("end")
    return []


async def test_terminated_receivers_leave_their_messages_to_others(app: Romancy, store: Store) -> None:
    one = await app.start(receives, "competing", 4)  # one more than is published before it ends
    await asking(store, 2)
    await app.channel(Orders).publish(1)

    async def has_it() -> bool:
        return await received(app, one.instance_id) == [b"1"]

    await until(has_it)
    await asyncio.gather(app.terminate(one.instance_id), *(app.channel(Orders).publish(number) for number in (2, 3)))
    with pytest.raises(WorkflowCancelledError):
        await one.result(timeout=30)
    gone = [int(one) for one in await received(app, one.instance_id)]
    other = await app.start(receives, "competing", 4 - len(gone))
    await app.channel(Orders).publish(4)
    got = await other.result(timeout=60)
    assert sorted([*gone, *got]) == [1, 2, 3, 4]
    await joined(app, 0)


@pytest.mark.parametrize("way", ["cancel", "unsubscribe"])
async def test_a_message_of_a_wait_that_was_given_up_goes_to_another(app: Romancy, store: Store, way: str) -> None:
    late = await app.start(takes_late, way)
    await asking(store, 2)
    await asyncio.gather(app.signal(late.instance_id, "stop"), app.channel(Orders).publish(1))

    async def has_stopped() -> bool:
        history = await app.history(late.instance_id)
        return any(isinstance(one, MessageReceived) and one.message.topic.kind == "event" for one in history)

    await until(has_stopped)
    expected = [2] if await received(app, late.instance_id) else [1, 2]
    other = await app.start(receives, "competing", len(expected))
    await app.channel(Orders).publish(2)
    assert sorted(await other.result(timeout=30)) == expected
    await app.signal(late.instance_id, "end")
    assert await late.result(timeout=30) == []


@workflow
async def in_a_hurry(ctx: WorkflowContext, limit: float) -> list[int]:
    """Limit a wait by asyncio's means, and race two waits."""
    orders, got = ctx.channel(Orders), list[int]()
    await orders.subscribe("competing")
    while len(got) < 4:
        try:
            async with asyncio.timeout(limit):
                got.append((await orders.receive()).data)
        except TimeoutError:
            pass
        tasks = [asyncio.create_task(orders.receive(timeout=limit)) for _ in range(2)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(end, BaseException):
                got.append(end.data)
    return got


async def test_time_limits_and_races_lose_nothing(app: Romancy, open_app: Open, backend: str) -> None:
    """Limits are short, but long enough for some messages, which cross two commits on a cluster of databases."""
    other = await open_app()
    limit = 0.5 if backend == "citus" else 0.02
    hasty = [await one.start(in_a_hurry, limit) for one in (app, other, app)]
    await joined(app, 3)
    published = range(18)
    for number in published:
        await other.channel(Orders).publish(number)
    got = list(chain(*[await handle.result(timeout=60) for handle in hasty]))
    rest: list[int] = []
    async with app.channel(Orders).subscribe("rest", mode="competing") as messages:
        while len(got) + len(rest) < len(published):
            rest.append((await messages.receive(timeout=60)).data)
        with pytest.raises(EventTimeoutError):
            await messages.receive(timeout=0.05)
    assert sorted([*got, *rest]) == [*published]


@workflow
async def changes_its_mode(ctx: WorkflowContext) -> list[Any]:
    """Change the mode, alone and then beside another."""
    orders, said = ctx.channel(Orders), list[Any]()
    await orders.subscribe("broadcast")
    try:
        await orders.subscribe("competing")
    except ChannelModeConflictError as error:
        said.append(error.existing)
    await orders.unsubscribe()
    await orders.subscribe("competing")
    said.append((await orders.receive()).data)
    await orders.unsubscribe()
    await orders.subscribe("broadcast")
    await ctx.channel("told", model=str).publish("listens")
    said.append((await orders.receive()).data)
    return said


async def test_a_subscriber_changes_its_mode(app: Romancy) -> None:
    handle = await app.start(changes_its_mode)

    async def competes() -> bool:
        return [member.mode for member in await app.channel(Orders).members()] == ["competing"]

    async with app.channel("told").subscribe("one", mode="competing") as told:
        await until(competes)
        await app.channel(Orders).publish(1)
        assert (await told.receive(timeout=30)).data == "listens"
        await app.channel(Orders).publish(2)
    assert await handle.result(timeout=30) == ["broadcast", 1, 2]


@workflow
async def changes_beside_others(ctx: WorkflowContext, said: str) -> str:
    orders = ctx.channel(Orders)
    if not said:
        await orders.subscribe("broadcast")
        await ctx.wait_event("go")
        changes_beside_others.recur("before")
    await orders.unsubscribe()
    try:
        await orders.subscribe("competing")
    except ChannelModeConflictError as error:
        return f"{error.existing}, not {error.requested}"
    return "both"


async def test_a_change_of_mode_is_refused_beside_others(app: Romancy) -> None:
    """Also when the next run leaves and joins in the append that begins it."""
    other, handle = await app.start(receives, "broadcast", 1), await app.start(changes_beside_others, "")
    await joined(app, 2)
    await app.signal(handle.instance_id, "go")
    assert await handle.result(timeout=30) == "broadcast, not competing"
    await joined(app, 1)
    assert [member.mode for member in await app.channel(Orders).members()] == ["broadcast"]
    await app.channel(Orders).publish(1)
    assert await other.result(timeout=30) == [1]


def _never(*_: object) -> None:
    """Do nothing."""


async def test_a_run_that_follows_asks_before_it_subscribes(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The append that begins it registers nothing: the answer could be no."""
    app = await open_app()
    handle, other = await app.start(changes_beside_others, ""), await app.start(receives, "broadcast", 1)
    await joined(app, 2)
    monkeypatch.setattr(Joining, "begin", _never)
    await app.signal(handle.instance_id, "go")

    async def has_asked() -> bool:
        history = await app.history(handle.instance_id)
        return any(isinstance(event, Subscribed) and event.mode == "competing" for event in history)

    await until(has_asked)
    assert [(member.id, member.mode) for member in await app.channel(Orders).members()] == [
        (other.instance_id, "broadcast")
    ]
    monkeypatch.undo()
    await app.drain(0)
    second = await open_app()
    assert await second.handle(handle.instance_id).result(timeout=30) == "broadcast, not competing"
    await second.channel(Orders).publish(1)
    assert await second.handle(other.instance_id).result(timeout=30) == [1]


@workflow
async def comes_back(ctx: WorkflowContext) -> list[int]:
    """Unsubscribe with messages pending, and subscribe again."""
    orders = ctx.channel(Orders)
    await orders.subscribe()
    await ctx.wait_event("leave")
    await orders.unsubscribe()
    await ctx.wait_event("return")
    await orders.subscribe()
    await ctx.channel("told", model=str).publish("listens")
    return [(await orders.receive()).data]


async def test_what_was_pending_at_the_end_of_a_subscription_does_not_come_later(app: Romancy) -> None:
    handle = await app.start(comes_back)
    async with app.channel("told").subscribe("one", mode="competing") as told:
        await joined(app, 1)
        await asyncio.gather(
            *(app.channel(Orders).publish(number) for number in range(5)), app.signal(handle.instance_id, "leave")
        )
        await joined(app, 0)
        await app.channel(Orders).publish(6)
        await app.signal(handle.instance_id, "return")
        assert (await told.receive(timeout=30)).data == "listens"
    await app.channel(Orders).publish(7)
    assert await handle.result(timeout=30) == [7]


@workflow
async def is_cancelled(ctx: WorkflowContext, mode: str) -> None:
    """Receive for ever, and clean up with a message of its own."""
    orders = ctx.channel(Orders)
    await orders.subscribe(mode)  # type: ignore[arg-type]  # the tests give a mode
    try:
        async for _ in orders:
            pass
    finally:
        await ctx.channel("told", model=str).publish(f"{mode} was cancelled")


@pytest.mark.parametrize("mode", ["broadcast", "competing"])
async def test_a_cancelled_receiver_may_say_goodbye(app: Romancy, mode: str) -> None:
    handle = await app.start(is_cancelled, mode)
    async with app.channel("told").subscribe("one", mode="competing") as told:
        await joined(app, 1)
        await app.channel(Orders).publish(1)
        await handle.cancel()
        assert (await told.receive(timeout=30)).data == f"{mode} was cancelled"
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=30)
    await joined(app, 0)


async def test_a_drain_in_the_middle_of_receiving_loses_nothing(open_app: Open) -> None:
    first = await open_app()
    listening = [await first.start(receives, "broadcast", 20) for _ in range(2)]
    await joined(first, 2)
    sender = await open_app(worker=False)
    publishing = asyncio.create_task(_publish(sender, 20))
    await first.drain(10)
    second = await open_app()
    await publishing
    for handle in listening:
        assert await second.handle(handle.instance_id).result(timeout=60) == list(range(20))


async def _publish(app: Romancy, count: int) -> None:
    for number in range(count):
        await app.channel(Orders).publish(number)


@workflow
async def stops_at(ctx: WorkflowContext, last: int) -> list[int]:
    """Leave a loop by `break`, and go on receiving after it."""
    orders, got = ctx.channel(Orders), list[int]()
    await orders.subscribe("competing")
    async for message in orders:
        got.append(message.data)
        if message.data == last:
            break
    await ctx.wait_event("on")
    async for message in orders:
        return [*got, message.data]
    return got


async def test_a_loop_that_was_left_takes_nothing(app: Romancy) -> None:
    handle = await app.start(stops_at, 1)
    await joined(app, 1)
    await app.channel(Orders).publish(0)
    await app.channel(Orders).publish(1)

    async def has_both() -> bool:
        return len(await received(app, handle.instance_id)) == 2

    await until(has_both)
    await app.channel(Orders).publish(2)
    async with app.channel(Orders).subscribe("one", mode="competing") as one:
        assert (await one.receive(timeout=20)).data == 2
    await app.channel(Orders).publish(3)
    await app.signal(handle.instance_id, "on")
    assert await handle.result(timeout=30) == [0, 1, 3]


@workflow
async def not_awaited(ctx: WorkflowContext) -> str:
    """Subscribe with a time limit of its own: what was asked for stands when the answer has come."""
    orders = ctx.channel(Orders)
    subscribing = asyncio.create_task(orders.subscribe())
    await asyncio.sleep(0)
    subscribing.cancel()
    await asyncio.gather(subscribing, return_exceptions=True)
    try:
        await orders.receive()
    except UsageError:
        pass
    await orders.subscribe()
    await orders.unsubscribe()
    await ctx.wait_event("end")
    return "left"


@workflow
async def leaves_at_once(ctx: WorkflowContext) -> str:
    await ctx.channel(Orders).subscribe("competing")
    await ctx.channel(Orders).unsubscribe()
    await ctx.wait_event("end")
    return "left"


@pytest.mark.parametrize("leaver", [not_awaited, leaves_at_once], ids=lambda leaver: leaver.name)
async def test_a_subscriber_that_leaves_at_once_leaves_no_subscription(app: Romancy, leaver: Workflow[[], str]) -> None:
    handle = await app.start(leaver)
    await status_is(app, handle.instance_id, Status.WAITING)
    assert [] == await app.channel(Orders).members()
    await app.signal(handle.instance_id, "end")
    assert await handle.result(timeout=30) == "left"


async def test_two_processes_race_with_two_modes(app: Romancy, open_app: Open) -> None:
    """Subscribers outside of workflows race too; one of the modes wins."""
    other = await open_app(worker=False)
    sides = [
        (app.channel(Orders).subscribe(f"a{number}"), other.channel(Orders).subscribe(f"b{number}", mode="competing"))
        for number in range(4)
    ]
    ends = await asyncio.gather(*(one.__aenter__() for side in sides for one in side), return_exceptions=True)
    assert sum(isinstance(end, ChannelModeConflictError) for end in ends) == 4
    assert len({member.mode for member in await app.channel(Orders).members()}) == 1
    assert len(await app.channel(Orders).members()) == 4


async def test_a_terminated_subscriber_that_nobody_runs_leaves_the_channel(open_app: Open) -> None:
    worker = await open_app()
    handle = await worker.start(receives, "broadcast", 1)
    await joined(worker, 1)
    await status_is(worker, handle.instance_id, Status.WAITING)
    await worker.drain(10)
    alone = await open_app(worker=False)
    await alone.terminate(handle.instance_id)
    async with alone.channel(Orders).subscribe("one", mode="broadcast"):
        pass


@workflow
async def asks_again_at_once(ctx: WorkflowContext) -> int:
    """Ask again in the step that learns of the refusal."""
    orders, refused = ctx.channel(Orders), 0
    while refused < 3:
        try:
            await orders.subscribe("competing")
        except ChannelModeConflictError:
            refused += 1
    await ctx.wait_event("go")
    await orders.subscribe("competing")
    await orders.unsubscribe()
    await ctx.wait_event("go")
    return refused


async def test_a_refused_subscription_may_be_asked_for_again_at_once(app: Romancy, store: Store) -> None:
    async with app.channel(Orders).subscribe("audit"):
        handle = await app.start(asks_again_at_once)
        await status_is(app, handle.instance_id, Status.WAITING)
    await app.channel(Orders).unsubscribe("audit")
    await app.signal(handle.instance_id, "go")
    await app.signal(handle.instance_id, "go")
    assert await handle.result(timeout=30) == 3
    assert await store.services.router.interests(address_of_channel("orders")) == []
