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
    workflow,
)
from romancy.core import CancelRequested
from romancy_conformance.behaviour.cast import charge, does, record
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


async def test_a_second_cancel_is_answered_and_changes_nothing(app: Romancy, open_app: Open) -> None:
    """While it is still being undone, by any worker: it is not undone twice, and the first reason stays."""
    record.gates["refund charge"] = asyncio.Event()
    client = await open_app(worker=False)
    handle = await app.start(does, ["charge", "wait go"])
    await status_is(app, handle.instance_id, Status.WAITING)

    assert await handle.cancel("first")
    await until(lambda: "refund charge" in record.names())
    assert await handle.cancel("second")
    assert await client.cancel(handle.instance_id, reason="third")
    assert await app.cancel_many(everything=True) == [handle.instance_id]
    record.gates["refund charge"].set()

    with pytest.raises(WorkflowCancelledError, match="first"):
        await handle.result(timeout=60)
    assert record.names() == ["charge", "refund charge"]
    assert ["first"] == [event.reason for event in await handle.history() if isinstance(event, CancelRequested)]
    before = await handle.history()
    assert [False, False] == [await handle.cancel("late"), await client.cancel(handle.instance_id)]
    assert [] == await app.cancel_many(everything=True)
    assert before == await handle.history()


async def test_cancels_at_once_are_one(app: Romancy) -> None:
    handle = await app.start(does, ["charge", "wait go"])
    await status_is(app, handle.instance_id, Status.WAITING)

    asked = await asyncio.gather(*[handle.cancel(f"number {number}") for number in range(10)])

    with pytest.raises(WorkflowCancelledError, match="number"):
        await handle.result(timeout=60)
    assert any(asked)
    assert record.names() == ["charge", "refund charge"]
    assert 1 == len([event for event in await handle.history() if isinstance(event, CancelRequested)])


@activity(retry=RetryPolicy.fixed(0, 0.01))
async def fails_when_cancelled(how: str) -> None:
    if how == "with a session":
        await activity_context().session()
    record.do("begun")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise ConnectionError("the clean-up found the connection closed") from None


@activity(retry=RetryPolicy.fixed(0, 0.01))
def fails_on_a_thread_when_cancelled() -> None:
    record.do("begun")
    while True:
        time.sleep(0.01)
        try:
            activity_context().heartbeat()
        except asyncio.CancelledError:
            raise ConnectionError("as above") from None


@workflow
async def over_one_that_fails(ctx: WorkflowContext, how: str) -> None:
    await charge("charge")
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
    handle = await app.start(over_one_that_fails, how)
    await until(lambda: "begun" in record.names())
    await handle.cancel()

    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=20)
    assert record.names() == ["charge", "begun", "refund charge"]
