"""What an activity may not do as a body does: call another activity durably, or use the ctx of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy import WorkflowContext, WorkflowFailedError, activity, workflow
from romancy.core import ActivityAttemptFailed, ActivityScheduled, TimerStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

contexts: list[WorkflowContext] = []


@activity
async def called_inside(number: int) -> int:
    return number + 1


@activity
async def calls_inside(number: int) -> int:
    return await called_inside(number) + await called_inside(number)


@activity
async def calls_as_function(number: int) -> int:
    inner: int = await called_inside.fn(number)
    return inner


@workflow
async def inner_caller(ctx: WorkflowContext, number: int) -> int:
    return await calls_as_function(number) + await calls_inside(number)


USES: dict[str, Callable[[WorkflowContext], object]] = {
    "sleep": lambda ctx: ctx.sleep(1),
    "wait_event": lambda ctx: ctx.wait_event("never"),
    "report": lambda ctx: ctx.report(1),
    "uuid4": lambda ctx: ctx.uuid4(),
    "patched": lambda ctx: ctx.patched("new"),
}


@activity
async def uses_a_ctx(use: str) -> None:
    used = USES[use](contexts[-1])
    await used  # type: ignore[misc]


@activity
def uses_a_ctx_on_a_thread(use: str) -> None:
    USES[use](contexts[-1])


@workflow
async def lends_its_ctx(ctx: WorkflowContext, use: str, *, thread: bool = False) -> None:
    contexts.append(ctx)
    await (uses_a_ctx_on_a_thread if thread else uses_a_ctx)(use)


async def test_an_activity_that_calls_another_is_told_once_that_it_is_no_step(
    open_app: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("romancy.declaring.inner_calls._said", set[str]())
    app = await open_app(workflows=[inner_caller])
    handle = await app.start(inner_caller, 1)

    assert await handle.result(timeout=60) == 6
    steps = [event.name for event in await handle.history() if isinstance(event, ActivityScheduled)]
    assert steps == ["calls_as_function", "calls_inside"]
    (line,) = [one.getMessage() for one in caplog.records if "as a plain function" in one.getMessage()]
    assert line.startswith(f"instance {handle.instance_id}: activity calls_inside:1 calls activity called_inside")
    assert "called_inside.fn(...)" in line


async def test_a_plain_call_outside_of_everything_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert await calls_inside(1) == 4
    assert not caplog.records


@pytest.mark.parametrize(("use", "thread"), [*((use, False) for use in USES), ("uuid4", True), ("patched", True)])
async def test_a_ctx_in_an_activity_is_refused_at_once(
    open_app: Open,
    use: str,
    thread: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    app = await open_app(workflows=[lends_its_ctx])
    handle = await app.start(lends_its_ctx, use, thread=thread)

    with pytest.raises(WorkflowFailedError, match=r"the ctx of workflow lends_its_ctx was used outside of its body"):
        await handle.result(timeout=60)
    log = await handle.history()
    assert not [event for event in log if isinstance(event, (TimerStarted, ActivityAttemptFailed))]
