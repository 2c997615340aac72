"""Activities that begin at most once: an attempt that may have begun is never begun again, whoever goes on."""

# Only a test that takes a run from its worker touches the worker of an app.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    ActivityError,
    ActivityTimeoutError,
    ActivityUnknownError,
    RetryPolicy,
    Romancy,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.core import (
    ActivityAttemptFailed,
    ActivityCancelled,
    ActivityFailed,
    ActivityScheduled,
    WorkflowCancelled,
    WorkflowFailed,
)
from romancy.engine.activities import runner
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.gates import Gate, logged
from romancy_conformance.behaviour.waiting import reason_is, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy.engine.worker.worker import Worker
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

gates: list[Gate] = []
NOW = RetryPolicy(3, 0.0)


@pytest.fixture(autouse=True)
def gate() -> Iterator[Gate]:
    """Nothing waits at the gate of a test that has ended."""
    gates.append(Gate())
    yield gates[-1]
    gates[-1].open()


def begins(what: str) -> int:
    """Note the attempt and the key under which it begins, and return its number."""
    context = activity_context()
    gates[-1].say(f"{what} {context.idempotency_key} {context.attempt}")
    return context.attempt


def begun(what: str) -> list[tuple[str, int]]:
    """The attempts that have begun: key and number of each."""
    said = [line.split() for line in gates[-1].said if line.startswith(f"{what} ")]
    return [(key, int(number)) for _, key, number in said]


def has_begun(what: str, times: int) -> bool:
    return len(begun(what)) == times


async def _forever() -> None:
    await asyncio.Event().wait()


@activity(at_most_once=True, retry=NOW)
async def pay_once(what: str) -> str:
    if begins(what) == 1 or what == "always":
        await _forever()
    return f"paid {what}"


@activity(at_most_once=True)
def pay_plainly(what: str) -> str:
    begins(what)
    gates[-1].wait()
    return f"paid {what}"


@activity(retry=RetryPolicy(2, 0.0))
async def pay_often(what: str) -> str:
    if begins(what) == 1:
        await _forever()
    raise LookupError(f"no {what}")


calls_pay_often = calling(pay_often)


@compensation
async def unpay(what: str) -> None:
    gates[-1].say(f"unpaid {what}")


@activity(at_most_once=True, compensation=unpay, compensate="attempted")
async def pay_undoably(what: str) -> str:
    begins(what)
    await _forever()
    return "never"


@activity(compensation=unpay)
async def pay_and_wait(what: str) -> None:
    begins(what)
    await _forever()


@activity(compensation=unpay)
def pay_and_wait_plainly(what: str) -> None:
    begins(what)
    while True:
        time.sleep(0.01)
        activity_context().heartbeat()


@activity(at_most_once=True, retry=NOW)
async def pay_in_the_end(what: str) -> int:
    number = begins(what)
    if number < 3:
        raise ConnectionError(f"attempt {number}")
    return number


@activity(at_most_once=True, timeout=0.05, retry=NOW)
def pay_too_late(what: str) -> str:
    begins(what)
    gates[-1].wait()
    return "late"


@activity(at_most_once=True)
async def pay_in_a_session(what: str) -> None:
    await activity_context().session()


calls_pay_in_a_session = calling(pay_in_a_session)


calls_pay_once = calling(pay_once)


@workflow
async def once_cancelled(ctx: WorkflowContext, what: str, plainly: bool) -> None:  # noqa: FBT001 - stored input
    await (pay_and_wait_plainly(what) if plainly else pay_and_wait(what))


calls_pay_plainly = calling(pay_plainly)
calls_pay_undoably = calling(pay_undoably)


@workflow
async def once_pays_two(ctx: WorkflowContext) -> list[str]:
    paid = await asyncio.gather(pay_once("first"), pay_plainly("second"), return_exceptions=True)
    return [one if isinstance(one, str) else type(one).__name__ for one in paid]


calls_pay_in_the_end = calling(pay_in_the_end)


@workflow
async def once_pays_too_late(ctx: WorkflowContext) -> str:
    try:
        return await pay_too_late("late")
    except ActivityUnknownError as error:
        return f"{type(error.__cause__).__name__} after {error.attempts}"


@workflow
async def once_parent(ctx: WorkflowContext) -> str:
    try:
        return await calls_pay_once("child")
    except WorkflowFailedError as error:
        return error.error_type


@workflow
async def once_caught(ctx: WorkflowContext) -> str:
    try:
        return await pay_once("caught")
    except ActivityError as error:
        if type(error) is not ActivityUnknownError:
            raise
        return f"{error.activity_id} after {error.attempts}: {await pay_in_the_end('other')}"


def worker_of(app: Romancy) -> Worker:
    worker = app._access.worker
    assert worker is not None
    return worker


