"""Messages in a run: events and messages of channels follow the same rules."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec import Raw

from romancy import core
from romancy._outgoing import event_message
from romancy.channel import Channel, Message
from romancy.context import WorkflowContext
from romancy.core import (
    Activation,
    Input,
    LogEvent,
    MessageAwaited,
    MessagePutAside,
    MessageReceived,
    MessageSent,
    Mode,
    Run,
    Subscribed,
    SubscriptionGranted,
    SubscriptionRefused,
    TimerFired,
    Topic,
    Unsubscribed,
    WaitTimedOut,
    WorkflowContinued,
    WorkflowResumed,
)
from romancy.core.fold.recall import recalled
from romancy.errors import ChannelModeConflictError, EventTimeoutError, UsageError
from romancy.status import Status
from romancy.workflow import Workflow, workflow
from tests.core.driver import SECOND, START
from tests.core.playing import Play

if TYPE_CHECKING:
    from romancy.event import Event

PAID = Topic("paid")
ORDERS = Topic("orders", kind="channel")


def retried(play: Play, changed: Workflow[..., Any], *inputs: Input) -> Activation:
    """The first activation of a retry with this code, or that of further inputs."""
    assert play.run.state.status() is Status.FAILED
    begin = recalled("x", play.commits).retried(at=play.run.last_time, unsure="", gone=(), by="")
    again = Run(changed, instance_id="x")
    again.recall(play.commits)
    activation = again.activate([begin])
    third = Run(changed, instance_id="x")
    third.replay([*play.commits, activation.events])
    assert third.outstanding() == again.outstanding()
    return again.activate(inputs) if inputs else activation


def sent(events: list[LogEvent]) -> list[MessageSent]:
    return [event for event in events if isinstance(event, MessageSent)]


# ── received again by a retry ───────────────────────────────────────────────────────────────────────────────────


@workflow(name="waits_twice")
async def waits_twice(ctx: WorkflowContext) -> list[object]:
    first: asyncio.Task[Event[object]] = asyncio.create_task(ctx.wait_event("paid"))
    second: asyncio.Task[Event[object]] = asyncio.create_task(ctx.wait_event("paid", key="k"))
    got = [(await first).data, (await second).data]
    if ctx.run == 1:
        raise ValueError(got)
    return got


def test_a_wait_without_a_key_leaves_the_event_of_a_wait_with_one_to_it() -> None:
    """One event went to both, and the wait with a key received it first."""
    play = Play(waits_twice)
    message = core.Message(Topic("paid", "k"), Raw(b"7"), "m1")
    play.feed(MessageReceived(START, "paid:2", message), MessageReceived(START, "paid:1", message))

    ended = retried(play, waits_twice, WorkflowResumed(START))

    assert ended.outcome is not None, ended.effects
    assert ended.outcome.result is not None
    assert msgspec.json.decode(ended.outcome.result) == [7, 7]


def chooses_by(*amounts: int) -> Workflow[[], None]:
    @workflow(name="chooses_by")
    async def waits(ctx: WorkflowContext) -> None:
        tasks = [asyncio.create_task(ctx.wait_event("paid", where={"amount": amount})) for amount in amounts]
        raise ValueError([(await task).id for task in tasks])

    return waits


def test_a_wait_with_conditions_gets_no_message_of_a_wait_with_others() -> None:
    play = Play(chooses_by(1, 2))
    play.feed(MessageReceived(START, "paid:1", core.Message(PAID, Raw(b'{"amount":1}'), "m1")))
    play.feed(MessageReceived(START, "paid:2", core.Message(PAID, Raw(b'{"amount":2}'), "m2")))

    ended = retried(play, chooses_by(2, 1), WorkflowResumed(START))

    assert ended.outcome is not None, ended.effects
    assert ended.outcome.error is not None
    assert ended.outcome.error.message == "['m2', 'm1']"


# ── sent again by a retry ───────────────────────────────────────────────────────────────────────────────────────


@workflow(name="tells")
async def tells(ctx: WorkflowContext) -> None:
    headers = {"trace": "first"}
    ids = [
        await ctx.send("paid", 1, key="k", subject="s", headers=headers),
        await ctx.send("paid", 1, to="y", headers=headers),
        await ctx.channel("orders").publish(1, metadata={"a": 1, "b": 2}, headers=headers),
        await ctx.channel("orders").send_to("y", 1, headers=headers),
    ]
    raise ValueError(*ids)


@workflow(name="tells")
async def tells_with_other_headers(ctx: WorkflowContext) -> list[str]:
    headers = {"trace": "second"}
    return [
        await ctx.send("paid", 1, key="k", subject="s", headers=headers),
        await ctx.send("paid", 1, to="y", headers=headers),
        await ctx.channel("orders").publish(1, metadata={"b": 2, "a": 1}, headers=headers),
        await ctx.channel("orders").send_to("y", 1, headers=headers),
    ]


def test_a_retry_with_other_headers_sends_nothing_and_returns_the_ids_that_receivers_have_seen() -> None:
    first = Play(tells)
    ids = [one.message.id for one in sent(first.last.events)]
    assert len(set(ids)) == 4

    activation = retried(first, tells_with_other_headers)

    assert activation.outcome is not None
    assert activation.outcome.result is not None
    assert msgspec.json.decode(activation.outcome.result) == ids
    assert activation.effects == []
    again = sent(activation.events)
    assert [(one.again, one.message.id) for one in again] == [(True, id) for id in ids]
    assert {one.message.headers["trace"] for one in again} == {"first"}, "the log says what was sent"


@workflow(name="tells")
async def tells_something_else(ctx: WorkflowContext) -> list[str]:
    return [
        await ctx.send("paid", 2, key="k", subject="s"),
        await ctx.send("paid", 1, key="other", subject="s"),
        await ctx.send("paid", 1, key="k", subject="other"),
        await ctx.send("paid", 1, to="z"),
        await ctx.send("orders", 1),
        await ctx.channel("orders").publish(1, metadata={"a": 1, "b": 3}),
        await ctx.channel("orders").publish(1),
        await ctx.channel("orders").send_to("z", 1),
        await ctx.channel("paid").publish(1),
    ]


def test_a_retry_sends_a_message_with_other_data_metadata_or_another_receiver() -> None:
    first = Play(tells)
    ids = {one.message.id for one in sent(first.last.events)}

    activation = retried(first, tells_something_else)

    assert [type(effect) for effect in activation.effects] == 9 * [MessageSent]
    again = sent(activation.events)
    assert not any(one.again for one in again)
    assert ids.isdisjoint(one.message.id for one in again)


@workflow(name="chooses")
async def chooses(ctx: WorkflowContext) -> None:
    raise ValueError(await ctx.send("paid", 1, id="mine"))


@workflow(name="chooses")
async def chooses_again(ctx: WorkflowContext) -> list[str]:
    return [await ctx.send("paid", 1, id="mine"), await ctx.send("paid", 1)]


def test_a_message_says_whether_its_id_was_chosen_and_who_sent_it() -> None:
    first = Play(chooses)
    (mine,) = sent(first.last.events)
    assert (mine.message.id, mine.chosen, mine.message.sender) == ("mine", True, "x")

    activation = retried(first, chooses_again)

    one, other = sent(activation.events)
    assert (one.again, one.message.id) == (True, "mine")
    assert (other.again, other.chosen, other.message.sender) == (False, False, "x")


@workflow(name="chooses_ids")
async def chooses_ids(ctx: WorkflowContext) -> None:
    raise ValueError(await ctx.send("paid", 1, id="a"), await ctx.send("paid", 1, id="b"))


@workflow(name="chooses_ids")
async def chooses_ids_in_another_order(ctx: WorkflowContext) -> list[str]:
    return [
        await ctx.send("paid", 1, id="b"),
        await ctx.send("paid", 1, id="c"),
        await ctx.send("paid", 1, id="a"),
        await ctx.send("paid", 1, id="a", source="/other"),
    ]


def test_messages_of_other_chosen_ids_are_other_messages() -> None:
    activation = retried(Play(chooses_ids), chooses_ids_in_another_order)

    assert activation.outcome is not None
    assert activation.outcome.result is not None
    assert msgspec.json.decode(activation.outcome.result) == ["b", "c", "a", "a"]
    assert [one.again for one in sent(activation.events)] == [True, False, True, False]


# ── subscriptions to a type of events ───────────────────────────────────────────────────────────────────────────


@workflow
async def listens(ctx: WorkflowContext) -> list[object]:
    await ctx.subscribe("paid")
    await ctx.subscribe("paid")
    got: Event[object] = await ctx.wait_event("paid")
    await ctx.unsubscribe("paid")
    await ctx.unsubscribe("paid")
    try:
        await ctx.wait_event("over", timeout=5)
    except EventTimeoutError:
        return [got.data]
    return []


def test_a_subscription_to_events_holds_with_its_commit() -> None:
    play = Play(listens)
    assert play.last.effects == [Subscribed("paid:1", PAID), MessageAwaited("paid:1", PAID)]
    assert play.run.state.subscriptions == {PAID: "broadcast"}
    assert play.run.state.joining == {}
    assert play.last.status == "waiting", "nobody has to answer"
    play = play.again()
    assert play.run.outstanding() == [MessageAwaited("paid:1", PAID)]

    play.feed(MessageReceived(START, "paid:1", core.Message(PAID, Raw(b"7"))))

    unsubscribed, _ = play.last.effects
    assert unsubscribed == Unsubscribed(PAID)
    assert play.run.state.subscriptions == {}
    assert list(play.run.state.left) == [PAID], "what was copied for it and not received is to be dropped"
    assert list(play.again().run.state.left) == [PAID]
    play.feed(WaitTimedOut(START + 5 * SECOND, "over:1"))
    assert play.result() == [7]
    assert play.again().result() == [7]


@workflow
async def listens_beside(ctx: WorkflowContext) -> object:
    waiting = asyncio.create_task(ctx.wait_event("paid"))
    await ctx.subscribe("paid")
    await ctx.sleep(1)
    await ctx.unsubscribe("paid")
    return (await waiting).data


def test_the_end_of_a_subscription_takes_nothing_from_an_open_wait() -> None:
    play = Play(listens_beside)
    play.feed(TimerFired(START + SECOND, "timer:1"))
    assert play.last.effects == [Unsubscribed(PAID)]
    assert not play.run.state.left
    assert not play.again().run.state.left


@workflow
async def goes_on_listening(ctx: WorkflowContext, n: int) -> int:
    if n:
        await ctx.subscribe("paid")
        await ctx.channel("orders").subscribe("direct")
        goes_on_listening.recur(n - 1)
    got: Event[int] = await ctx.wait_event("paid", model=int)
    return got.data


def test_recur_keeps_subscriptions_to_events_and_direct_ones() -> None:
    play = Play(goes_on_listening, 1)
    assert isinstance(play.last.events[-1], WorkflowContinued)
    following = Play(goes_on_listening, first=play.successor())
    assert following.run.state.subscriptions == {PAID: "broadcast", ORDERS: "direct"}
    assert following.last.effects == [MessageAwaited("paid:1", PAID)]
    assert following.again().run.state.subscriptions == following.run.state.subscriptions


@workflow
async def fails_while_it_listens(ctx: WorkflowContext, n: int) -> None:
    if n:
        await ctx.subscribe("paid")
        fails_while_it_listens.recur(0)
    raise ValueError(n)


def test_a_retry_begins_with_the_subscriptions_of_the_failed_run() -> None:
    first = Play(fails_while_it_listens, 1)
    play = Play(fails_while_it_listens, first=first.successor())
    begin = recalled("x", play.commits).retried(at=play.run.last_time, unsure="", gone=(), by="")
    assert [(one.topic, one.mode) for one in begin.subscriptions] == [(PAID, "broadcast")]
    again = Run(fails_while_it_listens, instance_id="x")
    again.recall(play.commits)
    again.activate([begin])
    assert again.state.subscriptions == {PAID: "broadcast"}
    assert again.state.joining == {}


# ── data that does not fit ──────────────────────────────────────────────────────────────────────────────────────


@workflow
async def waits_for_a_number(ctx: WorkflowContext) -> list[object]:
    got: Event[int] = await ctx.wait_event("paid", model=int, timeout=60, key="k", where={"a": 1})
    return [got.id, got.data]


@workflow
async def receives_a_number(ctx: WorkflowContext) -> list[object]:
    channel = ctx.channel(Channel("orders", int))
    await channel.subscribe("direct")
    got: Message[int] = await channel.receive(timeout=60, where={"a": 1})
    return [got.id, got.data]


@pytest.mark.parametrize(
    ("wf", "topic", "mode", "brief"),
    [
        (waits_for_a_number, Topic("paid", "k"), "competing", "event 'paid' (id 'm1') does not fit"),
        (receives_a_number, ORDERS, "direct", "message of channel 'orders' (id 'm1') does not fit"),
    ],
    ids=["event", "channel"],
)
def test_data_that_does_not_fit_is_put_aside_and_the_log_says_so(
    wf: Workflow[[], list[object]], topic: Topic, mode: Mode, brief: str
) -> None:
    play = Play(wf)
    asked = play.last.effects[-1]
    assert isinstance(asked, MessageAwaited)
    assert (asked.topic, asked.mode, asked.due) == (topic, mode, START + 60 * SECOND)
    assert msgspec.json.decode(asked.where) is not None

    play.feed(MessageReceived(START + SECOND, asked.id, core.Message(topic, Raw(b'"much"'), id="m1")))

    _, aside, wait = play.last.events
    assert isinstance(aside, MessagePutAside)
    assert (aside.id, aside.topic, aside.message_id) == (asked.id, topic, "m1")
    assert "expected int" in aside.reason
    assert isinstance(wait, MessageAwaited)
    assert (wait.topic, wait.mode, wait.due, wait.where) == (topic, mode, asked.due, asked.where)
    assert play.last.effects == [wait]
    (warning,) = play.last.warnings
    assert brief in str(warning)
    play = play.again()
    play.feed(MessageReceived(START + SECOND, wait.id, core.Message(topic, Raw(b"7"), id="m2")))
    assert play.result() == ["m2", 7]
    assert play.last.warnings == (), "a replay does not say it again"


# ── topics ──────────────────────────────────────────────────────────────────────────────────────────────────────


@workflow
async def waits_for_both(ctx: WorkflowContext) -> None:
    await ctx.wait_event("orders", timeout=1)


def test_a_type_of_events_and_a_channel_may_have_one_name() -> None:
    """A retry does not take the message of one for the other's."""

    @workflow(name="waits_for_both")
    async def receives(ctx: WorkflowContext) -> None:
        channel = ctx.channel("orders")
        await channel.subscribe("direct")
        await channel.receive()
        raise ValueError

    play = Play(receives)
    play.feed(MessageReceived(START, "orders:1", core.Message(ORDERS, Raw(b"1"), id="m1")))

    assert retried(play, waits_for_both).effects == [MessageAwaited("orders:1", Topic("orders"), due=START + SECOND)]


