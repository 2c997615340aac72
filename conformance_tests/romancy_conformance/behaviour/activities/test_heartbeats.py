"""Attempts that hang: attempts without heartbeats are stopped, their details are kept, processes are killed."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from romancy import (
    ActivityContext,
    Handle,
    HeartbeatTimeoutError,
    PayloadTooLargeError,
    RetryExhaustedError,
    RetryPolicy,
    Romancy,
    SerializationError,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy.core import ActivityAttemptFailed
from romancy.engine.host import started
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

TWICE = RetryPolicy.fixed(2, 0.0)
told: list[object] = []
given_up = threading.Event()


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    told.clear()
    given_up.clear()


@activity(heartbeat_timeout=0.3, retry=RetryPolicy.fixed(3, 0.0), pass_context=True)
async def copy_rows(ctx: ActivityContext) -> list[object]:
    """The first attempt reports its progress and hangs; the second hangs without a report; the third continues."""
    if ctx.attempt == 1:
        ctx.heartbeat("row", 1)
        ctx.heartbeat("row", 2)
    if ctx.attempt < 3:
        await asyncio.Event().wait()
    return [*ctx.heartbeat_details, ctx.attempt]


calls_copy_rows = calling(copy_rows)


@activity(heartbeat_timeout=1.0, retry=RetryPolicy.none())
async def slow_but_alive() -> str:
    for _ in range(10):
        await asyncio.sleep(0.2)
        activity_context().heartbeat()
    return "alive"


calls_slow_but_alive = calling(slow_but_alive)


@activity(heartbeat_timeout=0.2, retry=TWICE)
async def silent() -> None:
    await asyncio.Event().wait()


@workflow
async def hears_nothing(ctx: WorkflowContext) -> list[str]:
    try:
        await silent()
    except RetryExhaustedError as error:
        cause = error.__cause__
        return [type(cause).__name__, str(isinstance(cause, TimeoutError)), str(cause), str(error.attempts)]
    return ["heard"]


@activity(heartbeat_timeout=0.3, retry=TWICE)
def on_a_thread() -> str:
    """Its first attempt is silent for too long; when it reports again, it learns that it was given up."""
    context = activity_context()
    if context.attempt == 2:
        return "second"
    try:
        time.sleep(1.0)
        context.heartbeat()
    except asyncio.CancelledError:
        given_up.set()
        raise
    return "first"


calls_on_a_thread = calling(on_a_thread)


@activity(heartbeat_timeout=1.0, retry=RetryPolicy.none())
def thread_that_beats() -> str:
    for _ in range(10):
        time.sleep(0.2)
        activity_context().heartbeat()
    return "alive"


calls_thread_that_beats = calling(thread_that_beats)


@activity(retry=RetryPolicy.fixed(2, 1.0))
async def fails_once() -> tuple[object, ...]:
    context = activity_context()
    if context.attempt == 1:
        context.heartbeat({"page": 7})
        told.append("failed")
        raise ConnectionError("try again")
    return context.heartbeat_details


calls_fails_once = calling(fails_once)


@activity(retry=RetryPolicy.none())
async def tells_nonsense() -> list[str]:
    refusals: list[str] = []
    for details in (object(), "x" * 70_000):
        try:
            activity_context().heartbeat(details)
        except (SerializationError, PayloadTooLargeError) as error:
            refusals.append(f"{type(error).__name__}: {error}"[:60])
    return refusals


calls_tells_nonsense = calling(tells_nonsense)


async def failures(handle: Handle[object]) -> list[str]:
    """Return the attempts that failed and were to be repeated, as the log records them."""
    return [str(event.error) for event in await handle.history() if isinstance(event, ActivityAttemptFailed)]


async def test_an_attempt_that_falls_silent_is_tried_again_and_knows_what_was_told(app: Romancy) -> None:
    handle = await app.start(calls_copy_rows)

    assert await handle.result(timeout=60) == ["row", 2, 3]


async def test_one_that_gives_signs_of_life_may_take_as_long_as_it_likes(app: Romancy) -> None:
    assert await app.run(calls_slow_but_alive) == "alive"


async def test_silence_has_an_error_of_its_own(app: Romancy) -> None:
    kind, is_timeout, text, attempts = await app.run(hears_nothing)

    assert (HeartbeatTimeoutError.__name__, "True", "2") == (kind, is_timeout, attempts)
    assert "activity silent sent no heartbeat for 0.2 s" in text


async def test_a_thread_that_was_given_up_hears_of_it(app: Romancy) -> None:
    assert await app.run(calls_on_a_thread) == "second"
    assert await asyncio.to_thread(given_up.wait, 60)


async def test_a_thread_that_beats_is_left_alone(app: Romancy) -> None:
    assert await app.run(calls_thread_that_beats) == "alive"


async def test_what_was_told_is_known_to_the_next_worker(storage_url: str, open_app: Open) -> None:
    client = await open_app(worker=False)
    handle = await client.start(calls_fails_once)
    async with Romancy(storage_url, workflows=[calls_fails_once]):
        await until(lambda: failures(handle))

    await open_app()

    assert await handle.result(timeout=60) == ({"page": 7},)
    assert told == ["failed"]


async def test_what_cannot_be_told_is_refused_at_once(app: Romancy) -> None:
    unwritable, too_large = await app.run(calls_tells_nonsense)

    assert unwritable.startswith("SerializationError: heartbeat of activity tells_nonsense:1")
    assert too_large.startswith("PayloadTooLargeError: heartbeat of activity tells_nonsense:1")


# ── processes ───────────────────────────────────────────────────────────────────────────────────────────────────


@activity(executor="process", timeout=3.0, retry=TWICE)
def hangs_first(note: str) -> str:
    """Note the process and hang; with a note from an earlier attempt, return."""
    path = Path(note)
    if path.exists():
        return "second"
    path.write_text(str(os.getpid()))
    time.sleep(600)
    return "first"


@activity(executor="process", retry=RetryPolicy.none())
def takes_its_time(note: str) -> int:
    Path(note).write_text(str(os.getpid()))
    time.sleep(4.5)
    return os.getpid()


@activity(executor="process", retry=RetryPolicy.none())
def works_for_ever(note: str) -> None:
    Path(note).write_text(str(os.getpid()))
    time.sleep(600)


@activity(executor="process", retry=TWICE)
def dies_first(note: str) -> str:
    if Path(note).exists():
        return "second"
    Path(note).touch()
    os._exit(3)


@workflow
async def beside_each_other(ctx: WorkflowContext, folder: str) -> list[object]:
    return list(await asyncio.gather(hangs_first(f"{folder}/hangs"), takes_its_time(f"{folder}/works")))


@workflow
async def never_ends(ctx: WorkflowContext, folder: str) -> None:
    await works_for_ever(f"{folder}/works")


@workflow
async def loses_a_process(ctx: WorkflowContext, folder: str) -> str:
    return await dies_first(f"{folder}/died")


def corpse_or_nothing(pid: int) -> bool:
    """Whether the process has ended."""
    return started(pid) is None


async def written(path: Path) -> int:
    """Return the number in a file, once it is there."""
    await until(lambda: asyncio.to_thread(lambda: path.exists() and path.read_text()))
    return int(await asyncio.to_thread(path.read_text))


async def gone(pid: int) -> None:
    await until(lambda: asyncio.to_thread(corpse_or_nothing, pid))


async def test_a_time_out_kills_its_process_and_no_other(app: Romancy, tmp_path: Path) -> None:
    handle = await app.start(beside_each_other, str(tmp_path))
    hanging, working = await asyncio.gather(written(tmp_path / "hangs"), written(tmp_path / "works"))

    assert await handle.result(timeout=60) == ["second", working]
    await gone(hanging)


async def test_a_cancellation_kills_its_process(app: Romancy, tmp_path: Path) -> None:
    handle = await app.start(never_ends, str(tmp_path))
    working = await written(tmp_path / "works")

    await handle.cancel()

    await gone(working)


async def test_a_process_that_dies_is_replaced(app: Romancy, tmp_path: Path) -> None:
    handle = await app.start(loses_a_process, str(tmp_path))

    assert await handle.result(timeout=60) == "second"
    (failed,) = await failures(handle)
    assert "ended with exit code 3" in failed


async def test_closing_the_app_leaves_no_process_behind(storage_url: str, tmp_path: Path) -> None:
    async with Romancy(storage_url, workflows=[never_ends], drain_timeout=0.0) as app:
        await app.start(never_ends, str(tmp_path))
        working = await written(tmp_path / "works")

    await gone(working)
