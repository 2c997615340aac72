"""Plain functions that are asked to stop: their outcome is waited for before anything is undone."""

# Only a test that asks how many slots are free touches the worker of an app.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    RetryPolicy,
    Romancy,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.core import (
    ActivityCancelled,
    ActivityCancelRequested,
    ActivityCompleted,
    ActivityScheduled,
    OwnerChanged,
    WorkflowCancelled,
    WorkflowCompleted,
)
from romancy_conformance.behaviour.bookings import book, booking, gates, trip, with_a_child
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.gates import Gate, logged, names
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy.core import LogEvent
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def gate() -> Iterator[Gate]:
    """Nothing waits at the gate of a test that has ended."""
    gates.append(Gate())
    yield gates[-1]
    gates[-1].open()


@workflow
async def within_a_limit(ctx: WorkflowContext, kind: str) -> None:
    try:
        async with asyncio.timeout(0.3):
            await book(kind)
    except TimeoutError:
        await note(f"goes on without {kind}")
    raise LookupError("and fails")


@activity
async def note(what: str) -> None:
    gates[-1].say(what)


@workflow
async def in_rounds(ctx: WorkflowContext, number: int) -> int:
    if number == 1:
        working = asyncio.create_task(book("round 1"))
        await ctx.wait_event("next")
        if not working.done():
            in_rounds.recur(2)
    await note("round 2")
    return number


# ── siblings, cancels, parents, limits, rounds ──────────────────────────────────────────────────────────────────────


async def test_a_sibling_that_fails_waits_for_a_plain_function_and_undoes_it(app: Romancy, gate: Gate) -> None:
    handle = await app.start(trip, "plain")
    await logged(handle, ActivityCancelRequested)
    assert gate.said == ["books plain"]
    gate.open()

    with pytest.raises(WorkflowFailedError, match="the card was refused"):
        await handle.result(timeout=60)
    assert gate.said == ["books plain", "booked plain", "unbooked plain"]
    told = await names(handle)
    assert told.index("ActivityCompleted") < told.index("CompensationScheduled") < told.index("WorkflowFailed")


async def test_a_retry_books_again_what_was_undone(app: Romancy, gate: Gate) -> None:
    gate.open()
    handle = await app.start(trip, "plain")
    for times in (1, 2):
        with pytest.raises(WorkflowFailedError):
            await handle.result(timeout=60)
        assert [gate.said.count(f"{what} plain") for what in ("booked", "unbooked")] == [times, times]
        if times == 1:
            await app.retry(handle.instance_id)
            handle = app.handle(handle.instance_id, trip)


@pytest.mark.parametrize("by", ["a worker", "a client"])
async def test_a_cancel_waits_for_a_plain_function_and_undoes_it(open_app: Open, gate: Gate, by: str) -> None:
    app, client = await open_app(), await open_app(worker=False)
    handle = await app.start(booking, "plain")
    await gate.hears("books plain")
    assert await (app if by == "a worker" else client).cancel(handle.instance_id)
    await logged(handle, ActivityCancelRequested)
    assert gate.said == ["books plain"]
    assert any("was told to stop" in reason for reason in await handle.explain())
    gate.open()

    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=60)
    assert gate.said == ["books plain", "booked plain", "unbooked plain"]


@pytest.mark.parametrize(
    ("kind", "said", "outcome"),
    [
        ("attempted", ["books attempted", "booked attempted", "unbooked attempted"], ActivityCompleted),
        (
            "with heartbeats",
            ["books with heartbeats", "stopped with heartbeats", "unbooked with heartbeats"],
            ActivityCancelled,
        ),
        ("by halves", ["books by halves", "booked half of by halves", "unbooked by halves"], ActivityCompleted),
    ],
)
async def test_it_is_undone_after_it_has_acted_or_stopped(
    app: Romancy, gate: Gate, kind: str, said: list[str], outcome: type[LogEvent]
) -> None:
    handle = await app.start(booking, kind)
    await gate.hears(f"books {kind}")
    await handle.cancel()
    await logged(handle, ActivityCancelRequested)
    gate.open()

    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=60)
    assert gate.said == said
    (ended,) = [one for one in await handle.history() if isinstance(one, ActivityCompleted | ActivityCancelled)]
    assert type(ended) is outcome
    assert getattr(ended, "unknown", False) is False


async def test_a_parent_waits_for_the_plain_function_of_its_child(app: Romancy, gate: Gate) -> None:
    handle = await app.start(with_a_child, "plain")
    await gate.hears("books plain")
    await logged(app.handle("kid"), ActivityCancelRequested)
    gate.open()

    with pytest.raises(WorkflowFailedError, match="the card was refused"):
        await handle.result(timeout=60)
    assert gate.said == ["books plain", "booked plain", "unbooked plain"]


async def test_a_body_behind_a_limit_goes_on_at_once_and_settles_at_its_end(app: Romancy, gate: Gate) -> None:
    handle = await app.start(within_a_limit, "plain")
    await gate.hears("goes on without plain")
    assert "booked plain" not in gate.said
    gate.open()

    with pytest.raises(WorkflowFailedError, match="and fails"):
        await handle.result(timeout=60)
    assert gate.said == ["books plain", "goes on without plain", "booked plain", "unbooked plain"]


