"""A retry is a new run that remembers which results of the earlier runs stand."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from msgspec import Raw

from romancy.context import WorkflowContext
from romancy.core import (
    ActivityCompleted,
    ActivityScheduled,
    CancelRequested,
    Recall,
    Run,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowResumed,
    WorkflowRetried,
    current_run,
    decode_commit,
    encode_commit,
)
from romancy.errors import ActivityError, HistoryCorruptError
from romancy.status import Status
from romancy.workflow import workflow
from tests.core.retries import SELF, Retries, Shop, agree, charge, failed, lend, note, ship, stamp, text


@workflow
async def order(ctx: WorkflowContext) -> list[str]:
    return [await note(1), await charge(1), await note(1), await ship(1)]


def test_what_stands_is_answered_and_what_failed_keeps_its_key() -> None:
    shop = Shop()
    shop.broken.add("ship")
    one = Retries(order, shop=shop)
    assert "ship is broken" in one.fail()
    first = dict(zip(shop.names(), shop.calls, strict=False))
    assert shop.names() == ["note", "charge", "note", "ship"]
    keys = {name: shop.keys(name) for name in first}
    shop.broken.clear()
    shop.calls.clear()

    one.retry()

    assert one.result() == ["note 1", "charge 1", "note 3", "ship 2"]
    assert shop.names() == ["charge", "ship"]
    assert shop.keys("ship") == keys["ship"]
    assert shop.keys("charge") != keys["charge"]
    scheduled = [event for event in one.log() if isinstance(event, ActivityScheduled)][4:]
    assert [event.key for event in scheduled if event.name == "note"] == keys["note"]
    agree(one)


def test_a_new_run_says_its_number_and_draws_as_before() -> None:
    shop = Shop()
    one = failed(draws, shop=shop)
    before = one.log()

    one.retry()
    run, *rest = one.result()

    assert run == 2
    assert shop.names() == ["ship"], "its arguments are those of before"
    assert rest == [text(event) for event in before if isinstance(event, ActivityCompleted)]
    agree(one)


@workflow
async def draws(ctx: WorkflowContext) -> list[Any]:
    first = await stamp(str(ctx.uuid4()))
    second = await stamp(str(ctx.random().random()))
    await ship(1)
    return [ctx.run, first, second]


def test_a_retry_of_a_retry_remembers_both() -> None:
    shop = Shop()
    shop.broken |= {"ship"}
    one = Retries(order, shop=shop)
    one.fail()
    for _ in range(3):
        one.retry()
        one.fail()
    shop.broken.clear()
    one.retry()

    assert one.result()[0] == "note 1"
    assert shop.names().count("note") == 2
    assert shop.names().count("charge") == 5
    assert len(set(shop.keys("charge"))) == 5
    assert len(set(shop.keys("ship"))) == 1
    assert len(shop.undone) == 4
    assert len({key for _, _, key in shop.undone}) == 4
    assert one.run.state.started is not None
    assert one.run.state.started.run == 5
    agree(one)


@workflow
async def many_at_once(ctx: WorkflowContext) -> list[str]:
    return list(await asyncio.gather(note(1), note(2), note(1), ship(1), note(1)))


def test_the_same_activity_several_times_at_once() -> None:
    shop = Shop()
    one = failed(many_at_once, shop=shop)
    done = [event for event in one.log() if isinstance(event, ActivityCompleted)]

    one.retry()

    answers = one.result()
    assert shop.names() == ["ship"] + ["note"] * (4 - len(done))
    assert set(answers) >= {text(event) for event in done}
    agree(one)


@workflow
async def another_way(ctx: WorkflowContext) -> str:
    return await ship(2)


def test_what_nobody_asks_for_again_is_named() -> None:
    shop = Shop()
    one = failed(order, shop=shop)

    one.retry(another_way)

    outcome = one.finish()
    assert outcome.unclaimed == ("note:1@1", "note:2@1")
    assert isinstance(one.log()[-1], WorkflowCompleted)


@workflow
async def charges_only(ctx: WorkflowContext) -> str:
    await charge(1)
    await note(1)
    await charge(2)
    return await ship(1)


@workflow
async def other_charge(ctx: WorkflowContext) -> str:
    await charge(2)
    await charge(3)
    return await ship(1)


def unsure(shop: Shop) -> Retries:
    """An instance whose charges could not be refunded."""
    shop.broken |= {"ship", "refund"}
    one = Retries(charges_only, shop=shop)
    one.fail()
    shop.broken.clear()
    return one


def test_what_stands_for_sure_is_remembered() -> None:
    shop = Shop()
    one = unsure(shop)
    shop.calls.clear()

    one.retry(unsure="done")

    one.finish()
    assert shop.names() == ["ship"]
    agree(one)


def test_what_was_undone_by_hand_is_done_again_under_another_key() -> None:
    shop = Shop()
    one = unsure(shop)
    keys = shop.keys("charge")
    shop.calls.clear()

    one.retry(unsure="undone")

    one.finish()
    assert shop.names() == ["charge", "charge", "ship"]
    assert not set(shop.keys("charge")) & set(keys)
    agree(one)


def test_what_is_owed_is_undone_in_the_order_of_all() -> None:
    shop = Shop()
    one = unsure(shop)
    tried = {activity_id: key for activity_id, _, key in shop.undone}
    shop.undone.clear()
    shop.broken.add("ship")

    one.retry(other_charge, unsure="done")
    one.fail()

    undone = [(activity_id, args) for activity_id, args, _ in shop.undone]
    assert [activity_id for activity_id, _ in undone] == ["charge:2", "charge:1", "charge:1@1"]
    assert [key for _, _, key in shop.undone][1:] == [tried["charge:2"], tried["charge:1"]]
    agree(one)
    assert one.run.state.memory is not None
    assert one.run.state.memory.unclaimed() == ("note:1@1",)


@workflow
async def lends(ctx: WorkflowContext) -> str:
    await lend(1)
    return await ship(1)


def test_an_attempt_that_was_undone_is_made_again_under_another_key() -> None:
    shop = Shop()
    shop.broken.add("lend")
    one = Retries(lends, shop=shop)
    one.fail()
    shop.broken.clear()

    one.retry()

    one.finish()
    first, second = shop.keys("lend")
    assert first != second
    agree(one)


@workflow
async def tolerant(ctx: WorkflowContext) -> str:
    with contextlib.suppress(ActivityError):
        await ship(0)
    await note(1)
    return await charge(1)


def test_a_failure_that_was_tolerated_is_tried_again_and_costs_nothing_else() -> None:
    shop = Shop()
    shop.broken |= {"ship", "charge"}
    one = Retries(tolerant, shop=shop)
    one.fail()
    shop.broken.clear()
    keys = shop.keys("ship"), shop.keys("charge")
    shop.calls.clear()

    one.retry()

    one.finish()
    assert shop.names() == ["ship", "charge"]
    assert (shop.keys("ship"), shop.keys("charge")) == keys
    agree(one)


@workflow
async def goes_on(ctx: WorkflowContext, n: int) -> int:
    await note(n)
    await ship(n)
    if n:
        goes_on.recur(n - 1)
    return ctx.run


def test_a_retried_run_can_continue_as_new_and_leaves_its_memory_behind() -> None:
    shop = Shop()
    one = failed(goes_on, 1, shop=shop)
    one.retry()
    successor = None
    while one.run.state.terminal is None:
        answer = one.next()
        assert answer is not None
        successor = one.run.activate([answer]).successor
    assert successor is not None
    assert type(successor).__name__ == "WorkflowStarted"
    assert successor.run == 3
    assert shop.names() == ["ship"]


@workflow
async def long(ctx: WorkflowContext, n: int) -> str:
    for number in range(n):
        await note(number)
    await ship(1)
    return "done"


def test_a_large_memory_is_written_in_commits_of_a_bounded_size() -> None:
    shop = Shop()
    one = failed(long, 5_000, shop=shop)
    before = len(one.commits)

    one.retry()

    assert one.result() == "done"
    assert shop.names() == ["ship"]
    assert max(map(len, one.commits[before:])) < 2 * 1024 * 1024
    assert 3 < len(one.commits) - before < 20
    for count in (before + 1, before + 2, len(one.commits) - 1):
        again = one.cut(count)
        assert again.result() == "done"
    assert set(shop.names()) == {"ship"}


@workflow
async def wide(ctx: WorkflowContext, n: int) -> str:
    await asyncio.gather(*(stamp(str(number)) for number in range(n)))
    return await ship(1)


def test_a_cancellation_amid_a_large_memory_leaves_the_answers_to_the_memory() -> None:
    one = failed(wide, 5_000, shop=Shop())
    before = len(one.commits)
    one.retry()
    run = Run(wide, instance_id=SELF, known=one.activities)
    run.replay(current_run(decode_commit(body) for body in one.commits[: before + 2]))
    assert run.remembers

    activation = run.activate([CancelRequested(at=one.now, reason="enough")])

    assert not list(activation.effects), "an answer that somebody else gave would be one too many"
    for _ in range(20):
        if run.state.terminal is None:
            activation = run.activate([WorkflowResumed(at=one.now)])
    assert (activation.parked, activation.status) == (None, Status.CANCELLED)


def test_a_retry_without_the_run_before_it_is_no_log() -> None:
    run = Run(order, instance_id=SELF)
    retried = WorkflowRetried(at=1, workflow="order", input=Raw(b"{}"), nonce="n", run=2)
    with pytest.raises(HistoryCorruptError, match="not the run that was retried"):
        run.replay([[retried], [WorkflowResumed(at=2)]])
    run.close()


def test_a_log_in_which_a_run_was_cut_at_its_failure_can_be_retried() -> None:
    """Former versions wrote retries this way: a start, what was kept, and what came since."""
    shop = Shop()
    one = failed(order, shop=shop)
    events = one.log()
    kept = events[: next(i for i, event in enumerate(events) if isinstance(event, ActivityCompleted)) + 2]
    again = Retries(order, shop=shop, commits=[*one.commits, encode_commit(kept)])
    shop.broken.add("ship")
    again.fail()
    shop.broken.clear()
    shop.calls.clear()

    recall = Recall(SELF)
    for event in again.log():
        recall.follow(event)
    assert isinstance(recall.ended, WorkflowFailed)
    again.retry()

    again.finish()
    assert shop.names() == ["charge", "ship"]