def test_a_message_crosses_the_log_as_it_is() -> None:
    message = core.Message(
        Topic("paid", "k"), Raw(b"[1]"), "id", "/bank", "y", "subject", 5, {"trace": "t"}, Raw(b'{"tenant":"a"}')
    )
    (received,) = core.decode_commit(core.encode_commit([MessageReceived(START, "paid:1", message)]))
    assert isinstance(received, MessageReceived)
    assert received.message == message


@workflow(name="hears_orders")
async def hears_orders(ctx: WorkflowContext) -> None:
    if ctx.run == 1:
        await ctx.channel("orders").subscribe()
        hears_orders.recur()
    raise ValueError


@workflow(name="hears_orders")
async def hears_orders_and_events(ctx: WorkflowContext) -> str:
    await ctx.unsubscribe("orders")
    await ctx.subscribe("orders")
    await ctx.unsubscribe("orders")
    received: Message[object] = await ctx.channel("orders").receive()
    return received.id


def test_a_retry_keeps_its_channel_whatever_it_does_with_events_of_the_same_name() -> None:
    first = Play(hears_orders)
    first.feed(SubscriptionGranted(START, "orders:1"))
    failed = Play(hears_orders, first=first.successor())
    begin = recalled("x", failed.commits).retried(at=START, unsure="", gone=(), by="")
    again = Run(hears_orders_and_events, instance_id="x")
    again.recall(failed.commits)
    assert again.activate([begin]).outcome is None
    assert again.state.joining == {"orders:0": Subscribed("orders:0", ORDERS)}

    again.activate([SubscriptionGranted(START, "orders:0")])
    ended = again.activate([MessageReceived(START, "orders:1", core.Message(ORDERS, Raw(b"1"), id="m1"))])

    assert ended.outcome is not None
    assert ended.outcome.result is not None, ended.outcome.error
    assert msgspec.json.decode(ended.outcome.result) == "m1"


