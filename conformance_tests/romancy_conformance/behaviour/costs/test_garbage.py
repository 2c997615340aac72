"""What has ended is gone by itself: nothing of it waits for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.core import Run
from romancy.engine.instance import Live
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio


@activity
async def small_step(number: int) -> int:
    return number


@workflow
async def small_line(ctx: WorkflowContext) -> int:
    return sum([await small_step(number) for number in range(3)])


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> int:
    return sum(type(thing) in (Run, Live) for thing in gc.get_objects())  # a proxy may refuse to return its class


async def test_ended_workflows_leave_no_garbage(app: Romancy, no_collector: None) -> None:
    await app.run(small_line)
    before = alive()

    handles = await app.start_many([small_line.bind() for _ in range(20)])
    assert await asyncio.gather(*[handle.result() for handle in handles]) == [3] * 20

    await until(lambda: alive() <= before)
