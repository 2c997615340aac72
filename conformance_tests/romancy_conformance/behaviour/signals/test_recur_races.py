"""Messages that come while one run ends and the next begins go to the next one or are dropped."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from romancy import Romancy, WorkflowCancelledError, WorkflowContext, activity, activity_context, workflow
from romancy_conformance.behaviour.slow_stores import SOON, Slow, stores
from romancy_conformance.behaviour.waiting import until

pytestmark = pytest.mark.anyio

__all__ = ["stores"]

doors: list[asyncio.Event] = []
passed = threading.Event()
"""The second activity ends."""


@activity
async def recur_first() -> None:
    """Its end is being written when the other calls arrive."""


@activity
async def recur_second(*, in_session: bool) -> None:
    await doors[-1].wait()
    passed.set()
    if in_session:
        await activity_context().session()


@activity
async def recur_takes(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "in time"


@workflow
async def recur_cancelled(ctx: WorkflowContext, run: int) -> str:
    if run == 1:
        await asyncio.gather(recur_first(), recur_second(in_session=False))
        recur_cancelled.recur(2)
    return await recur_takes(60.0)


@workflow
async def recur_timed(ctx: WorkflowContext, run: int) -> str:
    if run == 1:
        async with asyncio.timeout(1.5):
            await asyncio.gather(recur_first(), recur_second(in_session=True))
        recur_timed.recur(2)
    try:
        async with asyncio.timeout(30):
            return await recur_takes(0.3)
    except TimeoutError:
        return "too early"


async def under_way(app: Romancy, kind: Any, store: Slow) -> Any:
    """The first activity's end is being written; what follows waits for it."""
    doors.append(asyncio.Event())
    passed.clear()
    store.free.clear()
    handle = await app.start(kind, 1)
    await asyncio.wait_for(store.waits.wait(), SOON)
    doors[-1].set()
    return handle


async def test_a_cancellation(app: Romancy, stores: list[Slow]) -> None:
    handle = await under_way(app, recur_cancelled, stores[0])
    await until(passed.is_set)
    await handle.cancel()
    await asyncio.wait_for(stores[0].brought.wait(), SOON)
    stores[0].free.set()

    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=SOON)


async def test_a_timer(app: Romancy, stores: list[Slow]) -> None:
    handle = await under_way(app, recur_timed, stores[0])
    await asyncio.sleep(1.8)
    stores[0].free.set()

    assert await handle.result(timeout=SOON) == "in time"
