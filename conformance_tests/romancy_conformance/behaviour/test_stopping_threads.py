"""Plain functions that are asked to stop: their outcome is waited for before anything is undone."""

# Only a test that asks how many slots are free touches the worker of an app.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
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
    ActivityCancelled,
    ActivityCancelRequested,
    ActivityCompleted,
    ActivityScheduled,
    OwnerChanged,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
)
from romancy.engine.activities import runner
from romancy_conformance.behaviour.gates import Gate, logged, names
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy.core import LogEvent
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy.none()
gates: list[Gate] = []
"""The last one belongs to the running test."""


@pytest.fixture(autouse=True)
def gate() -> Iterator[Gate]:
    """Nothing waits at the gate of a test that has ended."""
    gates.append(Gate())
    yield gates[-1]
    gates[-1].open()


@compensation
def unbook(kind: str) -> None:
    gates[-1].say(f"unbooked {kind}")


@activity(compensation=unbook, retry=ONCE)
def book(kind: str) -> str:
    gates[-1].say(f"books {kind}")
    gates[-1].wait()
    gates[-1].say(f"booked {kind}")
    return kind


@activity(compensation=unbook, compensate="attempted", retry=ONCE)
def try_to_book(kind: str) -> str:
    gates[-1].say(f"books {kind}")
    gates[-1].wait()
    gates[-1].say(f"booked {kind}")
    return kind


@activity(compensation=unbook, retry=ONCE)
def book_by_halves(kind: str) -> str:
    """Look now and then whether it is to stop, and return what is done by then."""
    context = activity_context()
    gates[-1].say(f"books {kind}")
    while not context.cancelled:
        time.sleep(0.005)
    gates[-1].say(f"booked half of {kind}")
    return f"half of {kind}"


@activity(compensation=unbook, compensate="attempted", retry=ONCE)
def book_with_heartbeats(kind: str) -> str:
    gates[-1].say(f"books {kind}")
    try:
        while True:
            time.sleep(0.005)
            activity_context().heartbeat(kind)
    except asyncio.CancelledError:
        gates[-1].say(f"stopped {kind}")
        raise


@activity(retry=ONCE)
def pay(name: str) -> None:
    while f"books {name}" not in gates[-1].said:
        time.sleep(0.005)
    raise ConnectionError("the card was refused")


BOOKINGS: dict[str, Any] = {
    "plain": book, "attempted": try_to_book, "by halves": book_by_halves, "with heartbeats": book_with_heartbeats,
}  # fmt: skip


@workflow
async def trip(ctx: WorkflowContext, kind: str) -> None:
    await asyncio.gather(BOOKINGS[kind](kind), pay(kind))


@workflow
async def booking(ctx: WorkflowContext, kind: str) -> str:
    return str(await BOOKINGS[kind](kind))


@workflow
async def with_a_child(ctx: WorkflowContext, kind: str) -> None:
    await asyncio.gather(booking.options(instance_id="kid")(kind), pay(kind))


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


# ── what does not answer ────────────────────────────────────────────────────────────────────────────────────────────


async def given_up(handle: Any) -> None:
    """Wait for the end of a workflow whose function waits at the gate."""
    with pytest.raises(WorkflowFailedError, match="outcome unknown: book:1"):
        await handle.result(timeout=60)


async def test_one_that_does_not_answer_is_named_and_asked_about_before_a_retry(
    app: Romancy, gate: Gate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runner, "_LAST_WORD", 0.2)
    handle = await app.start(trip, "plain")
    await given_up(handle)
    log = await handle.history()
    assert [True] == [event.unknown for event in log if isinstance(event, ActivityCancelled)]
    assert [("book:1",)] == [event.unknown for event in log if isinstance(event, WorkflowFailed)]
    assert gate.said == ["books plain"]
    assert any("Attempt 1 of book:1 was told to stop" in reason for reason in await handle.explain())

    gate.open()
    await until(lambda: "which nothing waited for any more, returned" in caplog.text)
    assert not any("Attempt 1" in reason for reason in await handle.explain())
    assert gate.said == ["books plain", "booked plain"]
    with pytest.raises(UsageError, match=r"unknown whether the work of book:1@1 stands"):
        await app.retry(handle.instance_id)
    assert await app.retry_many() == []


