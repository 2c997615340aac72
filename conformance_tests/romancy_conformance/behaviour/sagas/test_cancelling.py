"""Cancelling: requested once or repeatedly, by one caller or many, it is done once, and all callers are told."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from romancy import (
    RetryPolicy,
    Romancy,
    Status,
    WorkflowCancelledError,
    WorkflowContext,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.core import CancelRequested
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

done: list[str] = []
may_go_on: list[asyncio.Event] = []
"""The last one belongs to the running test."""


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    done.clear()


@compensation
async def undo_at_leisure(what: str) -> None:
    done.append(f"undo {what}")
    await may_go_on[-1].wait()


@activity(retry=RetryPolicy.none(), compensation=undo_at_leisure)
async def act(what: str) -> str:
    done.append(what)
    return what


@workflow
async def waits_for_ever(ctx: WorkflowContext) -> None:
    await act("a")
    await ctx.wait_event("never")


async def test_a_second_cancel_is_answered_and_changes_nothing(app: Romancy, open_app: Open) -> None:
    """While it is still being undone, by any worker: it is not undone twice, and the first reason stays."""
    may_go_on.append(asyncio.Event())
    client = await open_app(worker=False)
    handle = await app.start(waits_for_ever)
    await status_is(app, handle.instance_id, Status.WAITING)

    assert await handle.cancel("first")
    await until(lambda: "undo a" in done)
    assert await handle.cancel("second")
    assert await client.cancel(handle.instance_id, reason="third")
    assert await app.cancel_many() == [handle.instance_id]
    may_go_on[-1].set()

    with pytest.raises(WorkflowCancelledError, match="first"):
        await handle.result(timeout=60)
    assert done == ["a", "undo a"]
    assert ["first"] == [event.reason for event in await handle.history() if isinstance(event, CancelRequested)]
    before = await handle.history()
    assert [False, False] == [await handle.cancel("late"), await client.cancel(handle.instance_id)]
    assert [] == await app.cancel_many()
    assert before == await handle.history()


async def test_cancels_at_once_are_one(app: Romancy) -> None:
    may_go_on.append(asyncio.Event())
    may_go_on[-1].set()
    handle = await app.start(waits_for_ever)
    await status_is(app, handle.instance_id, Status.WAITING)

    asked = await asyncio.gather(*[handle.cancel(f"number {number}") for number in range(10)])

    with pytest.raises(WorkflowCancelledError, match="number"):
        await handle.result(timeout=60)
    assert any(asked)
    assert done == ["a", "undo a"]
    assert 1 == len([event for event in await handle.history() if isinstance(event, CancelRequested)])


@activity(retry=RetryPolicy.fixed(0, 0.01))
async def fails_when_cancelled(how: str) -> None:
    if how == "with a session":
        await activity_context().session()
    done.append("begun")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise ConnectionError("the clean-up found the connection closed") from None


@activity(retry=RetryPolicy.fixed(0, 0.01))
def fails_on_a_thread_when_cancelled() -> None:
    done.append("begun")
    while True:
        time.sleep(0.01)
        try:
            activity_context().heartbeat()
        except asyncio.CancelledError:
            raise ConnectionError("as above") from None


@workflow
async def over_one_that_fails(ctx: WorkflowContext, how: str) -> None:
    await act("a")
    if how == "on a thread":
        await fails_on_a_thread_when_cancelled()
    await fails_when_cancelled(how)


@pytest.mark.backends(
    "postgres", "mysql", "mariadb", "tidb", "vitess"
)  # nobody writes a cancellation while a session excludes others
async def test_an_activity_that_fails_in_its_session_while_it_is_cancelled(app: Romancy) -> None:
    await cancelled_while_it_runs(app, "with a session")


@pytest.mark.parametrize("how", ["without a session", "on a thread"])
async def test_an_activity_that_fails_while_it_is_cancelled_is_not_tried_again(app: Romancy, how: str) -> None:
    await cancelled_while_it_runs(app, how)


async def cancelled_while_it_runs(app: Romancy, how: str) -> None:
    may_go_on.append(asyncio.Event())
    may_go_on[-1].set()
    handle = await app.start(over_one_that_fails, how)
    await until(lambda: "begun" in done)
    await handle.cancel()

    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=20)
    assert done == ["a", "begun", "undo a"]
