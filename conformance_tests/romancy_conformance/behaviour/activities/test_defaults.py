"""Calls with a default: what the workflow gets, and what the log, the hooks and `romancy show` say of the failure."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    RetryPolicy,
    Romancy,
    TerminalError,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.core import DefaultTaken
from romancy.hooks import ActivityEnded, Hook
from romancy.insight import Timeline
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import until
from romancy_conformance.changing import changed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.hooks import Happening
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

NEWS = EventType("news", str)
attempts: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    attempts.clear()


@activity(retry=RetryPolicy.fixed(2, 0.0))
async def rate(item: str) -> float:
    attempts.append(item)
    if item != "lamp":
        raise ConnectionError(f"no rate for {item}")
    return 4.5


@activity(retry=RetryPolicy.none())
def rate_on_a_thread(item: str) -> float:
    raise TerminalError(item)


@activity(retry=RetryPolicy.none(), executor="process")
def rate_in_a_process(item: str) -> float:
    raise LookupError(item)


@activity(retry=RetryPolicy.none(), timeout=0.01)
async def too_slow() -> float:
    await asyncio.Event().wait()
    return 1.0


@activity(retry=RetryPolicy.none())
async def publishes_and_fails() -> int:
    await activity_context().publish(NEWS, "never sent")
    await activity_context().session()
    raise LookupError("after all")


@activity(retry=RetryPolicy.none())
async def returns_what_cannot_be_stored() -> int:
    return "five"  # type: ignore[return-value]  # pyright: ignore[reportReturnType] - the mistake itself


@workflow
async def rated(ctx: WorkflowContext) -> list[float | None]:
    guess = rate.or_default(3.0)
    return [await guess("lamp"), await guess("chair"), await rate.or_default(None)("table")]


@workflow
async def in_all_ways(ctx: WorkflowContext) -> list[Any]:
    return [
        await rate_on_a_thread.or_default(1.0)("a"),
        await rate_in_a_process.or_default(2.0)("b"),
        await too_slow.or_default(3.0)(),
        await publishes_and_fails.or_default(4)(),
        await returns_what_cannot_be_stored.or_default(5)(),
    ]


@activity(retry=RetryPolicy.none())
async def writes() -> str:
    await activity_context().session()
    return "written"


@workflow
async def in_a_session(ctx: WorkflowContext) -> str:
    return await writes.or_default("the default")()


@workflow
async def fails_later(ctx: WorkflowContext) -> float | None:
    found = await rate.or_default(None)("chair")
    await ctx.wait_event("go")
    await rate("table")
    return found


@compensation
async def releases(item: str) -> None:
    attempts.append(f"released {item}")


@activity(retry=RetryPolicy.none(), compensation=releases, compensate="attempted")
async def reserves(item: str) -> str:
    raise ConnectionError(item)


@activity(compensation=releases)
async def holds(item: str) -> str:
    if item == "chair":
        raise TerminalError(item)
    return item


@workflow
async def undoes(ctx: WorkflowContext) -> None:
    await holds.or_default("none")("lamp")
    await holds.or_default("none")("chair")
    assert "none" == await reserves.or_default("none")("table")
    raise TerminalError("enough")


@workflow
async def waits_for_ever(ctx: WorkflowContext) -> str:
    return await stands_still.or_default("the default")()


@activity
async def stands_still() -> str:
    attempts.append("stands still")
    await asyncio.Event().wait()
    return "moved"


class Recorder(Hook):
    def __init__(self) -> None:
        self.ends: list[tuple[str, str, str | None]] = []

    def happened(self, event: Happening, /) -> None:
        if isinstance(event, ActivityEnded):
            self.ends.append((event.activity_id, event.outcome, event.error_message))


async def test_after_the_last_attempt_the_call_returns_its_default(open_app: Open) -> None:
    recorder = Recorder()
    app = await open_app(hooks=[recorder])
    handle = await app.start(rated)

    assert [4.5, 3.0, None] == await handle.result(timeout=60)
    assert ["lamp", "chair", "chair", "table", "table"] == attempts
    log = await app.history(handle.instance_id)
    assert ["rate:2", "rate:3"] == [event.id for event in log if isinstance(event, DefaultTaken)]
    failed = "failed, its default returned"
    steps = Timeline.of(log).steps
    assert ["completed", failed, failed] == [step.ended_as for step in steps]
    assert [None, "no rate for chair", "no rate for table"] == [step.error and step.error.message for step in steps]
    assert [
        ("rate:1", "completed", None),
        ("rate:2", "retrying", "no rate for chair"),
        ("rate:2", "failed", "no rate for chair"),
        ("rate:3", "retrying", "no rate for table"),
        ("rate:3", "failed", "no rate for table"),
    ] == recorder.ends


async def test_whatever_the_last_failure_was(app: Romancy) -> None:
    """What the failed attempt wrote and published takes no effect, as after any failure."""
    handle = await app.start(in_all_ways)

    assert [1.0, 2.0, 3.0, 4, 5] == await handle.result(timeout=60)


class WithUnableSessions(WrappedStore):
    """Its transactions cannot be committed any more, whatever is tried."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.services = store.services.wrapped(sessions=lambda sessions: changed(sessions, begin=self._begin))

    @asynccontextmanager
    async def _begin(self, **options: Any) -> AsyncGenerator[Any]:
        async with self._store.services.sessions.begin(**options) as session:
            yield changed(session, commit=refused)


async def refused(*_: object, **__: object) -> None:
    raise UsageError("this transaction has ended")


async def test_a_session_that_cannot_be_committed_is_such_a_failure(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrap_stores(monkeypatch, WithUnableSessions)
    app = await open_app()

    assert "the default" == await asyncio.wait_for(app.run(in_a_session), 60)


async def test_a_retry_of_the_workflow_gets_the_default_that_was_recorded(app: Romancy) -> None:
    handle = await app.start(fails_later)
    await handle.signal("go")
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)
    attempts.clear()

    await app.retry(handle.instance_id)

    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)
    assert ["table", "table"] == attempts


async def test_the_call_is_undone_as_one_that_failed(app: Romancy) -> None:
    with pytest.raises(WorkflowFailedError, match="enough"):
        await app.run(undoes)

    assert ["released table", "released lamp"] == attempts


async def test_a_cancellation_gets_no_default(app: Romancy) -> None:
    handle = await app.start(waits_for_ever)
    await until(lambda: attempts == ["stands still"])
    await handle.cancel()

    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=60)
    assert not [event for event in await app.history(handle.instance_id) if isinstance(event, DefaultTaken)]
