"""Channels: broadcast, competing and direct; what ends a subscription; nothing is lost, doubled or published again."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    Channel,
    ChannelModeConflictError,
    EventTimeoutError,
    InstanceEndedError,
    InstanceNotFoundError,
    Message,
    RetryPolicy,
    Romancy,
    Status,
    TerminalError,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    workflow,
)
from romancy.core import MessageSent, SubscriptionGranted
from romancy_conformance.behaviour.cast import receives
from romancy_conformance.behaviour.waiting import joined, status_is, until

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Orders = Channel("orders", int)
LAST = -1
failing: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear what the test before has set."""
    failing.clear()


async def messages_of(app: Romancy, instance_id: str) -> list[str]:
    """The ids of the messages that an instance has sent."""
    return [event.message.id for event in await app.history(instance_id) if isinstance(event, MessageSent)]


@workflow
async def listens(ctx: WorkflowContext, mode: str) -> list[int]:
    """Receive until the last message."""
    orders, got = ctx.channel(Orders), list[int]()
    await orders.subscribe(mode)  # type: ignore[arg-type]  # the tests give a mode
    async for message in orders:
        if message.data == LAST:
            break
        got.append(message.data)
    return got


@workflow
async def speaks(ctx: WorkflowContext, first: int, count: int) -> None:
    orders = ctx.channel(Orders)
    for number in range(first, first + count):
        await orders.publish(number)
        if number % 3 == 0:
            await ctx.sleep(0)


async def test_broadcast_subscribers_get_everything_once_and_in_one_order(app: Romancy) -> None:
    await app.channel(Orders).publish(1000)  # nobody listens yet
    listeners = [await app.start(listens, "broadcast") for _ in range(3)]
    await joined(app, 3)
    speakers = [await app.start(speaks, first, 7) for first in (0, 100)]
    for number in range(200, 205):
        await app.channel(Orders).publish(number)
    for speaker in speakers:
        await speaker.result(timeout=30)
    await app.channel(Orders).publish(LAST)
    got = [await listener.result(timeout=30) for listener in listeners]
    assert got[1:] == got[:-1], "all in the same order"
    assert sorted(got[0]) == [*range(7), *range(100, 107), *range(200, 205)]
    for first in (0, 100, 200):
        assert [one for one in got[0] if first <= one < first + 50] == sorted(set(got[0]) & {*range(first, first + 50)})
    assert [] == await app.channel(Orders).members(), "the end of an instance ends its subscription"


async def test_each_competing_message_goes_to_exactly_one(app: Romancy) -> None:
    orders = app.channel(Orders)
    for number in range(5):
        await orders.publish(number)  # they wait for somebody who asks
    listeners = [await app.start(listens, "competing") for _ in range(3)]
    await joined(app, 3)
    await (await app.start(speaks, 5, 7)).result(timeout=30)
    for _ in listeners:
        await orders.publish(LAST)
    got = [await listener.result(timeout=30) for listener in listeners]
    assert sorted(chain(*got)) == list(range(12))


@workflow
async def races(ctx: WorkflowContext, mode: str) -> str:
    try:
        await ctx.channel(Orders).subscribe(mode)  # type: ignore[arg-type]  # the tests give a mode
    except ChannelModeConflictError as error:
        return f"{error.channel}: {error.requested}, not {error.existing}"
    await ctx.channel(Orders).receive(direct=True)
    return mode


async def test_of_two_modes_one_wins_whoever_asks_first(app: Romancy, open_app: Open) -> None:
    other = await open_app()
    handles = [
        await one.start(races, mode) for _ in range(4) for one, mode in ((app, "broadcast"), (other, "competing"))
    ]

    async def decided() -> bool:
        return sum([await handle.status() is Status.COMPLETED for handle in handles]) == len(handles) // 2

    await until(decided)
    members = await app.channel(Orders).members()
    for member in members:
        await app.channel(Orders).send_to(member.id, 1)
    (winner,) = {member.mode for member in members}
    (loser,) = {"broadcast", "competing"} - {winner}
    results = Counter([await handle.result(timeout=30) for handle in handles])
    assert results == {winner: 4, f"orders: {loser}, not {winner}": 4}
    await _subscribed_outside(app, loser)
    await app.channel(Orders).unsubscribe("one")


async def _subscribed_outside(app: Romancy, mode: Any) -> None:
    async with app.channel(Orders).subscribe("one", mode=mode):
        pass


@workflow
async def mailbox(ctx: WorkflowContext) -> list[Any]:
    """Receive messages sent before and after it asks, and no published ones."""
    orders = ctx.channel(Orders)
    first: Message[int] = await orders.receive(direct=True)
    await orders.subscribe("direct")
    second = await orders.receive()
    try:
        await orders.receive(timeout=0.05)
    except EventTimeoutError:
        return [first.data, first.sender, second.data, second.metadata, second.headers, second.sender]
    return ["more"]