async def cut_off(storage_url: str, workflows: list[Any], wf: Any, *args: Any, what: str) -> str:
    """Start it, and stop the worker in the middle of what begins under this name. Returns the id."""
    async with Romancy(storage_url, workflows=workflows, drain_timeout=0.0) as app:
        handle = await app.start(wf.options(instance_id="it"), *args)
        await until(lambda: begun(what))
    return str(handle.instance_id)


@pytest.mark.parametrize("plainly", [False, True])
async def test_an_attempt_that_a_stopping_worker_interrupts_is_not_begun_again(
    storage_url: str, workflows: list[Any], open_app: Open, gate: Gate, *, plainly: bool
) -> None:
    await open_app(worker=False)  # keeps a database in memory
    wf = calls_pay_plainly if plainly else calls_pay_once
    instance_id = await cut_off(storage_url, workflows, wf, "it", what="it")
    handle = (await open_app()).handle(instance_id, wf)
    with pytest.raises(WorkflowFailedError, match="not begun again") as failed:
        await handle.result(timeout=60)
    gate.open()

    assert isinstance(failed.value.__cause__, ActivityUnknownError)
    assert [number for _, number in begun("it")] == [1]
    (ended,) = [event for event in await handle.history() if isinstance(event, ActivityFailed)]
    assert (ended.unknown, ended.attempts) == (True, 1)
    (end,) = [event for event in await handle.history() if isinstance(event, WorkflowFailed)]
    assert end.unknown == (ended.id,)


async def test_the_body_catches_it_and_goes_on(storage_url: str, workflows: list[Any], open_app: Open) -> None:
    await open_app(worker=False)
    instance_id = await cut_off(storage_url, workflows, once_caught, what="caught")
    handle = (await open_app()).handle(instance_id, once_caught)
    assert await handle.result(timeout=60) == "pay_once:1 after 1: 3"


async def test_a_child_is_treated_as_its_parent_is(storage_url: str, workflows: list[Any], open_app: Open) -> None:
    await open_app(worker=False)
    instance_id = await cut_off(storage_url, workflows, once_parent, what="child")
    handle = (await open_app()).handle(instance_id, once_parent)
    assert (await handle.result(timeout=60)).endswith("ActivityUnknownError")


async def test_it_is_undone_as_declared(storage_url: str, workflows: list[Any], open_app: Open, gate: Gate) -> None:
    await open_app(worker=False)
    instance_id = await cut_off(storage_url, workflows, calls_pay_undoably, "it", what="it")
    handle = (await open_app()).handle(instance_id, calls_pay_undoably)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)
    assert "unpaid it" in gate.said
    (end,) = [event for event in await handle.history() if isinstance(event, WorkflowFailed)]
    assert end.unknown == ()


async def test_what_had_not_begun_begins_at_the_next_worker(
    storage_url: str, workflows: list[Any], open_app: Open, gate: Gate
) -> None:
    """Of one instance, one activity has begun, and the other one waits for the only slot."""
    await open_app(worker=False)
    gate.open()
    async with Romancy(storage_url, workflows=workflows, drain_timeout=0.0, max_activities=1) as app:
        handle = await app.start(once_pays_two)
        await until(lambda: begun("first"))
    assert begun("second") == []
    handle = (await open_app()).handle(handle.instance_id, once_pays_two)
    assert await handle.result(timeout=60) == ["ActivityUnknownError", "paid second"]
    assert [number for _, number in begun("second")] == [1]


async def test_what_waited_for_a_thread_begins_at_the_next_worker(
    storage_url: str, workflows: list[Any], open_app: Open, gate: Gate
) -> None:
    await open_app(worker=False)
    async with Romancy(storage_url, workflows=workflows, drain_timeout=0.0, max_threads=1) as app:
        await app.start(calls_pay_plainly, "begun")
        await until(lambda: begun("begun"))
        waiting = await app.start(calls_pay_plainly, "waiting")
        await logged(waiting, ActivityScheduled)
    gate.open()
    handle = (await open_app()).handle(waiting.instance_id, calls_pay_plainly)
    assert await handle.result(timeout=60) == "paid waiting"
    assert [number for _, number in begun("waiting")] == [1]


async def test_a_worker_that_drops_its_runs_and_keeps_them_knows_what_it_has_begun(app: Romancy) -> None:
    """Its lease was in doubt, but nobody took over, so that its log says nothing."""
    handle = await app.start(calls_pay_once, "it")
    await until(lambda: begun("it"))
    worker_of(app)._drop_everything()
    worker_of(app).reborn()
    with pytest.raises(WorkflowFailedError, match="not begun again"):
        await handle.result(timeout=60)
    assert [number for _, number in begun("it")] == [1]


