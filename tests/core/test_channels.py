"""Channels in a run: its effects, its inputs, and that a replay and a retry see the same."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import Raw

from romancy import core
from romancy.channel import Channel, Message
from romancy.context import WorkflowContext
from romancy.core import (
    CancelRequested,
    MessageAwaited,
    MessageReceived,
    MessageSent,
    Run,
    Subscribed,
    SubscriptionGranted,
    SubscriptionRefused,
    Topic,
    Unsubscribed,
    WaitTimedOut,
    WorkflowContinued,
)
from romancy.core.fold.recall import recalled
from romancy.errors import ChannelModeConflictError, EventTimeoutError, UsageError
from romancy.status import Status
from romancy.workflow import workflow
from tests.core.driver import SECOND, START
from tests.core.playing import TOPIC, Play

ORDERS = Channel("orders", int)


def message(id: str, data: int, at: int = START) -> MessageReceived:
    return MessageReceived(at=at, id=id, message=core.Message(TOPIC, Raw(b"%d" % data), id=f"m{data}"))


@workflow
async def two_messages(ctx: WorkflowContext) -> list[int]:
    orders = ctx.channel(ORDERS)
    await orders.subscribe("competing")
    first = await orders.receive(timeout=60)
    second: Message[int] = await orders.receive()
    return [first.data, second.data]


def test_subscribing_waits_for_the_answer_and_receiving_for_messages() -> None:
    play = Play(two_messages)
    assert play.last.effects == [Subscribed("orders:1", TOPIC, "competing")]
    assert play.last.status == "running", "the engine has something to do"
    play.feed(SubscriptionGranted(at=START, id="orders:1"))
    assert play.last.effects == [MessageAwaited("orders:1", TOPIC, "competing", START + 60 * SECOND)]
    assert play.last.status == "waiting"
    play = play.again()
    assert play.run.outstanding() == [MessageAwaited("orders:1", TOPIC, "competing", START + 60 * SECOND)]
    play.feed(message("orders:1", 7))
    play.feed(message("orders:2", 8))
    assert play.result() == [7, 8]
    assert play.again().result() == [7, 8]


def test_a_subscription_that_was_asked_for_is_asked_for_again_after_a_crash() -> None:
    assert Play(two_messages).again().run.outstanding() == [Subscribed("orders:1", TOPIC, "competing")]


@workflow
async def refused(ctx: WorkflowContext) -> list[str]:
    try:
        await ctx.channel("orders").subscribe("broadcast")
    except ChannelModeConflictError as error:
        return [error.channel, error.existing, error.requested]
    return []


def test_a_refusal_is_recorded_and_raised() -> None:
    play = Play(refused)
    play.feed(SubscriptionRefused(at=START, id="orders:1", existing="competing"))
    assert play.result() == ["orders", "competing", "broadcast"]
    assert play.again().result() == play.result()
    assert play.run.state.subscriptions == {}


@workflow
async def wrongly(ctx: WorkflowContext) -> list[str]:
    orders = ctx.channel(ORDERS)
    said: list[str] = []
    try:
        await orders.receive()
    except UsageError as error:
        said.append(str(error))
    await orders.subscribe("direct")
    await orders.subscribe("direct")
    try:
        await orders.subscribe("broadcast")
    except ChannelModeConflictError as error:
        said.append(f"{error.existing} {error.requested}")
    await orders.unsubscribe()
    await orders.unsubscribe()
    return said


def test_wrong_calls_ask_for_nothing() -> None:
    play = Play(wrongly)
    not_subscribed, conflict = play.result()
    assert "has not subscribed" in not_subscribed
    assert conflict == "direct broadcast"
    kinds = [type(event) for event in play.last.events[1:-1]]
    assert kinds == [Subscribed, Unsubscribed]
    assert play.last.effects == [Subscribed("orders:1", TOPIC, "direct"), Unsubscribed(TOPIC, "direct")]


@workflow
async def leaves_while_it_waits(ctx: WorkflowContext) -> str:
    orders = ctx.channel(ORDERS)
    await orders.subscribe()
    waiting = asyncio.create_task(orders.receive())
    await asyncio.sleep(0)
    await orders.unsubscribe()
    try:
        await waiting
    except UsageError:
        return "told"
    return "received"


def test_a_wait_ends_with_its_subscription() -> None:
    play = Play(leaves_while_it_waits)
    play.feed(SubscriptionGranted(at=START, id="orders:1"))
    assert play.result() == "told"
    assert play.again().result() == play.result()


@workflow
async def together(ctx: WorkflowContext) -> int:
    orders = ctx.channel(ORDERS)
    await asyncio.gather(orders.subscribe(), orders.subscribe(), orders.subscribe())
    return len(ctx.channel("orders").name)


def test_one_subscription_is_asked_for_once() -> None:
    play = Play(together)
    assert len(play.last.effects) == 1
    play.feed(SubscriptionGranted(at=START, id="orders:1"))
    assert play.result() == 6


@workflow
async def continues(ctx: WorkflowContext, n: int) -> int:
    orders = ctx.channel(ORDERS)
    if n:
        await orders.subscribe()
        subscribing = asyncio.create_task(ctx.channel("more").subscribe())
        await asyncio.sleep(0)
        assert not subscribing.done()
        continues.recur(n - 1)
    return (await orders.receive()).data


def test_recur_keeps_subscriptions_and_waits_for_those_under_way() -> None:
    play = Play(continues, 1)
    play.feed(SubscriptionGranted(at=START, id="orders:1"))
    assert play.successor() is None, "a subscription is under way"
    play.feed(SubscriptionGranted(at=START, id="more:1"))
    assert isinstance(play.last.events[-1], WorkflowContinued)
    following = Play(continues, first=play.successor())
    assert following.last.effects == [MessageAwaited("orders:1", TOPIC, "broadcast")]
    assert following.again().run.state.subscriptions == {
        TOPIC: "broadcast",
        Topic("more", kind="channel"): "broadcast",
    }


@workflow
async def talks(ctx: WorkflowContext) -> list[str]:
    orders = ctx.channel(ORDERS)
    ids = [await orders.publish(1, metadata={"by": "x"}), await orders.send_to("y", 2, headers={"trace": "t"})]
    try:
        await orders.receive(timeout=5, direct=True)
    except EventTimeoutError:
        ids.append("late")
    raise ValueError(*ids)


def test_messages_are_sent_once_also_after_a_retry() -> None:
    play = Play(talks)
    published, sent, waits = play.last.effects
    assert isinstance(published, MessageSent)
    assert isinstance(sent, MessageSent)
    assert (published.to, sent.to, published.message.beside) == ("", "y", Raw(b'{"by":"x"}'))
    assert waits == MessageAwaited("orders:1", TOPIC, "direct", START + 5 * SECOND)
    assert published.message.id != sent.message.id
    play.feed(WaitTimedOut(at=START + 5 * SECOND, id="orders:1"))
    assert play.run.state.status() is Status.FAILED
    retried = recalled("x", play.commits).retried(at=play.run.last_time, unsure="", gone=(), by="")
    again = Run(talks, instance_id="x")
    again.recall(play.commits)
    activation = again.activate([retried])
    messages = [event for event in activation.events if isinstance(event, MessageSent)]
    assert [(one.again, one.message.id) for one in messages] == [(True, published.message.id), (True, sent.message.id)]
    assert [type(effect) for effect in activation.effects] == [MessageAwaited]
    third = Run(talks, instance_id="x")
    third.replay([*play.commits, activation.events])
    assert third.outstanding() == again.outstanding()


@workflow
async def fails_after_two(ctx: WorkflowContext) -> list[int]:
    orders = ctx.channel(ORDERS)
    await orders.subscribe()
    got = [(await orders.receive()).data, (await orders.receive()).data]
    raise ValueError(got)


def test_a_retry_subscribes_anew_and_receives_again_what_was_received() -> None:
    play = Play(fails_after_two)
    play.feed(SubscriptionGranted(at=START, id="orders:1"))
    play.feed(message("orders:1", 7))
    play.feed(message("orders:2", 8))
    retried = recalled("x", play.commits).retried(at=play.run.last_time, unsure="", gone=(), by="")
    again = Run(fails_after_two, instance_id="x")
    again.recall(play.commits)
    assert again.activate([retried]).effects == [Subscribed("orders:1", TOPIC, "broadcast")]
    activation = again.activate([SubscriptionGranted(at=again.last_time, id="orders:1")])
    received = [event for event in activation.events if isinstance(event, MessageReceived)]
    assert [event.message.data for event in received] == [Raw(b"7"), Raw(b"8")]
    assert again.outcome() is not None


@workflow
async def cancelled_while_it_subscribes(ctx: WorkflowContext) -> None:
    await ctx.channel("orders").subscribe()


def test_a_cancellation_does_not_wait_for_a_subscription() -> None:
    play = Play(cancelled_while_it_subscribes)
    play.feed(CancelRequested(at=START))
    assert play.run.state.status() is Status.CANCELLED
    assert not play.run.activate([SubscriptionGranted(at=START, id="orders:1")]).events


def test_a_changed_body_is_noticed() -> None:
    play = Play(two_messages)
    play.feed(SubscriptionGranted(at=START, id="orders:1"))

    @workflow(name="two_messages")
    async def changed(ctx: WorkflowContext) -> None:
        await ctx.channel(ORDERS).subscribe("competing")
        await ctx.channel(ORDERS).receive(direct=True)

    run = Run(changed, instance_id="x")
    with pytest.raises(Exception, match="wait for a competing message of channel orders"):
        run.replay(play.commits)
    run.close()
    assert any(isinstance(event, MessageAwaited) for event in play.commits[-1])