@pytest.mark.parametrize("unsure", ["done", "undone"])
async def test_a_retry_repeats_the_key_of_what_is_done_and_not_of_what_is_undone(
    app: Romancy, gate: Gate, monkeypatch: pytest.MonkeyPatch, unsure: Any
) -> None:
    monkeypatch.setattr(runner, "_LAST_WORD", 0.2)
    handle = await app.start(trip, "plain")
    await given_up(handle)
    gate.open()
    await gate.hears("booked plain")
    await app.retry(handle.instance_id, unsure=unsure)
    with pytest.raises(WorkflowFailedError, match=r"the card was refused$"):
        await app.handle(handle.instance_id, trip).result(timeout=60)

    assert gate.said[2:] == ["books plain", "booked plain", "unbooked plain"]
    called = [one for one in await handle.history() if isinstance(one, ActivityScheduled) and one.name == "book"]
    first, second = [one.key for one in called]
    assert first == ""
    assert bool(second) is (unsure == "done")


async def test_one_that_does_not_answer_is_undone_if_it_may_be(
    app: Romancy, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_LAST_WORD", 0.2)
    handle = await app.start(booking, "attempted")
    await gate.hears("books attempted")
    await handle.cancel()

    with pytest.raises(WorkflowCancelledError, match=r"was cancelled$"):
        await handle.result(timeout=60)
    assert gate.said == ["books attempted", "unbooked attempted"]
    assert [()] == [event.unknown for event in await handle.history() if isinstance(event, WorkflowCancelled)]


@activity(executor="process", retry=ONCE)
def works_elsewhere(note: str) -> None:
    Path(note).write_text("works")
    time.sleep(600)


@workflow
async def elsewhere(ctx: WorkflowContext, note: str) -> None:
    await works_elsewhere(note)


async def test_a_process_is_killed_and_its_outcome_is_unknown(app: Romancy, tmp_path: Path) -> None:
    file = tmp_path / "note"
    handle = await app.start(elsewhere, str(file))
    await until(file.exists)
    await handle.cancel()

    with pytest.raises(WorkflowCancelledError, match="outcome unknown: works_elsewhere:1"):
        await handle.result(timeout=60)
    assert [True] == [event.unknown for event in await handle.history() if isinstance(event, ActivityCancelled)]


# ── its place ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("places", [{"max_activities": 1}, {"max_threads": 1}])
async def test_its_place_is_taken_until_it_has_returned(
    open_app: Open,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    places: dict[str, int],
) -> None:
    monkeypatch.setattr(runner, "_LAST_WORD", 0.1)
    app = await open_app(**places)
    handle = await app.start(booking, "plain")
    await gate.hears("books plain")
    await handle.cancel()
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=60)

    other = await app.start(booking, "by halves")
    await logged(other, ActivityScheduled)
    await until(lambda: "that were given up" in caplog.text)
    assert gate.said == ["books plain"]
    gate.open()
    await gate.hears("books by halves")
    await other.cancel()
    with pytest.raises(WorkflowCancelledError):
        await other.result(timeout=60)
    assert gate.said[:3] == ["books plain", "booked plain", "books by halves"]


async def test_a_termination_waits_for_nothing_and_its_place_is_taken(open_app: Open, gate: Gate) -> None:
    app = await open_app(max_activities=2)
    handle = await app.start(booking, "plain")
    await gate.hears("books plain")
    await handle.cancel()
    await logged(handle, ActivityCancelRequested)
    await app.terminate(handle.instance_id)
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=60)

    assert gate.said == ["books plain"]
    assert app._worker is not None
    attempts = app._worker.driver.attempts
    await until(lambda: attempts.spare == 1)
    gate.open()
    await until(lambda: attempts.spare == 2)


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


async def test_a_worker_that_stops_says_which_instances_it_has_interrupted(
    storage_url: str, workflows: list[Any], open_app: Open, gate: Gate
) -> None:
    """Not the one whose activity waited for a slot."""
    client = await open_app(worker=False)
    async with Romancy(storage_url, workflows=workflows, drain_timeout=0.0, max_activities=1) as app:
        begun = await app.start(booking, "plain")
        await gate.hears("books plain")
        waiting = await app.start(booking, "attempted")
        await logged(waiting, ActivityScheduled)

    for handle, interrupted in ((begun, True), (waiting, False)):
        log = await client.history(handle.instance_id)
        assert [interrupted] == [event.interrupted for event in log if isinstance(event, OwnerChanged)]


async def test_an_idle_activity_is_known_to_have_done_nothing(open_app: Open, gate: Gate) -> None:
    """It waited for its next attempt when it was cancelled."""
    app = await open_app()
    handle = await app.start(hesitating)
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


@workflow
async def hesitating(ctx: WorkflowContext) -> None:
    await hesitates()


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
