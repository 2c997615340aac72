"""Hooks about waits: what a workflow waits for, and how each wait ended."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from romancy import (
    EventTimeoutError,
    Status,
    TerminalError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    workflow,
)
from romancy.hooks import Hook, WaitBegan, WaitEnded, WorkflowEnded
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy.hooks import Happening
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


class Waits(Hook):
    """Records waits, in short."""

    def __init__(self) -> None:
        self.began: list[WaitBegan] = []
        self.ended: list[WaitEnded] = []
        self.over = 0

    def happened(self, event: Happening, /) -> None:
        if isinstance(event, WaitBegan):
            self.began.append(event)
        elif isinstance(event, WaitEnded):
            self.ended.append(event)
        elif isinstance(event, WorkflowEnded):
            self.over += 1

    def story(self) -> list[str]:
        """Return each wait that began, and how it ended."""
        ends = {event.wait_id: event.outcome for event in self.ended}
        return [f"{event.kind} {event.name} {ends.get(event.wait_id, '-')}" for event in self.began]


@workflow
async def ends(ctx: WorkflowContext, how: str) -> None:
    if how == "fails":
        raise TerminalError("no")
    if how == "stays":
        await ctx.wait_event("never")


@workflow
async def waits_for_all(ctx: WorkflowContext) -> None:
    await ctx.sleep(0.01)
    await ctx.wait_event("go")
    talk = ctx.channel("talk")
    await talk.subscribe()
    await talk.receive()
    with pytest.raises(EventTimeoutError):
        await ctx.wait_event("late", timeout=0.01)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await ctx.wait_event("limited")
    async with asyncio.timeout(100):
        await ends("well")
    with pytest.raises(WorkflowFailedError):
        await ends("fails")
    child = await ctx.start(ends, "stays")
    child.cancel()
    with pytest.raises(WorkflowCancelledError):
        await child.result()


@workflow
async def waits_twice(ctx: WorkflowContext) -> None:
    await ctx.wait_event("go")
    await ctx.wait_event("go")


@workflow
async def in_rounds(ctx: WorkflowContext, left: int) -> None:
    task = asyncio.ensure_future(ctx.wait_event("go"))
    await ctx.sleep(0.01)
    task.cancel()
    if left:
        in_rounds.recur(left - 1)


async def test_every_kind_of_wait(open_app: Open) -> None:
    waits = Waits()
    app = await open_app(hooks=[waits])
    handle = await app.start(waits_for_all)
    await app.signal(handle.instance_id, "go")
    await until(lambda: any(event.kind == "channel" for event in waits.began))
    await app.channel("talk").publish("hello", headers={"tenant": "t"})
    await handle.result(timeout=60)
    await until(lambda: waits.over == 4)

    own = Waits()
    own.began = [event for event in waits.began if event.instance_id == handle.instance_id]
    own.ended = [event for event in waits.ended if event.instance_id == handle.instance_id]
    assert own.story() == [
        "timer  fired",
        "event go received",
        "channel talk received",
        "event late timed_out",
        "event limited cancelled",
        "limit  fired",
        "child ends completed",
        "limit  cancelled",
        "child ends failed",
        "child ends cancelled",
    ]
    assert {event.workflow_name for event in own.ended} == {"waits_for_all"}
    assert all(event.duration is not None and event.duration >= timedelta() for event in own.ended)
    due = [f"{event.kind} {event.name}".strip() for event in own.began if event.due_at is not None]
    assert due == ["timer", "event late", "limit", "limit"]
    assert [dict(event.message_headers) for event in own.ended if event.kind == "channel"] == [{"tenant": "t"}]


async def test_another_worker_tells_the_end(open_app: Open) -> None:
    first, second = Waits(), Waits()
    app = await open_app(hooks=[first])
    handle = await app.start(waits_twice)
    await status_is(app, handle.instance_id, Status.WAITING)
    await app.drain()
    other = await open_app(hooks=[second])
    await other.signal(handle.instance_id, "go")
    await other.signal(handle.instance_id, "go")
    await other.handle(handle.instance_id).result(timeout=60)
    await until(lambda: second.over)

    assert first.story() == ["event go -"]
    assert [(event.wait_id, event.outcome) for event in second.ended] == [("go:1", "received"), ("go:2", "received")]
    assert [event.wait_id for event in second.began] == ["go:2"]
    assert second.ended[0].duration is None
    assert second.ended[1].duration is not None


async def test_waits_of_several_runs_are_kept_apart(open_app: Open) -> None:
    waits = Waits()
    app = await open_app(hooks=[waits])
    await app.run(in_rounds, 2)
    await until(lambda: waits.over)

    assert [event.run for event in waits.ended if event.kind == "timer"] == [1, 2, 3]
    assert {(event.kind, event.outcome) for event in waits.ended} <= {("timer", "fired"), ("event", "cancelled")}
