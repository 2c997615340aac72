"""Polls of which the log keeps the last failed attempt only: number and pause of the attempts survive all the same."""

# Only a test that takes a run from its worker touches the worker of an app.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    RetryExhaustedError,
    RetryPolicy,
    Romancy,
    UsageError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.core import ActivityAttemptFailed, ActivityCompleted, ActivityFailed, CompensationAttemptFailed
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.core import LogEvent
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

AT_ONCE = RetryPolicy(0, 0.0, 1.0, 0.0, record="last")
made: dict[str, list[int]] = {}
ready: dict[str, int] = {}
"""At which attempt a poll has its answer."""


@pytest.fixture(autouse=True)
def forget() -> None:
    made.clear()
    ready.clear()


def asks(what: str) -> int:
    """Note the attempt. Raises as long as there is no answer."""
    number = activity_context().attempt
    made.setdefault(what, []).append(number)
    if len(made[what]) < ready.get(what, 1 << 60):
        raise LookupError(f"no {what} yet: {number}")
    return number


@activity(retry=AT_ONCE)
async def kl_poll(what: str) -> int:
    return asks(what)


@activity(retry=AT_ONCE)
def kl_poll_plainly(what: str) -> int:
    return asks(what)


@activity(retry=RetryPolicy(0, 0.02, 1.0, 0.02, record="last"))
async def kl_poll_slowly(what: str) -> int:
    activity_context().heartbeat(what)
    return asks(what)


@activity(retry=RetryPolicy(7, 0.0, 1.0, 0.0, record="last"))
async def kl_poll_seven_times(what: str) -> int:
    return asks(what)


@compensation(retry=RetryPolicy(0, 0.0, 1.0, 0.0, record="last"))
async def kl_take_back(what: str) -> None:
    asks(f"undo {what}")


@activity(compensation=kl_take_back)
async def kl_book(what: str) -> str:
    return what


@activity(retry=RetryPolicy(0, 0.0, 1.0, 0.0, record="last"))
async def kl_poll_in_a_session(what: str) -> int:
    await activity_context().session()
    return asks(what)


@workflow
async def kl_waits(ctx: WorkflowContext, what: str) -> list[int]:
    answer = await kl_poll(what)
    return [answer, ctx.log_length]


@workflow
async def kl_waits_plainly(ctx: WorkflowContext, what: str) -> int:
    return await kl_poll_plainly(what)


@workflow
async def kl_waits_slowly(ctx: WorkflowContext, what: str) -> list[int]:
    answer = await kl_poll_slowly(what)
    return [answer, ctx.log_length]


@workflow
async def kl_waits_seven_times(ctx: WorkflowContext, what: str) -> int:
    return await kl_poll_seven_times(what)


@workflow
async def kl_waits_in_a_session(ctx: WorkflowContext, what: str) -> int:
    return await kl_poll_in_a_session(what)


@workflow
async def kl_waits_for_several(ctx: WorkflowContext, names: list[str]) -> list[int]:
    return list(await asyncio.gather(*map(kl_poll, names)))


@workflow
async def kl_books_and_fails(ctx: WorkflowContext, what: str) -> None:
    await kl_book(what)
    raise ValueError("no more")


@workflow
async def kl_recurs(ctx: WorkflowContext, what: str, rounds: int) -> int:
    answer = await kl_poll(f"{what} {rounds}")
    if rounds:
        kl_recurs.recur(what, rounds - 1)
    return answer


@workflow
async def kl_looks_at_the_clock(ctx: WorkflowContext, what: str) -> int:
    """A condition on the time is not asked because an attempt has failed: that attempt may be gone at a replay."""
    began, asked = ctx.now(), 0

    def later() -> bool:
        nonlocal asked
        asked += 1
        return ctx.now() > began and asked > 1 << 30

    waiting = asyncio.ensure_future(ctx.until(later))
    await kl_poll(what)
    waiting.cancel()
    return asked


def failures(log: Sequence[LogEvent]) -> list[tuple[int, int]]:
    return [
        (event.attempt, event.failures)
        for event in log
        if isinstance(event, ActivityAttemptFailed | CompensationAttemptFailed)
    ]


# ── what the log keeps ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("plainly", [False, True])
async def test_a_poll_leaves_the_same_log_however_often_it_is_made(app: Romancy, *, plainly: bool) -> None:
    flow: Any = kl_waits_plainly if plainly else kl_waits
    logs = list[int]()
    for what, attempts in (("short", 3), ("long", 150)):
        ready[what] = attempts
        handle = await app.start(flow, what)
        await handle.result(timeout=60)
        log = await handle.history()
        assert made[what] == list(range(1, attempts + 1))
        assert failures(log) == [(attempts - 1, attempts - 1)]
        assert [event.attempt for event in log if isinstance(event, ActivityCompleted)] == [attempts]
        instance = await app.get_instance(handle.instance_id)
        assert instance is not None
        logs.append(instance.log_length)
    assert logs[0] == logs[1]


async def test_the_length_of_the_log_is_the_same_for_the_body_in_a_replay(app: Romancy) -> None:
    ready["it"] = 20
    handle = await app.start(kl_waits, "it")
    assert await handle.result(timeout=60) == [20, 3]


