"""Draining a worker while mail comes for what it has: what it had goes on elsewhere, and nothing is done again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, activity, activity_context, workflow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Open = Callable[..., Awaitable[Romancy]]

pytestmark = pytest.mark.anyio

begun: list[str] = []
gates: list[asyncio.Event] = []


@activity
async def drain_step() -> str:
    begun.append(activity_context().instance_id)
    await gates[-1].wait()
    return "done"


@workflow
async def drain_flow(ctx: WorkflowContext) -> str:
    return await drain_step()


@pytest.fixture(autouse=True)
def gate() -> asyncio.Event:
    begun.clear()
    gates.append(asyncio.Event())
    return gates[-1]


async def test_mail_comes_while_a_step_is_let_end(open_app: Open, gate: asyncio.Event) -> None:
    app = await open_app()
    handle = await app.start(drain_flow)
    while not begun:  # noqa: ASYNC110 - an activity tells by a list
        await asyncio.sleep(0.01)
    draining = asyncio.create_task(app.drain(20))
    await asyncio.sleep(0.3)
    await handle.signal("unexpected", 1)
    await asyncio.sleep(0.3)
    gate.set()
    await asyncio.wait_for(draining, 30)

    other = await open_app()
    assert await other.handle(handle.instance_id, drain_flow).result(timeout=10) == "done"
    assert begun == [handle.instance_id]