@workflow
async def writes_to(ctx: WorkflowContext, instance_id: str) -> str:
    return await ctx.channel(Orders).send_to(instance_id, 2, metadata={"by": [1]}, headers={"trace": "t"})


async def test_direct_messages_come_before_and_after_they_are_asked_for(app: Romancy) -> None:
    handle = await app.start(mailbox.options(delay=0.05))
    await app.channel(Orders).send_to(handle.instance_id, 1)
    await app.channel(Orders).publish(9)
    writer = await app.start(writes_to, handle.instance_id)
    assert await handle.result(timeout=30) == [1, None, 2, {"by": [1]}, {"trace": "t"}, writer.instance_id]
    assert await messages_of(app, writer.instance_id) == [await writer.result(timeout=30)]
    with pytest.raises(InstanceEndedError):
        await app.channel(Orders).send_to(handle.instance_id, 1)
    with pytest.raises(InstanceNotFoundError):
        await app.channel(Orders).send_to("nobody", 1)
    await (await app.start(writes_to, "nobody")).result(timeout=30)


SLOWEST = 0.5
"""Seconds that a message takes at most on a cluster of databases. Who never waits for as long gets none."""


@workflow
async def impatient(ctx: WorkflowContext, limit: float) -> list[int]:
    """Receive with a short limit until there were three messages. It grows, since a machine may be slow."""
    orders, got = ctx.channel(Orders), list[int]()
    await orders.subscribe("competing")
    while len(got) < 3:
        try:
            got.append((await orders.receive(timeout=limit)).data)
        except EventTimeoutError:
            limit = min(limit * 1.1, 5)
            await ctx.sleep(0.01)
    return got


async def test_a_message_that_was_taken_too_late_goes_to_another(app: Romancy, backend: str) -> None:
    hasty = [await app.start(impatient, SLOWEST if backend == "citus" else 0.05) for _ in range(2)]
    await joined(app, 2)
    for number in range(6):
        await app.channel(Orders).publish(number)
    got = [await handle.result(timeout=30) for handle in hasty]
    assert sorted(chain(*got)) == list(range(6))
    waiting = await app.start(receives, "competing")
    await joined(app, 1)
    await asyncio.gather(waiting.cancel(), app.channel(Orders).publish(7))
    try:
        assert await waiting.result(timeout=30) == [7]
    except WorkflowCancelledError:
        assert await (await app.start(receives, "competing")).result(timeout=30) == [7]


@workflow
async def in_three_runs(ctx: WorkflowContext, got: list[int]) -> list[int]:
    """Subscribe in the first run only, and receive one message in each."""
    orders = ctx.channel(Orders)
    if not got:
        await orders.subscribe()
    got = [*got, (await orders.receive()).data]
    if len(got) < 3:
        in_three_runs.recur(got)
    return got


async def test_recur_keeps_the_subscription(app: Romancy) -> None:
    handle = await app.start(in_three_runs, [])
    await joined(app, 1)
    for number in range(3):
        await app.channel(Orders).publish(number)
    assert await handle.result(timeout=30) == [0, 1, 2]
    joins = [event for event in await app.history(handle.instance_id) if isinstance(event, SubscriptionGranted)]
    assert len(joins) == 1


@activity
async def may_fail() -> None:
    if failing:
        raise TerminalError(failing.pop())


@workflow
async def fails_once(ctx: WorkflowContext) -> list[int]:
    orders = ctx.channel(Orders)
    await orders.subscribe()
    got = [(await orders.receive()).data]
    await ctx.channel("echo").publish(got)
    await may_fail()
    return [*got, (await orders.receive()).data]


async def test_a_retry_subscribes_anew_and_publishes_nothing_again(app: Romancy) -> None:
    failing.append("out of luck")
    handle = await app.start(fails_once)
    await joined(app, 1)
    await app.channel(Orders).publish(1)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=30)
    assert [] == await app.channel(Orders).members()
    await app.channel(Orders).publish(2)  # nobody listens
    await app.retry(handle.instance_id)
    await joined(app, 1)
    await app.channel(Orders).publish(3)
    assert await handle.result(timeout=30) == [1, 3]
    async with app.channel("echo").subscribe("one", mode="competing") as echoes:
        assert (await echoes.receive(timeout=10)).data == [1]
        with pytest.raises(EventTimeoutError):
            await echoes.receive(timeout=0.05)


