"""No worker is there when a signal and a time-out come: the database's clock says which of them was the first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import EventTimeoutError, Romancy, Status, WorkflowContext, workflow
from romancy.core import MessageAwaited, MessageReceived
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy import Workflow
    from romancy_conformance.behaviour.opening import Open

    Known = list[Workflow[..., object]]

pytestmark = pytest.mark.anyio


@workflow
async def late_after_another(ctx: WorkflowContext, patience: float) -> list[str]:
    await ctx.wait_event("ready")
    try:
        return [(await ctx.wait_event("go", model=str, timeout=patience)).data]
    except EventTimeoutError:
        return ["nobody", (await ctx.wait_event("go", model=str)).data]


async def time_passes(url: str, seconds: float) -> None:
    """Wait until the database's clock has advanced."""
    store = create_store(url)
    await store.open()
    try:
        until = (await store.services.reading.census()).now + round(1_000_000 * seconds)
        async with asyncio.timeout(60):
            while (await store.services.reading.census()).now <= until:  # noqa: ASYNC110 - it is the database's clock
                await asyncio.sleep(0.001)
    finally:
        await store.close()


@pytest.mark.parametrize("patience", [0.001, 0.1], ids=["the signal is late", "the signal is in time"])
async def test_a_time_out_that_nobody_saw_passing(
    open_app: Open, storage_url: str, workflows: Known, patience: float
) -> None:
    """The wait counts from the time when the database took the signal that began it, as with a worker."""
    async with Romancy(storage_url, workflows=workflows) as app:
        await app.start(late_after_another.options(instance_id="late"), patience)
        await status_is(app, "late", Status.WAITING)
    front = await open_app(worker=False)
    await front.signal("late", "ready")
    if patience == 0.001:
        await time_passes(storage_url, patience)
    await front.signal("late", "go", "went")
    await time_passes(storage_url, patience)

    app = await open_app()

    heard = await app.handle("late", late_after_another).result(timeout=60)
    history = await app.history("late")
    (due,) = [event.due for event in history if isinstance(event, MessageAwaited) and event.due is not None]
    ready, went = [event.at for event in history if isinstance(event, MessageReceived)]
    assert due == ready + round(1_000_000 * patience)
    if patience == 0.001:
        assert went > due
    assert heard == (["went"] if went <= due else ["nobody", "went"])
