"""Plain functions on threads: how many run at once, from when their time counts, and what they may not ask for."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    ActivityContext,
    RetryExhaustedError,
    RetryPolicy,
    Romancy,
    Status,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.core import ActivityAttemptFailed, ActivityFailed, ActivityScheduled, CompensationFailed
from romancy.engine.activities import runner
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.publishing import published
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy import Handle
    from romancy.core import LogEvent
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy.none()
LONGEST_WAIT = 60.0


class Notes:
    """What the functions of one test did, and the gate at which some of them wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self.most = 0
        self.said: list[str] = []
        self.gate = threading.Event()

    def begin(self) -> None:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)

    def end(self) -> None:
        with self._lock:
            self._running -= 1

    def wait(self) -> None:
        assert self.gate.wait(LONGEST_WAIT)


notes: list[Notes] = []
"""The last one belongs to the running test."""


@pytest.fixture(autouse=True)
def note() -> Iterator[Notes]:
    """Clear the notes of the test before; after the test, nothing waits at its gate."""
    notes.append(Notes())
    yield notes[-1]
    notes[-1].gate.set()


async def logged(handle: Handle[Any], kind: type[LogEvent]) -> list[Any]:
    """Return the events of this kind, once there is one."""
    async with asyncio.timeout(LONGEST_WAIT):
        while True:
            found = [event for event in await handle.history() if isinstance(event, kind)]
            if found:
                return found
            await asyncio.sleep(0.01)


# ── how many, and from when their time counts ───────────────────────────────────────────────────────────────────


@activity(timeout=1.0, retry=ONCE)
def takes_a_moment(number: int) -> int:
    mine = notes[-1]
    mine.begin()
    time.sleep(0.05)
    mine.end()
    return number


@workflow
async def many_moments(ctx: WorkflowContext, count: int) -> list[int]:
    return list(await asyncio.gather(*map(takes_a_moment, range(count))))


@activity(retry=ONCE)
def waits_at_the_gate(name: str) -> str:
    mine = notes[-1]
    mine.said.append(f"{name} begins")
    mine.wait()
    mine.said.append(f"{name} ends")
    return name


calls_waits_at_the_gate = calling(waits_at_the_gate)


@activity(timeout=0.5, retry=ONCE)
def too_slow(name: str) -> str:
    mine = notes[-1]
    mine.said.append(f"{name} begins")
    mine.wait()
    mine.said.append(f"{name} ends")
    return name


@workflow
async def runs_out_of_time(ctx: WorkflowContext, name: str) -> str:
    try:
        return await too_slow(name)
    except RetryExhaustedError as error:
        return f"{error.attempts} {type(error.__cause__).__name__}"


@activity(retry=ONCE)
def says(name: str) -> str:
    notes[-1].said.append(name)
    return name


calls_says = calling(says)


@activity(heartbeat_timeout=0.3, retry=ONCE)
def gives_signs_of_life(name: str) -> str:
    activity_context().heartbeat()
    return name


calls_gives_signs_of_life = calling(gives_signs_of_life)


@activity(retry=ONCE)
async def needs_no_thread(name: str) -> str:
    return name


calls_needs_no_thread = calling(needs_no_thread)


@activity(timeout=1.0, retry=ONCE)
async def is_never_ready(name: str) -> str:
    await asyncio.Event().wait()
    return name


@workflow
async def never_ready(ctx: WorkflowContext, name: str) -> str:
    try:
        return await is_never_ready(name)
    except RetryExhaustedError as error:
        return f"{error.attempts} {type(error.__cause__).__name__}"


@activity(heartbeat_timeout=0.3, retry=ONCE)
async def is_silent(name: str) -> str:
    await asyncio.Event().wait()
    return name


@workflow
async def unheard_of(ctx: WorkflowContext, name: str) -> str:
    try:
        return await is_silent(name)
    except RetryExhaustedError as error:
        return f"{error.attempts} {type(error.__cause__).__name__}"


async def test_the_wait_for_a_thread_is_not_charged(open_app: Open, note: Notes) -> None:
    """They wait until one that began to count after them has run out of the same time."""
    app = await open_app(max_threads=2)
    holding = [await app.start(calls_waits_at_the_gate, name) for name in ("one", "two")]
    await until(lambda: len(note.said) == 2)
    handle = await app.start(many_moments, 10)
    await logged(handle, ActivityScheduled)
    assert await app.run(never_ready, "three") == "1 ActivityTimeoutError"
    assert note.most == 0
    note.gate.set()

    assert await handle.result(timeout=LONGEST_WAIT) == list(range(10))
    assert [await each.result(timeout=LONGEST_WAIT) for each in holding] == ["one", "two"]
    assert note.most == 2
    assert [] == [event for event in await handle.history() if isinstance(event, ActivityAttemptFailed)]