async def test_the_next_round_begins_after_the_function_of_this_one_has_ended(app: Romancy, gate: Gate) -> None:
    handle = await app.start(in_rounds, 1)
    await gate.hears("books round 1")
    await handle.signal("next", None)
    await logged(handle, ActivityCancelRequested)
    assert gate.said == ["books round 1"]
    gate.open()

    assert await handle.result(timeout=60) == 2
    assert gate.said == ["books round 1", "booked round 1", "round 2"]


# ── workers that come and go ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_worker_that_stops_waits_for_nothing_and_the_next_one_does_not_know(
    storage_url: str, workflows: list[Any], open_app: Open, gate: Gate
) -> None:
    """The function may act after the other worker has taken over: the log says that nobody knows."""
    async with Romancy(storage_url, workflows=workflows, drain_timeout=0.0) as app:
        handle = await app.start(booking, "plain")
        await gate.hears("books plain")
        await handle.cancel()
        await logged(handle, ActivityCancelRequested)
    assert gate.said == ["books plain"]

    handle = (await open_app()).handle(handle.instance_id)
    with pytest.raises(WorkflowCancelledError, match="outcome unknown: book:1"):
        await handle.result(timeout=60)
    assert gate.said == ["books plain"]
    gate.open()


async def test_what_a_stopped_worker_had_begun_is_unknown_if_it_is_cancelled_before_it_begins_anew(
    storage_url: str, workflows: list[Any], open_app: Open, gate: Gate
) -> None:
    """It waits for the only slot of the other worker, which the first of the two has."""
    client = await open_app(worker=False)
    async with Romancy(storage_url, workflows=workflows, drain_timeout=0.0) as app:
        handles = [await app.start(booking, "plain") for _ in range(2)]
        await until(lambda: gate.said == ["books plain"] * 2)
    await open_app(max_activities=1)
    await until(lambda: gate.said == ["books plain"] * 3)
    for handle in handles:
        assert await client.cancel(handle.instance_id)

    async def unknown() -> bool:
        ends = [await client.history(handle.instance_id) for handle in handles]
        return any(
            isinstance(event, WorkflowCancelled) and event.unknown == ("book:1",) for log in ends for event in log
        )

    await until(unknown)
    gate.open()


@pytest.mark.parametrize("scarce", ["max_activities", "max_threads"])
async def test_a_worker_that_stops_says_which_instances_it_has_interrupted(
    storage_url: str, workflows: list[Any], open_app: Open, gate: Gate, scarce: str
) -> None:
    """Not the one whose activity waited for a slot or a thread."""
    client = await open_app(worker=False)
    one: dict[str, Any] = {scarce: 1}
    async with Romancy(storage_url, workflows=workflows, drain_timeout=0.0, **one) as app:
        begun = await app.start(booking, "plain")
        await gate.hears("books plain")
        waiting = await app.start(booking, "attempted")
        await logged(waiting, ActivityScheduled)

    for handle, interrupted in ((begun, True), (waiting, False)):
        log = await client.history(handle.instance_id)
        assert [interrupted] == [event.interrupted for event in log if isinstance(event, OwnerChanged)]


@pytest.mark.parametrize("begun", [True, False], ids=["that ran", "that waited for a thread"])
async def test_a_cancellation_behind_a_drop_tells_what_is_known(open_app: Open, gate: Gate, *, begun: bool) -> None:
    """A worker drops attempts when it drains. A timer of the workflow may cancel the activity right after that."""
    app = await open_app(max_threads=1)
    first = await app.start(booking, "plain")
    await gate.hears("books plain")
    second = await app.start(booking, "plain")
    worker = app._access.worker
    assert worker is not None
    attempts, live = worker.driver.attempts, worker.driver.live
    handle = first if begun else second
    await until(lambda: handle.instance_id in live and bool(live[handle.instance_id].attempts))
    await until(lambda: begun or any(map(attempts.waits_for_place, asyncio.all_tasks())))

    attempts.stop_all(live[handle.instance_id])
    await app.cancel(handle.instance_id)
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=60)

    assert [begun] == [event.unknown for event in await handle.history() if isinstance(event, ActivityCancelled)]


async def test_an_idle_activity_is_known_to_have_done_nothing(open_app: Open, gate: Gate) -> None:
    """It waited for its next attempt when it was cancelled."""
    app = await open_app()
    handle = await app.start(calls_hesitates)
    await until(lambda: "hesitates" in gate.said)

    async def failed_once() -> bool:
        return "ActivityAttemptFailed" in await names(handle)

    await until(failed_once)
    await handle.cancel()
    with pytest.raises(WorkflowCancelledError, match=r"was cancelled$"):
        await handle.result(timeout=60)
    assert [False] == [event.unknown for event in await handle.history() if isinstance(event, ActivityCancelled)]


@activity(retry=RetryPolicy.fixed(9, 3600))
def hesitates() -> None:
    gates[-1].say("hesitates")
    raise ValueError("not yet")


calls_hesitates = calling(hesitates)


@workflow
async def leaves_it(ctx: WorkflowContext) -> str:
    asyncio.create_task(book("plain")).cancel()
    working = asyncio.create_task(book("plain"))
    await ctx.wait_event("enough")
    working.cancel()
    return "done"


async def test_a_workflow_that_returns_waits_for_nothing(app: Romancy, gate: Gate) -> None:
    handle = await app.start(leaves_it)
    await gate.hears("books plain")
    await handle.signal("enough", None)

    assert await handle.result(timeout=60) == "done"
    assert gate.said == ["books plain"]
    assert [1] == [1 for event in await handle.history() if isinstance(event, WorkflowCompleted)]
