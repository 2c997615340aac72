"""What has ended is gone by itself: nothing of it waits for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, Workflow, WorkflowContext, activity, workflow
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


small: ContextVar[int] = ContextVar("small", default=0)


async def small_undo() -> None: ...


@activity(compensation=small_undo)
async def small_number() -> int:
    return small.get()


@workflow
async def small_context(ctx: WorkflowContext) -> int:
    small.set(1)
    return sum(await asyncio.gather(*[small_number() for _ in range(3)]))


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> int:
    return sum(type(thing) in (Run, Live) for thing in gc.get_objects())  # a proxy may refuse to return its class


@pytest.mark.parametrize("wf", [small_line, small_context])
async def test_ended_workflows_leave_no_garbage(app: Romancy, no_collector: None, wf: Workflow[[], int]) -> None:
    await app.run(wf)
    before = alive()

    handles = await app.start_many([wf.bind() for _ in range(20)])
    assert await asyncio.gather(*[handle.result() for handle in handles]) == [3] * 20

    await until(lambda: alive() <= before)