@pytest.mark.unreplayable("the instance is parked by hand")
async def test_an_instance_that_got_stuck_in_the_middle_does_not_begin_it_again(open_app: Open) -> None:
    app = await open_app()
    handle = await app.start(calls_pay_once, "it")
    await until(lambda: begun("it"))
    worker = worker_of(app)
    worker.broken(worker.driver.live[handle.instance_id], RuntimeError("planted"))
    await reason_is(app, handle.instance_id, "planted")
    other = await open_app()
    await other.resume(handle.instance_id)
    with pytest.raises(WorkflowFailedError, match="not begun again"):
        await other.handle(handle.instance_id, calls_pay_once).result(timeout=60)
    assert [number for _, number in begun("it")] == [1]


async def test_an_attempt_that_raises_has_ended_and_the_policy_decides(app: Romancy) -> None:
    assert await (await app.start(calls_pay_in_the_end, "it")).result(timeout=60) == 3
    assert [number for _, number in begun("it")] == [1, 2, 3]
    assert len({key for key, _ in begun("it")}) == 1


async def test_an_attempt_that_does_not_answer_at_its_limit_is_not_begun_again(
    app: Romancy, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_LAST_WORD", 0.05)
    handle = await app.start(once_pays_too_late)
    assert await handle.result(timeout=60) == f"{ActivityTimeoutError.__name__} after 1"
    assert len(begun("late")) == 1
    assert not [event for event in await handle.history() if isinstance(event, ActivityAttemptFailed)]
    gate.open()


async def test_it_has_no_session(app: Romancy) -> None:
    with pytest.raises(WorkflowFailedError, match="at_most_once=True: it has no session"):
        await (await app.start(calls_pay_in_a_session, "x")).result(timeout=60)


# ── cancels and retries ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_cancel_of_one_that_answers_leaves_nothing_unknown(app: Romancy) -> None:
    handle = await app.start(calls_pay_once, "it")
    await until(lambda: begun("it"))
    await handle.cancel()
    with pytest.raises(WorkflowCancelledError) as cancelled:
        await handle.result(timeout=60)
    assert "unknown" not in str(cancelled.value)


@pytest.mark.parametrize("unsure", ["done", "undone"])
async def test_a_retry_begins_it_again_only_if_a_person_says_that_it_did_nothing(
    storage_url: str, workflows: list[Any], open_app: Open, unsure: Any
) -> None:
    await open_app(worker=False)
    instance_id = await cut_off(storage_url, workflows, calls_pay_once, "always", what="always")
    app = await open_app()
    handle = app.handle(instance_id, calls_pay_once)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)
    with pytest.raises(UsageError, match="unsure"):
        await app.retry(instance_id)
    await app.retry(instance_id, unsure=unsure)
    if unsure == "undone":
        await until(lambda: len(begun("always")) == 2)
        assert len({key for key, _ in begun("always")}) == 2
        await app.terminate(instance_id)
        return
    with pytest.raises(WorkflowFailedError, match="not begun again"):
        await app.handle(instance_id, calls_pay_once).result(timeout=60)
    assert len(begun("always")) == 1


# ── the number of the attempt, of every activity ────────────────────────────────────────────────────────────────────


async def test_the_number_counts_attempts_that_may_have_begun_and_the_policy_counts_failures(
    storage_url: str, workflows: list[Any], open_app: Open
) -> None:
    """The first one is cut off. The policy allows two failures, so a third one begins."""
    await open_app(worker=False)
    instance_id = await cut_off(storage_url, workflows, calls_pay_often, "often", what="often")
    handle = (await open_app()).handle(instance_id, calls_pay_often)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)
    assert [number for _, number in begun("often")] == [1, 2, 3]
    log = await handle.history()
    assert [event.attempt for event in log if isinstance(event, ActivityAttemptFailed)] == [2]
    assert [event.attempts for event in log if isinstance(event, ActivityFailed)] == [2]


@pytest.mark.parametrize("plainly", [False, True])
@pytest.mark.parametrize("times", [0, 1, 2])
async def test_a_cancelled_call_is_unknown_if_an_attempt_was_cut_off(
    storage_url: str, workflows: list[Any], open_app: Open, *, plainly: bool, times: int
) -> None:
    """The last attempt stops when it is asked to. Former ones may have had their effects."""
    await open_app(worker=False)
    for number in range(times):
        async with Romancy(storage_url, workflows=workflows, drain_timeout=0.0) as cut:
            await cut.start(once_cancelled.options(instance_id="it"), "it", plainly)
            await until(partial(has_begun, "it", number + 1))
    app = await open_app()
    handle = await app.start(once_cancelled.options(instance_id="it"), "it", plainly)
    await until(partial(has_begun, "it", times + 1))
    await app.cancel("it")
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=60)

    history = await handle.history()
    (cancelled,) = [event for event in history if isinstance(event, ActivityCancelled)]
    (end,) = [event for event in history if isinstance(event, WorkflowCancelled)]
    assert (cancelled.unknown, end.unknown) == (times > 0, (cancelled.id,) if times else ())