@workflow
async def comes_and_goes(ctx: WorkflowContext) -> list[Any]:
    orders = ctx.channel(Orders)
    await orders.subscribe()
    got: list[Any] = [(await orders.receive()).data]
    await orders.unsubscribe()
    try:
        await orders.receive()
    except UsageError:
        got.append("left")
    await ctx.channel(Orders).receive(direct=True)
    await orders.subscribe()
    return [*got, (await orders.receive()).data]


async def test_unsubscribed_is_unsubscribed(app: Romancy) -> None:
    handle, other = await app.start(comes_and_goes), await app.start(listens, "broadcast")
    orders = app.channel(Orders)
    await joined(app, 2)
    await orders.publish(1)
    await joined(app, 1)
    await orders.publish(2)
    await orders.send_to(handle.instance_id, 0)
    await joined(app, 2)
    await orders.publish(3)
    await orders.publish(LAST)
    assert await handle.result(timeout=30) == [1, "left", 3]
    assert await other.result(timeout=30) == [1, 2, 3]


@activity
async def tells(instance_id: str) -> None:
    """Send two messages, in the second attempt."""
    context = activity_context()
    await context.channel(Orders).publish(context.attempt)
    await context.channel(Orders).send_to(instance_id, 10 * context.attempt, metadata={"n": 1})
    if context.attempt == 1:
        raise RuntimeError("the first attempt sends nothing")


@workflow
async def lets_an_activity_tell(ctx: WorkflowContext) -> list[int]:
    orders = ctx.channel(Orders)
    await orders.subscribe()
    await tells.options(retry=RetryPolicy.fixed(2, 0.0))(ctx.instance_id)
    return [(await orders.receive()).data, (await orders.receive(direct=True)).data]


async def test_an_activity_sends_with_its_completion(app: Romancy) -> None:
    handle = await app.start(lets_an_activity_tell)
    assert await handle.result(timeout=30) == [2, 20]


async def test_competing_outside_subscribers_leave_the_rest_to_others(app: Romancy) -> None:
    orders = app.channel(Orders)
    async with orders.subscribe("one", mode="competing") as one:
        for number in range(3):
            await orders.publish(number)
        assert (await one.receive(timeout=10)).data == 0
        assert (await one.receive(timeout=10)).data == 1
        with pytest.raises(ChannelModeConflictError):
            await _subscribed_outside(app, "broadcast")
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the error leaves the block of the subscription
        async with orders.subscribe("two", mode="competing") as two:
            assert (await two.receive(timeout=10)).data == 2
            raise ZeroDivisionError
    assert await (await app.start(receives, "competing")).result(timeout=30) == [2]


async def test_the_same_id_is_published_once(app: Romancy) -> None:
    orders = app.channel(Orders)
    async with orders.subscribe("one") as one:
        assert ["a", "a"] == [await orders.publish(1, id="a"), await orders.publish(1, id="a")]
        await orders.publish(2)
        assert [(await one.receive(timeout=10)).data for _ in range(2)] == [1, 2]


@workflow
async def hears_texts(ctx: WorkflowContext) -> Any:
    """Wait for numbers on a channel on which somebody else speaks."""
    numbers = ctx.channel("mixed", model=int)
    await numbers.subscribe()
    return (await numbers.receive()).data


async def test_what_does_not_fit_is_refused_or_put_aside(app: Romancy) -> None:
    with pytest.raises(TypeError, match="orders"):
        await app.channel(Orders).publish("text")  # type: ignore[arg-type]  # that is the point
    handle = await app.start(hears_texts)
    await joined(app, 1, "mixed")
    await app.channel("mixed").publish("text")
    await app.channel("mixed").publish(5)
    assert await handle.result(timeout=30) == 5


async def test_people_are_told_what_a_workflow_waits_for(app: Romancy) -> None:
    handle = await app.start(receives, "competing")
    await status_is(app, handle.instance_id, Status.WAITING)
    (first, *_) = await app.explain(handle.instance_id)
    assert first.startswith("It waits for a message of channel 'orders' (competing), without a time limit")
    instance = await app.get_instance(handle.instance_id, waits=True)
    assert instance is not None
    assert [(wait.kind, wait.name, wait.key) for wait in instance.waits or ()] == [("message", "orders", "competing")]
    await app.channel(Orders).publish(1)
    assert await handle.result(timeout=30) == [1]


@pytest.mark.parametrize("mode", ["", "all", "Broadcast"])
async def test_no_mode(app: Romancy, mode: Any) -> None:
    with pytest.raises(UsageError, match="mode"):
        app.channel(Orders).subscribe("one", mode=mode)
    handle = await app.start(races, mode)
    with pytest.raises(WorkflowFailedError, match="is no mode of a channel"):
        await handle.result(timeout=30)
