"""The members of a channel in a run: asked once, recorded, and the same on a replay."""

from __future__ import annotations

import asyncio

import pytest

from romancy.channel import Channel, ChannelMember
from romancy.context import WorkflowContext
from romancy.core import (
    CancelRequested,
    Listed,
    MembersAsked,
    MembersListed,
    Run,
    StartTimer,
    Subscribed,
    SubscriptionGranted,
    TimerFired,
)
from romancy.core.fold.recall import recalled
from romancy.errors import NonDeterminismError, UsageError
from romancy.status import Status
from romancy.workflow import workflow
from tests.core.driver import START
from tests.core.playing import TOPIC, Play

ORDERS = Channel("orders", int)
TWO = (Listed("a", "broadcast"), Listed("audit", "broadcast", outside=True))


@workflow
async def asks_twice(ctx: WorkflowContext) -> list[list[list[object]]]:
    channel = ctx.channel(ORDERS)
    return [[[one.id, one.mode, one.outside] for one in await channel.members()] for _ in range(2)]


def test_each_question_has_its_own_recorded_answer() -> None:
    play = Play(asks_twice)
    assert [MembersAsked("orders:1", TOPIC)] == play.last.effects
    assert "running" == play.last.status, "the engine has something to do"
    assert [MembersAsked("orders:1", TOPIC)] == play.again().run.outstanding()
    play.feed(MembersListed(at=START, id="orders:1", members=TWO))
    assert [MembersAsked("orders:2", TOPIC)] == play.last.effects
    play.feed(MembersListed(at=START, id="orders:2"))

    assert [[["a", "broadcast", False], ["audit", "broadcast", True]], []] == play.result()
    assert play.again().result() == play.result()
    assert not play.run.activate([MembersListed(at=START, id="orders:2", members=TWO)]).events


@workflow
async def subscribes_and_asks(ctx: WorkflowContext) -> list[str]:
    channel = ctx.channel(ORDERS)
    joining = asyncio.ensure_future(channel.subscribe())
    members = await channel.members()
    await joining
    return [one.id for one in members]


def test_a_question_and_a_subscription_do_not_take_each_others_answer() -> None:
    play = Play(subscribes_and_asks)
    assert {Subscribed("orders:1", TOPIC, "broadcast"), MembersAsked("orders:1", TOPIC)} == set(play.last.effects)
    play.feed(MembersListed(at=START, id="orders:1", members=TWO))
    play = play.again()
    assert [Subscribed("orders:1", TOPIC, "broadcast")] == play.run.outstanding()
    play.feed(SubscriptionGranted(at=START, id="orders:1"))
    assert ["a", "audit"] == play.result()


@workflow
async def asks_for_many(ctx: WorkflowContext) -> str:
    try:
        return str(await ctx.channel("orders").members())
    except UsageError as error:
        return str(error)


def test_too_many_members_are_an_error_that_says_so() -> None:
    play = Play(asks_for_many)
    play.feed(MembersListed(at=START, id="orders:1", too_many=70_000))
    assert "channel 'orders' has 70000 members, too many for the log" in play.result()
    assert play.again().result() == play.result()


@workflow
async def gives_up(ctx: WorkflowContext) -> int:
    channel = ctx.channel("orders")
    try:
        async with asyncio.timeout(5):
            await channel.members()
    except TimeoutError:
        return len(await channel.members())
    return -1


def test_an_answer_that_nobody_waits_for_any_more_changes_nothing() -> None:
    play = Play(gives_up)
    (timer,) = [effect for effect in play.last.effects if not isinstance(effect, MembersAsked)]
    assert isinstance(timer, StartTimer)
    play.feed(TimerFired(at=timer.due, id=timer.timer_id))
    play.feed(MembersListed(at=timer.due, id="orders:1", members=TWO))
    play = play.again()
    play.feed(MembersListed(at=timer.due, id="orders:2", members=TWO[:1]))
    assert 1 == play.result()


def test_a_cancellation_does_not_wait_for_the_members() -> None:
    play = Play(asks_twice)
    play.feed(CancelRequested(at=START))
    assert Status.CANCELLED is play.run.state.status()
    assert not play.run.activate([MembersListed(at=START, id="orders:1")]).events


@workflow
async def fails_then(ctx: WorkflowContext) -> None:
    raise ValueError([one.id for one in await ctx.channel("orders").members()])


def test_a_retry_asks_anew() -> None:
    play = Play(fails_then)
    play.feed(MembersListed(at=START, id="orders:1", members=TWO))
    retried = recalled("x", play.commits).retried(at=play.run.last_time, unsure="", gone=(), by="")
    again = Run(fails_then, instance_id="x")
    again.recall(play.commits)

    assert [MembersAsked("orders:1", TOPIC)] == again.activate([retried]).effects


@workflow
async def recurs(ctx: WorkflowContext, number: int) -> None:
    asking = asyncio.ensure_future(ctx.channel("orders").members())
    await asyncio.sleep(0)
    asking.cancel()
    recurs.recur(number + 1)


def test_a_next_run_begins_after_the_answer() -> None:
    """It uses the ids again, and would take the answer for its own."""
    play = Play(recurs, 1)
    assert play.successor() is None
    play.feed(MembersListed(at=START, id="orders:1", members=TWO))
    assert play.successor() is not None


def test_a_changed_body_is_noticed() -> None:
    play = Play(asks_twice)

    @workflow(name="asks_twice")
    async def changed(ctx: WorkflowContext) -> list[ChannelMember]:
        return await ctx.channel("others").members()

    run = Run(changed, instance_id="x")
    with pytest.raises(NonDeterminismError, match="question for the members of channel orders"):
        run.replay(play.commits)
    run.close()
    assert any(isinstance(event, MembersAsked) for event in play.commits[0])
