"""Lifecycle hooks: their events and their order, blocks around activities, and that they affect no other code."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
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
    activity,
    compensation,
    workflow,
)
from romancy.hooks import (
    ActivityEnded,
    ActivityStarted,
    Hook,
    WaitBegan,
    WaitEnded,
    WorkflowContinued,
    WorkflowEnded,
    WorkflowStarted,
    WorkflowStuck,
)
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

    from romancy.hooks import Happening
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

span: ContextVar[str] = ContextVar("span", default="none")
failures: dict[str, int] = {}


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    failures.clear()


class Recorder(Hook):
    """Records the calls of hooks, in short."""

    def __init__(self) -> None:
        self.told: list[Happening] = []

    def happened(self, event: Happening, /) -> None:
        self.told.append(event)

    def story(self) -> list[str]:
        """Return what was recorded, in a word or three for each call."""
        return [_short(event) for event in self.told]

    async def until_told(self, kind: type[Any]) -> None:
        """Wait until a call of this kind was recorded."""
        await until(lambda: any(isinstance(event, kind) for event in self.told))


def _short(event: Happening) -> str:
    match event:
        case ActivityStarted():
            return f"+ {event.activity_id} {event.attempt}"
        case ActivityEnded():
            return f"- {event.activity_id} {event.attempt} {event.outcome}"
        case WorkflowEnded():
            return event.status.value
        case WaitBegan():
            return f"waits {event.wait_id}"
        case WaitEnded():
            return f"waited {event.wait_id} {event.outcome}"
        case _:
            return type(event).__name__.removeprefix("Workflow").lower()


@activity(retry=RetryPolicy.fixed(3, 0.0))
async def step(name: str) -> str:
    failures[name] = failures.get(name, 0) - 1
    if failures[name] > 0:
        raise ConnectionError(f"{name} is not there")
    return f"{name} in {span.get()}"


@activity
def blocking(name: str) -> str:
    return f"{name} in {span.get()}"


@compensation
async def undo(name: str) -> None:
    failures[name] = 0


@activity(compensation=undo)
async def do(name: str) -> str:
    return name


@workflow
async def two_steps(ctx: WorkflowContext) -> list[str]:
    return [await step("a"), await blocking("b")]


@workflow
async def undone(ctx: WorkflowContext) -> None:
    await do("a")
    raise LookupError("not here")


@workflow
async def waits(ctx: WorkflowContext) -> str:
    await do("a")
    await ctx.wait_event("go")
    return await step("b")


@workflow
async def in_rounds(ctx: WorkflowContext, left: int) -> str:
    await step(str(left))
    if left:
        in_rounds.recur(left - 1)
    return "done"


@workflow
async def leaves_the_loop(ctx: WorkflowContext) -> None:
    await asyncio.to_thread(print)


calls_two_steps = calling(two_steps)


async def test_a_story_from_start_to_end(open_app: Open) -> None:
    recorder = Recorder()
    app = await open_app(hooks=[recorder])
    failures["a"] = 2
    before = datetime.now(UTC) - timedelta(seconds=60)

    handle = await app.start(two_steps)
    assert await handle.result(timeout=60) == ["a in none", "b in none"]
    await recorder.until_told(WorkflowEnded)

    assert recorder.story() == [
        "started",
        "+ step:1 1",
        "- step:1 1 retrying",
        "+ step:1 2",
        "- step:1 2 completed",
        "+ blocking:1 1",
        "- blocking:1 1 completed",
        "completed",
    ]
    assert {event.instance_id for event in recorder.told} == {handle.instance_id}
    assert {event.workflow_name for event in recorder.told} == {"two_steps"}
    assert {event.run for event in recorder.told} == {1}
    assert all(before < event.at for event in recorder.told)
    retrying, ended = recorder.told[2], recorder.told[-1]
    assert isinstance(retrying, ActivityEnded)
    assert (retrying.activity_name, retrying.error_type) == ("step", "ConnectionError")
    assert retrying.next_attempt_at is not None
    assert retrying.duration >= timedelta()
    assert isinstance(ended, WorkflowEnded)
    assert ended.duration is not None
    assert timedelta() <= ended.duration < timedelta(seconds=60)


async def test_a_failure_and_what_it_undoes(open_app: Open) -> None:
    recorder = Recorder()
    app = await open_app(hooks=[recorder])

    with pytest.raises(WorkflowFailedError):
        await app.run(undone)
    await recorder.until_told(WorkflowEnded)

    began = [event for event in recorder.told if isinstance(event, ActivityStarted)]
    assert [event.compensates for event in began] == [None, "do:1"]
    ended = recorder.told[-1]
    assert isinstance(ended, WorkflowEnded)
    assert (ended.status, ended.error_type, ended.error_message) == (Status.FAILED, "LookupError", "not here")


async def test_a_cancellation(open_app: Open) -> None:
    recorder = Recorder()
    app = await open_app(hooks=[recorder])
    handle = await app.start(waits)
    await status_is(app, handle.instance_id, Status.WAITING)

    await handle.cancel("no longer wanted")
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=60)
    await recorder.until_told(WorkflowEnded)

    ended = recorder.told[-1]
    assert isinstance(ended, WorkflowEnded)
    assert (ended.status, ended.reason) == (Status.CANCELLED, "no longer wanted")


async def test_an_end_by_force(open_app: Open) -> None:
    recorder = Recorder()
    app = await open_app(hooks=[recorder])
    failures["a"] = -1000
    handle = await app.start(in_rounds, 10**9)
    await recorder.until_told(ActivityStarted)

    await app.terminate(handle.instance_id, reason="enough")
    await recorder.until_told(WorkflowEnded)

    ended = recorder.told[-1]
    assert isinstance(ended, WorkflowEnded)
    assert (ended.status, ended.reason) == (Status.CANCELLED, "enough")


async def test_a_hook_is_told_of_a_stuck_instance(open_app: Open) -> None:
    recorder = Recorder()
    app = await open_app(hooks=[recorder])
    handle = await app.start(leaves_the_loop)
    await status_is(app, handle.instance_id, Status.STUCK)
    await recorder.until_told(WorkflowStuck)

    (stuck,) = [event for event in recorder.told if isinstance(event, WorkflowStuck)]
    assert (stuck.instance_id, stuck.workflow_name) == (handle.instance_id, "leaves_the_loop")
    assert "activity" in stuck.reason


async def test_a_replay_tells_nothing(open_app: Open) -> None:
    first = Recorder()
    app = await open_app(hooks=[first])
    handle = await app.start(waits)
    await status_is(app, handle.instance_id, Status.WAITING)
    await app.drain()

    second = Recorder()
    other = await open_app(hooks=[second])
    await other.signal(handle.instance_id, "go")
    assert await other.handle(handle.instance_id).result(timeout=60) == "b in none"
    await second.until_told(WorkflowEnded)

    assert first.story() == ["started", "+ do:1 1", "- do:1 1 completed", "waits go:1"]
    assert second.story() == ["waited go:1 received", "+ step:1 1", "- step:1 1 completed", "completed"]


async def test_what_an_app_without_a_worker_starts_begins_where_it_runs(open_app: Open) -> None:
    recorder, idle = Recorder(), Recorder()
    front = await open_app(worker=False, hooks=[idle])
    handle = await front.start(two_steps)
    delayed = await front.start(two_steps.options(delay=0.2))
    await open_app(hooks=[recorder])
    await handle.result(timeout=60)
    await delayed.result(timeout=60)
    await until(lambda: recorder.story().count("completed") >= 2)

    assert idle.told == []
    assert recorder.story().count("started") == 2


async def test_a_child_names_its_parent(open_app: Open) -> None:
    recorder = Recorder()
    app = await open_app(hooks=[recorder])
    handle = await app.start(calls_two_steps)
    await handle.result(timeout=60)

    started = [event for event in recorder.told if isinstance(event, WorkflowStarted)]
    assert [event.parent_id for event in started] == [None, handle.instance_id]


async def test_runs_are_numbered(open_app: Open) -> None:
    recorder = Recorder()
    app = await open_app(hooks=[recorder])
    assert await app.run(in_rounds, 2) == "done"
    await recorder.until_told(WorkflowEnded)

    numbered = [
        (event.run, _short(event))
        for event in recorder.told
        if isinstance(event, WorkflowStarted | WorkflowContinued | WorkflowEnded)
    ]
    assert numbered == [
        (1, "started"),
        (1, "continued"),
        (2, "started"),
        (2, "continued"),
        (3, "started"),
        (3, "completed"),
    ]
    assert [event.run for event in recorder.told if isinstance(event, ActivityEnded)] == [1, 2, 3]


class Spans(Recorder):
    """A block around each attempt, in a context variable."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label
        self.left: list[str] = []

    def around_activity(self, attempt: ActivityStarted, /) -> AbstractContextManager[object]:
        return self._block(attempt)

    @contextmanager
    def _block(self, attempt: ActivityStarted) -> Generator[None]:
        token = span.set(f"{span.get()}/{self.label}:{attempt.activity_id}:{attempt.attempt}")
        try:
            yield
        except Exception as error:
            self.left.append(f"{attempt.activity_id} {type(error).__name__}")
            raise
        else:
            self.left.append(attempt.activity_id)
        finally:
            span.reset(token)


