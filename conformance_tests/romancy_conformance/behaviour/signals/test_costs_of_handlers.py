"""A message to a body with handlers costs in the log what an awaited signal costs, and at most one event more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import EventType, Romancy, WorkflowContext, workflow

if TYPE_CHECKING:
    from romancy import Workflow

pytestmark = pytest.mark.anyio

Tick = EventType("ch.tick", int)


@workflow
async def ch_waits(ctx: WorkflowContext, messages: int) -> int:
    got = [(await ctx.wait_event(Tick)).data for _ in range(messages)]
    return sum(got)


@workflow
async def ch_handles(ctx: WorkflowContext, messages: int) -> int:
    got: list[int] = []

    async def tick(number: int) -> None:
        got.append(number)

    async with ctx.handling(Tick.by(tick)):
        await ctx.until(lambda: len(got) == messages)
    return sum(got)


async def events_of(app: Romancy, flow: Workflow[[int], int], messages: int) -> int:
    handle: Any = await app.start(flow, messages)
    for _ in range(messages):
        await handle.signal(Tick, 1)
    assert await handle.result(timeout=60) == messages
    return sum(type(event).__name__ != "OwnerChanged" for event in await handle.history())


async def test_a_handled_message_is_at_most_one_event_more_than_an_awaited_one(app: Romancy) -> None:
    awaited = await events_of(app, ch_waits, 12) - await events_of(app, ch_waits, 2)
    handled = await events_of(app, ch_handles, 12) - await events_of(app, ch_handles, 2)
    assert handled <= awaited + 10
