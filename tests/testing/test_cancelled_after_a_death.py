"""An attempt stops when it is cancelled, and another one at the same work has died: nobody knows what that one did."""

from __future__ import annotations

import asyncio

import pytest

from romancy import WorkflowCancelledError, WorkflowContext, activity, compensation, workflow
from romancy.core import ActivityCancelled, WorkflowCancelled
from romancy.testing import TestApp

pytestmark = pytest.mark.anyio

begun: list[int] = []
undone: list[int] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    begun.clear()
    undone.clear()


@compensation
async def cancels_booking(number: int) -> None:
    undone.append(number)


@activity(compensation=cancels_booking)
async def books(number: int) -> None:
    begun.append(number)
    await asyncio.Event().wait()


@workflow
async def trip(ctx: WorkflowContext) -> None:
    await books(1)


async def until_begun(times: int) -> None:
    while len(begun) < times:  # noqa: ASYNC110 - the activity knows no test
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("deaths", [0, 1, 2])
async def test_what_the_dead_have_done_is_unknown(deaths: int) -> None:
    async with TestApp([trip]) as app:
        handle = await app.start(trip)
        for death in range(1, deaths + 1):
            await until_begun(death)
            await app.crash()
        await until_begun(deaths + 1)
        await app.cancel(handle.instance_id)
        with pytest.raises(WorkflowCancelledError):
            await handle.result()
        history = await handle.history()

    (cancelled,) = [event for event in history if isinstance(event, ActivityCancelled)]
    (end,) = [event for event in history if isinstance(event, WorkflowCancelled)]
    assert cancelled.unknown is (deaths > 0)
    assert (list(end.unknown), undone) == (["books:1"] if deaths else [], [])