# ── conditions, and what precedes a wait ────────────────────────────────────────────────────────────────────────


@workflow(name="hears_chosen_orders")
async def hears_chosen_orders(ctx: WorkflowContext) -> str:
    orders = ctx.channel("orders")
    if ctx.run == 1:
        await orders.subscribe()
        hears_chosen_orders.recur()
    try:
        return (await orders.receive(where={"amount": 1})).id
    except ChannelModeConflictError:
        return "refused"


def retry_of_chosen_orders() -> tuple[Run, list[list[LogEvent]]]:
    first = Play(hears_chosen_orders)
    first.feed(SubscriptionGranted(START, "orders:1"))
    failed = Play(failing_orders, first=first.successor())
    begin = recalled("x", failed.commits).retried(at=START, unsure="", gone=(), by="")
    again = Run(hears_chosen_orders, instance_id="x")
    again.recall(failed.commits)
    again_commits = [again.activate([one]).events for one in (begin, WorkflowResumed(START))]
    return again, [*failed.commits, *again_commits]


@workflow(name="hears_chosen_orders")
async def failing_orders(ctx: WorkflowContext) -> None:
    raise ValueError


@pytest.mark.parametrize("granted", [True, False])
def test_conditions_of_a_retry_that_waits_for_its_subscription_replay(*, granted: bool) -> None:
    run, commits = retry_of_chosen_orders()
    answer: Input = SubscriptionGranted(START, "orders:0")
    if not granted:
        answer = SubscriptionRefused(START, "orders:0", "competing")
    commits.append(run.activate([answer]).events)

    replayed = Run(hears_chosen_orders, instance_id="x")
    replayed.replay(commits)

    assert replayed.outstanding() == run.outstanding()
    assert replayed.outcome() == run.outcome()


@workflow(name="asks_in_vain")
async def asks_in_vain(ctx: WorkflowContext) -> str:
    try:
        return (await ctx.channel("orders").receive(where={"amount": 1})).id
    except UsageError as error:
        return str(error)


def test_conditions_without_a_subscription_replay() -> None:
    play = Play(asks_in_vain)

    assert "has not subscribed" in play.result()
    assert play.again().result() == play.result()


def test_an_event_without_extensions_writes_nothing_about_them() -> None:
    message = event_message("paid", 1, key=None, source=None, id=None, subject=None, headers=None)

    assert b"beside" not in core.encode_commit([MessageReceived(START, "paid:1", message)])
