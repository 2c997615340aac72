"""The limits of an attempt: what returns after one counts, what does not is unknown, and the next attempt waits."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    ActivityTimeoutError,
    HeartbeatTimeoutError,
    RegistrationError,
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
from romancy.core import (
    ActivityAttemptFailed,
    ActivityCompleted,
    ActivityFailed,
    CompensationCompleted,
    WorkflowFailed,
)
from romancy.engine.activities import runner
from romancy.hooks import ActivityEnded, Hook, WorkflowEnded
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.gates import Gate, logged
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy.hooks import Happening
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy.none()
TWICE = RetryPolicy.fixed(2, 0.0)
SHORT = 0.1
gates: list[Gate] = []
"""The last one belongs to the running test."""


@pytest.fixture(autouse=True)
def gate() -> Iterator[Gate]:
    """Nothing waits at the gate of a test that has ended."""
    gates.append(Gate())
    yield gates[-1]
    gates[-1].open()


# ── attempts that go on after their limit ───────────────────────────────────────────────────────────────────────────


@compensation
async def refund(kind: str) -> None:
    gates[-1].say(f"refunded {kind}")


def _stop_was_asked() -> None:
    while not activity_context().cancelled:
        time.sleep(0.005)


@activity(timeout=SHORT, retry=TWICE, compensation=refund)
async def pays_async(kind: str) -> str:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        gates[-1].say(f"paid {kind}")
    return "paid"


@activity(timeout=SHORT, retry=TWICE, compensation=refund)
def pays_plain(kind: str) -> str:
    _stop_was_asked()
    gates[-1].say(f"paid {kind}")
    return "paid"


@activity(heartbeat_timeout=SHORT, retry=TWICE, compensation=refund)
def pays_silently(kind: str) -> str:
    _stop_was_asked()
    gates[-1].say(f"paid {kind}")
    return "paid"


@activity(timeout=SHORT, retry=ONCE)
async def fails_late(kind: str) -> str:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise ConnectionError("the line is dead") from None
    return "never"


@activity(timeout=SHORT, retry=ONCE)
def fails_late_plain(kind: str) -> str:
    _stop_was_asked()
    raise ConnectionError("the line is dead")


@activity(timeout=SHORT, retry=ONCE)
def stops_plain(kind: str) -> str:
    while True:
        time.sleep(0.005)
        activity_context().heartbeat()


@activity(timeout=SHORT, retry=ONCE)
async def stops(kind: str) -> str:
    await asyncio.Event().wait()
    return "never"


@activity(retry=ONCE)
async def limits_itself(kind: str) -> str:
    async with asyncio.timeout(SHORT):
        await asyncio.Event().wait()
    return "never"


CALLS: dict[str, Any] = {
    one.name: one
    for one in (
        pays_async, pays_plain, pays_silently, fails_late, fails_late_plain, stops, stops_plain, limits_itself,
    )
}  # fmt: skip


@workflow
async def calls_by_kind(ctx: WorkflowContext, kind: str, ends: str) -> str:
    answer = str(await CALLS[kind](kind))
    if ends == "fails":
        raise LookupError("after that")
    return answer


@workflow
async def catching(ctx: WorkflowContext, kind: str, what: str) -> list[str]:
    classes: dict[str, type[Exception]] = {
        "TimeoutError": TimeoutError,
        "ActivityTimeoutError": ActivityTimeoutError,
        "RetryExhaustedError": RetryExhaustedError,
        "HeartbeatTimeoutError": HeartbeatTimeoutError,
    }
    try:
        await CALLS[kind](kind)
    except classes[what] as error:
        return [str(isinstance(error, RetryExhaustedError)), type(error.__cause__).__name__, str(error.__cause__)]
    except Exception as error:  # noqa: BLE001 - that is the question
        return ["not caught", type(error).__name__]
    return ["no error"]


@pytest.mark.parametrize("kind", ["pays_async", "pays_plain", "pays_silently"])
async def test_what_returns_after_its_limit_is_recorded_and_not_repeated(
    app: Romancy, gate: Gate, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    handle = await app.start(calls_by_kind, kind, "returns")

    assert await handle.result(timeout=60) == "paid"
    assert gate.said == [f"paid {kind}"]
    assert f"attempt 1 at {kind}:1 returned" in caplog.text
    assert "s after its limit" in caplog.text
    assert [1] == [event.attempt for event in await handle.history() if isinstance(event, ActivityCompleted)]


@pytest.mark.parametrize("kind", ["pays_async", "pays_plain", "pays_silently"])
async def test_what_returned_after_its_limit_is_undone_as_anything_else(app: Romancy, gate: Gate, kind: str) -> None:
    handle = await app.start(calls_by_kind, kind, "fails")
    with pytest.raises(WorkflowFailedError, match=r"after that$"):
        await handle.result(timeout=60)

    assert gate.said == [f"paid {kind}", f"refunded {kind}"]


@pytest.mark.parametrize("kind", ["fails_late", "fails_late_plain"])
async def test_what_fails_after_its_limit_has_failed_with_its_own_error(
    app: Romancy, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    handle = await app.start(calls_by_kind, kind, "returns")
    with pytest.raises(WorkflowFailedError, match="ConnectionError: the line is dead"):
        await handle.result(timeout=60)

    assert f"attempt 1 at {kind}:1 failed with ConnectionError" in caplog.text
    (failed,) = [event for event in await handle.history() if isinstance(event, ActivityFailed)]
    assert not failed.unknown


@pytest.mark.parametrize("kind", ["stops", "stops_plain"])
@pytest.mark.parametrize("what", ["ActivityTimeoutError", "TimeoutError", "RetryExhaustedError"])
async def test_what_stops_at_its_limit_has_an_error_that_says_so(app: Romancy, kind: str, what: str) -> None:
    handle = await app.start(catching, kind, what)

    text = f"activity {kind} took longer than 0.1 s, its timeout"
    assert await handle.result(timeout=60) == ["True", "ActivityTimeoutError", text]
    (failed,) = [event for event in await handle.history() if isinstance(event, ActivityFailed)]
    assert (failed.error.type, failed.unknown) == ("romancy.errors.ActivityTimeoutError", False)


async def test_a_limit_inside_of_an_activity_is_none_of_the_engine(app: Romancy) -> None:
    answer = await app.run(catching, "limits_itself", "TimeoutError")
    assert answer == ["not caught", "RetryExhaustedError"]


# ── attempts that do not answer ─────────────────────────────────────────────────────────────────────────────────────


@activity(timeout=SHORT, retry=TWICE)
def works_on() -> int:
    attempt = activity_context().attempt
    gates[-1].say(f"begins {attempt}")
    if attempt == 1:
        gates[-1].wait()
        gates[-1].say("ends 1")
    return attempt


@activity(timeout=SHORT, retry=ONCE)
async def loops_on() -> None:
    while "enough" not in gates[-1].said:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)


@activity(timeout=SHORT, retry=ONCE)
async def loops_on_in_a_session() -> None:
    await activity_context().session()
    while "enough" not in gates[-1].said:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)


@activity(executor="process", timeout=0.5, retry=TWICE)
def works_elsewhere(note: str) -> int:
    if Path(note).exists():
        return 2
    Path(note).touch()
    time.sleep(600)
    return 1


STUBBORN: dict[str, Any] = {"on a thread": works_on, "async": loops_on, "in a session": loops_on_in_a_session}


@workflow
async def stubborn(ctx: WorkflowContext, kind: str) -> str:
    return str(await STUBBORN[kind]())


calls_works_elsewhere = calling(works_elsewhere)


class Listening(Hook):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Happening] = []

    def happened(self, event: Happening, /) -> None:
        self.told.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]


async def test_the_next_attempt_waits_until_the_outcome_is_unknown(
    app: Romancy, gate: Gate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    patience = 1.0
    monkeypatch.setattr(runner, "_LAST_WORD", patience)
    handle = await app.start(stubborn, "on a thread")
    await gate.hears("begins 1")
    began = time.monotonic()
    await gate.hears("begins 2")
    assert time.monotonic() - began >= patience
    assert await handle.result(timeout=60) == "2"

    (failed,) = [event for event in await handle.history() if isinstance(event, ActivityAttemptFailed)]
    assert failed.unknown
    assert "took longer than 0.1 s, its timeout, and it has not stopped 1 s later" in failed.error.message
    named = [reason for reason in await handle.explain() if reason.startswith("Attempt 1 of works_on:1 was told to")]
    assert "still runs in this process: it keeps a slot" in named[0]
    gate.open()
    await gate.hears("ends 1")
    await until(lambda: "which nothing waited for any more, returned" in caplog.text)
    assert not any("Attempt 1" in reason for reason in await handle.explain())


@activity(timeout=SHORT, retry=TWICE)
def copies(parts: int) -> list[int]:
    """At its limit, the heartbeat of the part that it has just copied raises."""
    context = activity_context()
    first = context.heartbeat_details[0] if context.heartbeat_details else 0
    for part in range(first, parts):
        if part == 2 and context.attempt == 1:
            _stop_was_asked()
        gates[-1].say(f"copied {part}")
        context.heartbeat(part + 1)
    return [context.attempt, first]


calls_copies = calling(copies)


async def test_the_next_attempt_knows_what_the_last_heartbeat_told(app: Romancy, gate: Gate) -> None:
    assert await app.run(calls_copies, 4) == [2, 3]
    assert gate.said == [f"copied {part}" for part in range(4)]


async def test_another_process_says_that_a_slot_may_be_kept(
    app: Romancy, open_app: Open, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_LAST_WORD", 0.1)
    client = await open_app(worker=False)
    handle = await app.start(stubborn, "on a thread")
    await handle.result(timeout=60)

    told = await client.explain(handle.instance_id)
    assert any("Attempt 1 of works_on:1 was told to stop and did not answer. Unless it has" in one for one in told)


@pytest.mark.parametrize("kind", ["async", "in a session"])
async def test_a_coroutine_that_ignores_its_limit_has_failed(
    open_app: Open, gate: Gate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    monkeypatch.setattr(runner, "_LAST_WORD", 0.1)
    hook = Listening()
    app = await open_app(hooks=[hook], max_activities=1)
    handle = await app.start(stubborn, kind)
    name = STUBBORN[kind].name
    with pytest.raises(WorkflowFailedError, match=f"ActivityTimeoutError.*; outcome unknown: {name}:1"):
        await handle.result(timeout=60)

    (failed,) = [event for event in await handle.history() if isinstance(event, ActivityFailed)]
    assert failed.unknown
    assert [(f"{name}:1",)] == [event.unknown for event in await handle.history() if isinstance(event, WorkflowFailed)]
    assert [True] == [event.unknown for event in hook.of(ActivityEnded)]
    assert [(f"{name}:1",)] == [event.unknown for event in hook.of(WorkflowEnded)]
    assert "all 1 slots (max_activities) are taken by activities that were given up" in caplog.text
    assert any("still runs in this process" in reason for reason in await handle.explain())
    gate.say("enough")
    await until(lambda: "and its slot is free" in caplog.text)
    assert await app.run(calls_by_kind, "pays_async", "returns") == "paid"


async def test_a_process_is_killed_at_its_limit_and_its_outcome_is_unknown(app: Romancy, tmp_path: Path) -> None:
    handle = await app.start(calls_works_elsewhere, str(tmp_path / "note"))

    assert await handle.result(timeout=60) == 2
    (failed,) = [event for event in await handle.history() if isinstance(event, ActivityAttemptFailed)]
    assert (failed.error.message, failed.unknown) == (
        "activity works_elsewhere took longer than 0.5 s, its timeout",
        True,
    )


# ── undos with a limit ──────────────────────────────────────────────────────────────────────────────────────────────


@activity(timeout=SHORT, retry=TWICE)
def gives_back(what: str) -> None:
    _stop_was_asked()
    gates[-1].say(f"gave {what} back")


@activity(retry=ONCE)
async def takes(what: str) -> None: ...


@workflow
async def undoing(ctx: WorkflowContext) -> None:
    await takes("a lamp")
    ctx.on_undo(gives_back, "a lamp")
    raise LookupError("and fails")


async def test_an_undo_that_ends_after_its_limit_has_undone_it(app: Romancy, gate: Gate) -> None:
    handle = await app.start(undoing)
    with pytest.raises(WorkflowFailedError, match=r"and fails$"):
        await handle.result(timeout=60)

    assert gate.said == ["gave a lamp back"]
    await logged(handle, CompensationCompleted)


# ── no limit at all ─────────────────────────────────────────────────────────────────────────────────────────────────


async def nothing() -> None: ...


def test_a_limit_of_no_time_is_refused() -> None:
    with pytest.raises(RegistrationError, match="the timeout of activity nothing must be longer than 0 s"):
        activity(timeout=0)(nothing)
    with pytest.raises(UsageError, match="the timeout of nothing must be longer than 0 s"):
        activity(nothing).options(timeout=0.0)
