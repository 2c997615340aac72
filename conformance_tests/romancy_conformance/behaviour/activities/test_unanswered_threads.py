"""Plain functions that do not stop when they are asked to: what their workflow says of them, and their places."""

# Only a test that asks how many slots are free touches the worker of an app.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    Romancy,
    Status,
    UsageError,
    WorkflowCancelledError,
    WorkflowFailedError,
    activity,
)
from romancy.core import (
    ActivityCancelled,
    ActivityCancelRequested,
    ActivityScheduled,
    WorkflowCancelled,
    WorkflowFailed,
)
from romancy.engine.activities import runner
from romancy.engine.activities.places import Kind
from romancy_conformance.behaviour.bookings import ONCE, booking, gates, trip, with_a_child
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.gates import Gate, logged
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def gate() -> Iterator[Gate]:
    """Nothing waits at the gate of a test that has ended."""
    gates.append(Gate())
    yield gates[-1]
    gates[-1].open()


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
    assert await app.retry_many(everything=True) == []


@pytest.mark.parametrize("unsure", ["done", "undone"])
async def test_a_retry_repeats_the_key_of_what_is_done_and_not_of_what_is_undone(
    app: Romancy, gate: Gate, monkeypatch: pytest.MonkeyPatch, unsure: Any
) -> None:
    monkeypatch.setattr(runner, "_LAST_WORD", 0.2)
    handle = await app.start(trip, "plain")
    await given_up(handle)
    monkeypatch.undo()
    gate.open()
    await gate.hears("booked plain")
    await app.retry(handle.instance_id, unsure=unsure)
    with pytest.raises(WorkflowFailedError, match=r"the card was refused, after 1 attempt of pay:1$"):
        await app.handle(handle.instance_id, trip).result(timeout=60)

    assert gate.said[2:] == ["books plain", "booked plain", "unbooked plain"]
    called = [one for one in await handle.history() if isinstance(one, ActivityScheduled) and one.name == "book"]
    first, second = [one.key for one in called]
    assert first == ""
    assert bool(second) is (unsure == "done")


async def test_a_retry_asks_about_the_child_of_a_parent_as_well(
    app: Romancy, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_LAST_WORD", 0.2)
    handle = await app.start(with_a_child, "plain")
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)
    monkeypatch.undo()
    gate.open()

    with pytest.raises(UsageError, match="unknown whether the work of book:1@1 of instance 'kid' stands"):
        await app.retry(handle.instance_id)
    await app.retry(handle.instance_id, unsure="undone")
    with pytest.raises(WorkflowFailedError):
        await app.handle(handle.instance_id, with_a_child).result(timeout=60)
    kept = await app.handle("kid").status() is Status.COMPLETED  # it had ended before its parent failed
    assert gate.said.count("booked plain") - gate.said.count("unbooked plain") == (2 if kept else 1)


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


calls_works_elsewhere = calling(works_elsewhere)


async def test_a_process_is_killed_and_its_outcome_is_unknown(app: Romancy, tmp_path: Path) -> None:
    file = tmp_path / "note"
    handle = await app.start(calls_works_elsewhere, str(file))
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
    assert app._access.worker is not None
    attempts = app._access.worker.driver.attempts
    await until(lambda: attempts.free(Kind.LOOP) == 1)
    gate.open()
    await until(lambda: attempts.free(Kind.LOOP) == 2)
