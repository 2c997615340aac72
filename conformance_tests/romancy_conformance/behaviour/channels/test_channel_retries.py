"""Retries and channels: a retry has the messages of the failed run, and the subscriptions with which it began."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from romancy import (
    Channel,
    ChannelModeConflictError,
    Romancy,
    TerminalError,
    UsageError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.core import SubscriptionRefused
from romancy.insight import Step, Timeline
from romancy_conformance.behaviour.cast import receives
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.waiting import joined, until

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Orders = Channel("orders", int)
failing: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear what the test before has set."""
    failing.clear()


@activity(retry=None)
async def may_fail() -> None:
    if failing:
        raise TerminalError(failing.pop())


@workflow
async def fails_with_one_taken(ctx: WorkflowContext) -> list[int]:
    orders = ctx.channel(Orders)
    await orders.subscribe("competing")
    got = [(await orders.receive()).data]
    await may_fail()
    return [*got, (await orders.receive()).data]


async def test_a_retry_keeps_the_message_that_its_run_had_taken(app: Romancy) -> None:
    failing.append("out of luck")
    handle = await app.start(fails_with_one_taken)
    await app.channel(Orders).publish(1)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=30)
    assert await (await app.start(receives, "competing", 0)).result(timeout=30) == []
    await app.channel(Orders).publish(2)
    await app.retry(handle.instance_id)
    assert await handle.result(timeout=30) == [1, 2], "the one that it had received is its own for ever"


@workflow
async def hears_in_its_next_run(ctx: WorkflowContext, mode: Literal["broadcast", "competing"]) -> list[int]:
    orders = ctx.channel(Orders)
    if ctx.run == 1:
        await orders.subscribe(mode)
        hears_in_its_next_run.recur(mode)
    got = [(await orders.receive()).data]
    await may_fail()
    return [*got, (await orders.receive()).data]


@pytest.mark.parametrize("front", [False, True], ids=["a worker", "a front with a codec"])
@pytest.mark.parametrize("mode", ["broadcast", "competing"])
async def test_a_retry_has_the_subscription_of_an_earlier_run(
    open_app: Open, mode: Literal["broadcast", "competing"], *, front: bool
) -> None:
    codecs = [Masking()] if front else []
    app = await open_app(codecs=codecs)
    retrying = await open_app(worker=False, codecs=codecs) if front else app
    failing.append("out of luck")
    handle = await app.start(hears_in_its_next_run, mode)
    await joined(app, 1)
    await app.channel(Orders).publish(1)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=30)
    await retrying.retry(handle.instance_id)
    await joined(app, 1)
    await app.channel(Orders).publish(2)
    assert await handle.result(timeout=30) == [1, 2]
    await joined(app, 0)
    steps = [one for one in Timeline.of(await app.history(handle.instance_id)).entries if isinstance(one, Step)]
    assert ["joined"] * 2 == [step.outcome for step in steps if step.kind == "subscription"], "first run and retry"


async def test_a_retry_is_refused_the_subscription_of_an_earlier_run(app: Romancy) -> None:
    failing.append("out of luck")
    handle = await app.start(hears_in_its_next_run, "broadcast")
    await joined(app, 1)
    await app.channel(Orders).publish(1)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=30)
    other = await app.start(receives, "competing", 1)
    await joined(app, 1)
    await app.retry(handle.instance_id)
    with pytest.raises(WorkflowFailedError, match="competing subscribers"):
        await handle.result(timeout=30)
    await app.channel(Orders).publish(2)
    assert await other.result(timeout=30) == [2]


@workflow
async def hears_late_in_its_next_run(ctx: WorkflowContext, then: str) -> str:
    orders = ctx.channel(Orders)
    if ctx.run == 1:
        await orders.subscribe("broadcast")
        hears_late_in_its_next_run.recur(then)
    await may_fail()
    await ctx.wait_event("hear")
    for _ in range(2):
        with pytest.raises(ChannelModeConflictError):
            await orders.receive()
    if then == "another mode":
        await orders.subscribe("competing")
        return str((await orders.receive()).data)
    if then == "unsubscribe":
        await orders.unsubscribe()
        with pytest.raises(UsageError, match="has not subscribed"):
            await orders.receive()
        return "none"
    with pytest.raises(ChannelModeConflictError):
        await orders.subscribe("broadcast")
    return "refused again"


@pytest.mark.parametrize(
    ("then", "result"), [("another mode", "2"), ("unsubscribe", "none"), ("the same mode", "refused again")]
)
async def test_a_retry_that_was_refused_long_ago_learns_it_when_it_asks(app: Romancy, then: str, result: str) -> None:
    failing.append("out of luck")
    handle = await app.start(hears_late_in_its_next_run, then)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=30)
    other = await app.start(receives, "competing", 1)
    await joined(app, 1)
    await app.retry(handle.instance_id)
    await until(lambda: _refused(app, handle.instance_id))
    await handle.signal("hear")
    if then == "another mode":
        await joined(app, 2)
        await app.terminate(other.instance_id)
        await app.channel(Orders).publish(2)

    assert await handle.result(timeout=30) == result


async def _refused(app: Romancy, instance_id: str) -> bool:
    return any(isinstance(event, SubscriptionRefused) for event in await app.history(instance_id))


@workflow
async def hears_some_in_its_next_run(ctx: WorkflowContext) -> list[int]:
    numbers = ctx.channel("numbers", model=dict[str, int])
    if ctx.run == 1:
        await numbers.subscribe()
        hears_some_in_its_next_run.recur()
    found = [(await numbers.receive(where={"n": 2})).data["n"]]
    await may_fail()
    return [*found, (await numbers.receive(where={"n": 3})).data["n"]]


async def test_another_worker_replays_the_conditions_of_a_retry(open_app: Open) -> None:
    """The retry asks for its subscription, and begins to wait when that is granted."""
    app = await open_app()
    failing.append("out of luck")
    handle = await app.start(hears_some_in_its_next_run)
    await joined(app, 1, "numbers")
    for number in (1, 2):
        await app.channel("numbers").publish({"n": number})
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=30)
    await app.retry(handle.instance_id)
    await joined(app, 1, "numbers")
    await app.drain(20)

    other = await open_app()
    await other.channel("numbers").publish({"n": 3})
    assert await other.handle(handle.instance_id).result(timeout=30) == [2, 3]