async def test_what_was_raised_last_is_told_when_no_attempt_is_left(app: Romancy) -> None:
    handle = await app.start(kl_waits_seven_times, "it")
    with pytest.raises(WorkflowFailedError) as failed:
        await handle.result(timeout=60)
    log = await handle.history()
    assert [event.attempts for event in log if isinstance(event, ActivityFailed)] == [7]
    assert failures(log) == [(6, 6)]
    assert made["it"] == [1, 2, 3, 4, 5, 6, 7]
    assert "no it yet: 7" in str(failed.value)


@workflow
async def kl_catches(ctx: WorkflowContext, what: str) -> list[Any]:
    try:
        await kl_poll_seven_times(what)
    except RetryExhaustedError as error:
        return [error.attempts, list(error.history)]
    return []


async def test_the_body_is_told_of_the_last_ones(app: Romancy) -> None:
    caught = await (await app.start(kl_catches, "it")).result(timeout=60)
    assert caught == [7, ["LookupError: no it yet: 6", "LookupError: no it yet: 7"]]


async def test_each_of_several_polls_keeps_its_last_one(app: Romancy) -> None:
    ready.update(a=40, b=60, c=80)
    handle = await app.start(kl_waits_for_several, ["a", "b", "c"])
    assert await handle.result(timeout=60) == [40, 60, 80]
    log = await handle.history()
    kept = [event for event in log if isinstance(event, ActivityAttemptFailed)]
    assert len(kept) <= 12  # at most one of each open poll in each row
    assert {event.failures for event in kept} >= {39, 59, 79}


async def test_a_compensation_that_is_tried_for_ever_leaves_one_row(app: Romancy) -> None:
    ready["undo it"] = 50
    handle = await app.start(kl_books_and_fails, "it")
    with pytest.raises(WorkflowFailedError, match="no more"):
        await handle.result(timeout=60)
    assert failures(await handle.history()) == [(49, 49)]


async def test_a_poll_in_a_session_leaves_one_row(app: Romancy) -> None:
    ready["it"] = 12
    handle = await app.start(kl_waits_in_a_session, "it")
    assert await handle.result(timeout=60) == 12
    assert failures(await handle.history()) == [(11, 11)]


async def test_each_run_has_its_own(app: Romancy) -> None:
    ready.update({f"it {n}": 5 for n in range(4)})
    handle = await app.start(kl_recurs, "it", 3)
    assert await handle.result(timeout=60) == 5


async def test_a_condition_is_not_asked_for_an_attempt_that_may_be_gone(app: Romancy) -> None:
    ready["it"] = 30
    handle = await app.start(kl_looks_at_the_clock, "it")
    assert await handle.result(timeout=60) < 5


async def test_only_the_first_failure_is_a_warning(app: Romancy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "romancy")
    ready["it"] = 9
    handle = await app.start(kl_waits, "it")
    await handle.result(timeout=60)
    told = [each for each in caplog.records if "no it yet" in each.getMessage() or "LookupError" in each.getMessage()]
    assert [each.levelname for each in told] == ["WARNING"] + 7 * ["INFO"]
    assert not any(each.exc_info for each in told[1:])


# ── what survives ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_another_worker_goes_on_with_the_number_and_the_pause(open_app: Open, storage_url: str) -> None:
    await open_app(worker=False)
    async with Romancy(storage_url, workflows=[kl_waits_slowly]) as first:
        await first.start(kl_waits_slowly.options(instance_id="p"), "it")
        await until(lambda: len(made.get("it", ())) > 12)
    before = made["it"][-1]
    app = await open_app(workflows=[kl_waits_slowly])
    await until(lambda: made["it"][-1] > before + 3)
    ready["it"] = 1
    answer, length = await app.handle("p", kl_waits_slowly).result(timeout=60)
    assert made["it"][before] in (before + 1, before + 2)  # two: an attempt was cut off
    assert answer == made["it"][-1]
    log = await app.handle("p").history()
    assert len(failures(log)) <= 3
    assert length == 3 + sum(type(event).__name__ == "OwnerChanged" for event in log)


async def test_why_and_waits_say_how_many_there_were_and_the_last_error(app: Romancy) -> None:
    handle = await app.start(kl_waits_slowly, "it")
    await until(lambda: len(made.get("it", ())) > 20)
    instance = await app.get_instance(handle.instance_id, waits=True)
    assert instance is not None
    assert instance.waits is not None
    (wait,) = instance.waits
    assert wait.failed_attempts >= 19
    assert (wait.error or "").endswith(f"no it yet: {wait.failed_attempts}")
    await app.terminate(handle.instance_id)


async def test_a_retry_of_the_instance_begins_to_count_anew(app: Romancy) -> None:
    handle = await app.start(kl_waits_seven_times, "it")
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)
    ready["it"] = 10
    await app.retry(handle.instance_id)
    assert await handle.result(timeout=60) == 3
    assert failures(await handle.history()) == [(6, 6), (2, 2)]


async def test_what_takes_a_place_is_sealed_too(open_app: Open) -> None:
    app = await open_app(workflows=[kl_waits], codecs=[Masking()])
    ready["it"] = 15
    handle = await app.start(kl_waits, "it")
    assert await handle.result(timeout=60) == [15, 3]
    assert failures(await handle.history()) == [(14, 14)]


def test_a_policy_says_what_it_keeps() -> None:
    assert RetryPolicy(record="last").record == "last"
    with pytest.raises(UsageError, match="record must be 'all' or 'last'"):
        RetryPolicy(record="none")  # type: ignore[arg-type]