async def test_the_time_of_what_runs_is_charged_and_its_thread_is_free_when_it_ends(
    open_app: Open, note: Notes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_LAST_WORD", 0.2)
    app = await open_app(max_threads=1)
    slow = await app.start(runs_out_of_time, "slow")
    assert await slow.result(timeout=LONGEST_WAIT) == "1 ActivityTimeoutError"

    other = await app.start(calls_says, "other")
    await logged(other, ActivityScheduled)
    assert await app.run(calls_needs_no_thread, "later") == "later"
    assert note.said == ["slow begins"]
    note.gate.set()

    assert await other.result(timeout=LONGEST_WAIT) == "other"
    assert note.said == ["slow begins", "slow ends", "other"]
    assert "all 1 threads run functions that were given up" in caplog.text


async def test_one_cancelled_while_it_waits_for_a_thread_never_begins(open_app: Open, note: Notes) -> None:
    app = await open_app(max_threads=1)
    first = await app.start(calls_waits_at_the_gate, "first")
    await until(lambda: note.said == ["first begins"])
    second = await app.start(calls_says, "second")
    third = await app.start(calls_says, "third")
    for waiting in (second, third):
        await logged(waiting, ActivityScheduled)

    assert await second.cancel()
    with pytest.raises(WorkflowCancelledError):
        await second.result(timeout=LONGEST_WAIT)
    assert note.said == ["first begins"]
    note.gate.set()

    assert [await handle.result(timeout=LONGEST_WAIT) for handle in (first, third)] == ["first", "third"]
    assert note.said == ["first begins", "first ends", "third"]


async def test_one_that_waits_for_a_thread_is_not_silent(open_app: Open, note: Notes) -> None:
    app = await open_app(max_threads=1)
    first = await app.start(calls_waits_at_the_gate, "first")
    await until(lambda: note.said == ["first begins"])
    second = await app.start(calls_gives_signs_of_life, "second")
    await logged(second, ActivityScheduled)
    assert await app.run(unheard_of, "third") == "1 HeartbeatTimeoutError"  # as long as the second one may be silent
    note.gate.set()

    assert [await handle.result(timeout=LONGEST_WAIT) for handle in (first, second)] == ["first", "second"]


async def test_an_app_closes_while_activities_wait_for_a_thread(
    storage_url: str, open_app: Open, workflows: list[Any], note: Notes
) -> None:
    async with Romancy(storage_url, workflows=workflows, max_threads=1, drain_timeout=0.0) as app:
        await app.start(calls_waits_at_the_gate, "first")
        await until(lambda: note.said == ["first begins"])
        waiting = await app.start(calls_says, "second")
        await logged(waiting, ActivityScheduled)
    assert note.said == ["first begins"]

    again = (await open_app()).handle(waiting.instance_id, calls_says)
    assert await again.result(timeout=LONGEST_WAIT) == "second"
    assert note.said.count("second") == 1
    note.gate.set()  # the app at the end does not wait for the first one


# ── what a plain function may not ask for, and what it may raise ────────────────────────────────────────────────


@activity(retry=ONCE)
def asks(what: str) -> None:
    context: Any = activity_context()
    if what == "publish":
        context.publish("greeted", "ann")
    else:
        context.send("greeted", "ann")


@activity(retry=ONCE, pass_context=True)
def publishes(ctx: ActivityContext) -> None:
    ctx.publish("greeted", "ann")  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]


@activity(executor="process", retry=ONCE)
def asks_elsewhere() -> None:
    activity_context()


@workflow
async def asking(ctx: WorkflowContext, what: str) -> list[str]:
    call = {"given": publishes, "process": asks_elsewhere}.get(what)
    try:
        await (asks(what) if call is None else call())
    except RetryExhaustedError as error:
        return [error.error_type, str(error.__cause__)]
    return ["no error"]


@pytest.mark.parametrize("what", ["publish", "send", "given"])
async def test_what_has_to_be_awaited_is_refused_in_a_plain_function(app: Romancy, store: Store, what: str) -> None:
    kind, text = await app.run(asking, what)

    assert kind == f"{UsageError.__module__}.{UsageError.__qualname__}"
    assert "is a plain function" in text
    assert "async def" in text
    assert [] == await published(store)


async def test_a_function_on_a_process_has_no_context(app: Romancy) -> None:
    kind, text = await app.run(asking, "process")

    assert kind == f"{UsageError.__module__}.{UsageError.__qualname__}"
    assert "asks_elsewhere runs on a process of its own" in text


@compensation(retry=ONCE)
def announces(name: str) -> None:
    context: Any = activity_context()
    context.publish("undone", name)


@activity(compensation=announces)
async def can_be_undone(name: str) -> str:
    return name


@workflow
async def undone(ctx: WorkflowContext) -> None:
    await can_be_undone("ann")
    raise LookupError("from here on all is undone")


async def test_a_plain_compensation_is_refused_it_as_well(app: Romancy, store: Store) -> None:
    handle = await app.start(undone)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=LONGEST_WAIT)

    (failed,) = await logged(handle, CompensationFailed)
    assert failed.error.type == f"{UsageError.__module__}.{UsageError.__qualname__}"
    assert [] == await published(store)


@activity(retry=ONCE)
def runs_out_of_items() -> object:
    return next(iter([]))


calls_runs_out_of_items = calling(runs_out_of_items)


async def test_a_stop_iteration_fails_the_attempt(app: Romancy) -> None:
    """No future can hold one, so it would be lost; in an `async def`, Python itself makes it a RuntimeError."""
    handle = await app.start(calls_runs_out_of_items)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=LONGEST_WAIT)

    (failed,) = await logged(handle, ActivityFailed)
    assert (failed.error.type, failed.error.message) == ("RuntimeError", "runs_out_of_items raised StopIteration")


@activity(timeout=0.2, retry=ONCE)
def wants_to_be_called() -> None:
    mine = notes[-1]
    mine.wait()
    try:
        activity_context().after_commit(lambda: mine.said.append("called"))
    except asyncio.CancelledError:
        mine.said.append("given up")
        raise


@workflow
async def calls_too_late(ctx: WorkflowContext) -> str:
    try:
        await wants_to_be_called()
    except RetryExhaustedError as error:
        return type(error.__cause__).__name__
    return "in time"


async def test_a_thread_that_was_given_up_can_have_nothing_called(
    app: Romancy, note: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_LAST_WORD", 0.2)
    handle = await app.start(calls_too_late)
    assert await handle.result(timeout=LONGEST_WAIT) == "ActivityTimeoutError"
    assert await handle.status() is Status.COMPLETED
    note.gate.set()

    await until(lambda: note.said)
    assert note.said == ["given up"]
