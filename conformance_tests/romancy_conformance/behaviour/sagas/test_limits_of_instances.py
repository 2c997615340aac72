"""`options(timeout=)` limits a whole instance: it is stopped, undoes its work and has failed, on whatever worker."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    RetryPolicy,
    Romancy,
    Status,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    WorkflowTimeoutError,
    activity,
    activity_context,
    workflow,
)
from romancy.core import CancelRequested, WorkflowFailed
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import charge, record, refund, works
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

SOON = 0.3
LATER = 3.0
"""Longer than the two seconds for which a worker keeps an instance that only waits."""
apps: list[Romancy] = []
breaks: list[str] = []
begun, may_end = threading.Event(), threading.Event()


@activity(retry=RetryPolicy.none())
async def hangs() -> None:
    await asyncio.Event().wait()


@workflow
async def limited_wait(ctx: WorkflowContext, what: str = "a") -> str:
    await charge(what)
    await ctx.wait_event("never")
    return what


@workflow
async def limited_work(ctx: WorkflowContext) -> None:
    await charge("w")
    await hangs()


@workflow
async def limited_stubborn(ctx: WorkflowContext) -> str:
    try:
        await ctx.wait_event("never")
    except asyncio.CancelledError:
        await charge("last")
    return "done anyway"


@workflow
async def limited_for_ever(ctx: WorkflowContext, number: int) -> None:
    await charge(f"run {number}")
    await ctx.sleep(0.05)
    limited_for_ever.recur(number + 1)


@workflow
async def limited_parent(ctx: WorkflowContext) -> str:
    try:
        await limited_wait.options(timeout=SOON)("child")
    except WorkflowTimeoutError as error:
        return f"caught: {error.__cause__}"
    return "not caught"


@workflow
async def limited_grandparent(ctx: WorkflowContext) -> None:
    await limited_wait.options(timeout=SOON)("child")


@workflow
async def limited_second_time(ctx: WorkflowContext) -> str:
    await charge("once")
    go = await ctx.wait_event("go")
    return str(go.data)


@pytest.mark.parametrize("limit", [SOON, LATER], ids=["loaded", "resting"])
async def test_an_instance_that_reaches_its_limit_undoes_its_work_and_has_failed(app: Romancy, limit: float) -> None:
    handle = await app.start(limited_wait.options(timeout=limit))
    with pytest.raises(WorkflowTimeoutError, match=f"limited_wait reached its limit of {limit:g} s") as caught:
        await handle.result(timeout=60)
    assert caught.value.instance_id == handle.instance_id
    assert isinstance(caught.value, WorkflowFailedError)
    assert not isinstance(caught.value, TimeoutError)
    assert record.names() == ["a", "refund a"]
    assert await handle.status() is Status.FAILED
    stopped = [event for event in await handle.history() if isinstance(event, CancelRequested)]
    assert [event.limit for event in stopped] == [round(limit * 1_000_000)]


async def test_an_activity_at_work_is_stopped(app: Romancy) -> None:
    with pytest.raises(WorkflowTimeoutError):
        await app.run(limited_work.options(timeout=SOON))
    assert record.names() == ["w", "refund w"]


async def test_an_instance_that_ends_in_time_is_left_alone(app: Romancy) -> None:
    handle = await app.start(works.options(timeout=SOON), "q")
    assert await handle.result(timeout=60) == "q"
    before = await handle.history()
    assert await app.run(works.options(timeout=3600), "q") == "q"
    with pytest.raises(WorkflowTimeoutError):  # the limit of the first is over, too
        await app.run(limited_wait.options(timeout=SOON))
    assert before == await handle.history()


async def test_a_body_that_catches_it_ends_as_it_says(app: Romancy) -> None:
    assert await app.run(limited_stubborn.options(timeout=SOON)) == "done anyway"
    assert record.names() == ["last"]


async def test_all_runs_of_an_instance_share_the_limit(app: Romancy) -> None:
    with pytest.raises(WorkflowTimeoutError):
        await app.run(limited_for_ever.options(timeout=1), 0)
    assert len(record.names()) > 2


async def test_a_limit_counts_from_when_the_body_begins(app: Romancy, open_app: Open) -> None:
    """Neither a delay nor the time without a worker counts."""
    client = await open_app(worker=False)
    handle = await client.start(works.options(timeout=SOON, delay=3 * SOON), "q")
    assert await handle.result(timeout=60) == "q"


async def test_a_client_gives_a_limit(app: Romancy, open_app: Open) -> None:
    client = await open_app(worker=False)
    handle = await client.start(limited_wait.options(timeout=SOON))
    with pytest.raises(WorkflowTimeoutError):
        await handle.result(timeout=60)
    many = await client.start_many([limited_wait.options(timeout=SOON).bind(f"{n}") for n in range(3)])
    for one in many:
        with pytest.raises(WorkflowTimeoutError):
            await one.result(timeout=60)


async def test_a_limit_outlives_its_worker(app: Romancy, open_app: Open) -> None:
    """A worker that never saw the start stops the instance, at work and at rest."""
    resting = await app.start(limited_wait.options(timeout=LATER))
    at_work = await app.start(limited_work.options(timeout=LATER))
    await until(lambda: record.names() == ["a", "w"])
    await app.drain(0)
    assert [Status.RUNNING, Status.RUNNING] != [await one.status() for one in (resting, at_work)]
    second = await open_app()
    for one in (resting, at_work):
        with pytest.raises(WorkflowTimeoutError):
            await second.handle(one.instance_id).result(timeout=60)
    assert sorted(record.names()) == ["a", "refund a", "refund w", "w"]


async def test_a_parent_catches_the_limit_of_its_child(app: Romancy) -> None:
    said = await app.run(limited_parent)
    assert said == f"caught: workflow limited_wait reached its limit of {SOON:g} s"
    assert record.names() == ["child", "refund child"]


async def test_the_limit_of_a_child_is_not_that_of_its_parent(app: Romancy) -> None:
    with pytest.raises(WorkflowFailedError, match="reached its limit") as caught:
        await app.run(limited_grandparent)
    assert not isinstance(caught.value, WorkflowTimeoutError)


async def test_a_retry_has_the_whole_limit_again(app: Romancy) -> None:
    handle = await app.start(limited_second_time.options(timeout=1))
    with pytest.raises(WorkflowTimeoutError):
        await handle.result(timeout=60)
    await app.retry(handle.instance_id)
    await until(lambda: record.names().count("once") == 2)
    await app.signal(handle.instance_id, "go", "now")
    assert await handle.result(timeout=60) == "now"

    again = await app.start(limited_second_time.options(timeout=1))
    for _ in range(2):
        with pytest.raises(WorkflowTimeoutError):
            await again.result(timeout=60)
        await app.retry(again.instance_id)
    with pytest.raises(WorkflowTimeoutError):
        await again.result(timeout=60)
    ends = [event for event in await again.history() if isinstance(event, WorkflowFailed)]
    assert len(ends) == 3


async def test_a_cancellation_before_the_limit_is_a_cancellation(app: Romancy) -> None:
    handle = await app.start(limited_wait.options(timeout=LATER))
    await status_is(app, handle.instance_id, Status.WAITING)
    await handle.cancel("not needed")
    with pytest.raises(WorkflowCancelledError, match="not needed"):
        await handle.result(timeout=60)


async def test_what_is_no_limit_is_refused(app: Romancy) -> None:
    wrong: list[Any] = [0, -1, "soon", float("nan"), float("inf"), True]
    for timeout in wrong:
        with pytest.raises((UsageError, TypeError, ValueError), match="timeout"):
            works.options(timeout=timeout)


async def test_why_names_the_limit(app: Romancy) -> None:
    handle = await app.start(limited_wait.options(timeout=3600))
    await status_is(app, handle.instance_id, Status.WAITING)
    assert "It is stopped if it has not ended 1 h after its body began." in await app.explain(handle.instance_id)
    await handle.cancel()


@activity(retry=RetryPolicy.none(), compensation=refund)
def books_on_a_thread(what: str) -> str:
    begun.set()
    may_end.wait(60)
    record.do(what)
    return what


calls_books_on_a_thread = calling(books_on_a_thread)


@workflow
async def limited_in_a_group(ctx: WorkflowContext) -> str:
    """It catches its own time-outs, and not its limit."""
    for _ in range(1000):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.gather(ctx.wait_event("never"), ctx.sleep(60))
    return "never"


@activity
async def starts_limited(first: str) -> None:
    session = await activity_context().session()
    await apps[-1].start(limited_wait.options(instance_id=first, timeout=SOON), first, session=session)


calls_starts_limited = calling(starts_limited)


@workflow
async def limited_that_breaks(ctx: WorkflowContext) -> None:
    await charge("b")
    if breaks:
        await asyncio.get_running_loop().create_future()  # nothing can bring it
    await ctx.wait_event("never")


async def test_what_a_thread_did_meanwhile_is_undone(app: Romancy) -> None:
    begun.clear()
    may_end.clear()
    handle = await app.start(calls_books_on_a_thread.options(timeout=SOON), "thread")
    assert await asyncio.to_thread(begun.wait, 60)
    await status_is(app, handle.instance_id, Status.CANCELLING)
    may_end.set()
    with pytest.raises(WorkflowTimeoutError):
        await handle.result(timeout=60)
    assert record.names() == ["thread", "refund thread"]


async def test_a_time_out_of_the_body_does_not_hide_the_limit(app: Romancy) -> None:
    with pytest.raises(WorkflowTimeoutError):
        await app.run(limited_in_a_group.options(timeout=SOON))


async def test_every_way_to_start_takes_a_limit(app: Romancy, open_app: Open) -> None:
    apps.append(app)
    stranger = await open_app(worker=False, workflows=[])
    named: Any = stranger.workflow("limited_wait")
    client = await open_app(worker=False)
    handles = [
        await stranger.start(named.options(timeout=SOON), what="by name"),
        await client.signal_with_start(limited_wait.options(instance_id="signalled", timeout=SOON).bind("s"), "hello"),
        await app.signal_with_start(limited_wait.options(instance_id="here", timeout=SOON).bind("h"), "hello"),
        await app.start(calls_starts_limited, "in-a-session"),
    ]
    await handles.pop().result(timeout=60)
    for handle in (*handles, app.handle("in-a-session")):
        with pytest.raises(WorkflowTimeoutError):
            await handle.result(timeout=60)
    again = await app.start(limited_wait.options(instance_id="signalled"), "s", if_exists="restart_ended")
    await status_is(app, again.instance_id, Status.WAITING)
    explained = await again.explain()
    assert not any("is stopped" in one for one in explained), explained


async def test_a_stuck_instance_is_stopped_when_it_goes_on(app: Romancy) -> None:
    breaks.append("yes")
    handle = await app.start(limited_that_breaks.options(timeout=SOON))
    await status_is(app, handle.instance_id, Status.STUCK)
    with pytest.raises(WorkflowTimeoutError):  # the limit of the stuck one is over, too
        await app.run(limited_wait.options(timeout=SOON))
    assert await handle.status() is Status.STUCK
    breaks.clear()
    await app.resume(handle.instance_id)
    with pytest.raises(WorkflowTimeoutError):
        await handle.result(timeout=60)