async def test_user_code_runs_inside_the_blocks_of_all_hooks(open_app: Open) -> None:
    outer, inner = Spans("o"), Spans("i")
    app = await open_app(hooks=[outer, inner])
    failures["a"] = 2

    assert await app.run(two_steps) == ["a in none/o:step:1:2/i:step:1:2", "b in none/o:blocking:1:1/i:blocking:1:1"]
    assert outer.left == inner.left == ["step:1 ConnectionError", "step:1", "blocking:1"]


class Broken(Hook):
    """Fails in every call."""

    def __init__(self, where: str) -> None:
        self.where = where

    def happened(self, event: Happening, /) -> None:
        if self.where == "happened":
            raise RuntimeError("the hook is broken")

    def around_activity(self, attempt: ActivityStarted, /) -> AbstractContextManager[object]:
        if self.where == "around":
            raise RuntimeError("the hook is broken")
        return _Block(self.where)


class _Block:
    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        if self._where == "enter":
            raise RuntimeError("the hook is broken")

    def __exit__(self, *_: object) -> bool:
        if self._where == "exit":
            raise RuntimeError("the hook is broken")
        return True  # it would suppress the activity's exception


@pytest.mark.parametrize("where", ["happened", "around", "enter", "exit", "swallow"])
async def test_a_broken_hook_disturbs_nobody(open_app: Open, where: str, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    app = await open_app(hooks=[Broken(where), recorder])
    failures["a"] = 2

    with caplog.at_level(logging.ERROR, "romancy"):
        assert await app.run(two_steps) == ["a in none", "b in none"]
        await recorder.until_told(WorkflowEnded)

    assert len(recorder.told) == 8
    complaints = [record.getMessage() for record in caplog.records]
    assert (where != "swallow") == any(text.startswith("hook Broken failed") for text in complaints)


async def test_what_is_no_hook_is_refused(storage_url: str) -> None:
    with pytest.raises(UsageError, match="Hook"):
        Romancy(storage_url, workflows=[], hooks=[print])  # type: ignore[list-item]
