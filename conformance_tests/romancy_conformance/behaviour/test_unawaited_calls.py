"""A workflow that drops a call fails with its name and line, wherever it is driven, and undoes what it did."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import (
    Status,
    UnawaitedCallError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    compensation,
    workflow,
)
from romancy.engine import decide
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

UNAWAITED = f"{UnawaitedCallError.__module__}.{UnawaitedCallError.__qualname__}"
undone: list[str] = []


@compensation
async def give_back(item: str) -> None:
    undone.append(item)


@activity(compensation=give_back)
async def take(item: str) -> str:
    return item


@workflow
async def forgets(ctx: WorkflowContext) -> str:
    await take("desk")
    take("chair")  # type: ignore[unused-coroutine]
    await ctx.wait_event("go")
    return "done"


@workflow
async def forgets_nothing(ctx: WorkflowContext) -> list[str]:
    call = take("desk")
    left = await ctx.start(takes_one)
    task = asyncio.create_task(take("lamp"))
    await ctx.wait_event("go")
    return [await call, await task, left.instance_id and "left"]


@workflow
async def takes_one(ctx: WorkflowContext) -> str:
    return await take("one")


LINE = forgets.fn.__code__.co_firstlineno + 3


@pytest.mark.parametrize("taken_over", [False, True])
async def test_it_fails_with_the_name_and_the_line(open_app: Open, taken_over: bool) -> None:  # noqa: FBT001 - a form of the test
    undone.clear()
    app = await open_app()
    handle = await app.start(forgets)
    await status_is(app, handle.instance_id, Status.WAITING)
    if taken_over:
        await app.drain()
        app = await open_app(sticky=0)
    await app.signal(handle.instance_id, "go")
    with pytest.raises(
        WorkflowFailedError, match=rf"take in forgets \(test_unawaited_calls.py, line {LINE}\)"
    ) as failed:
        await app.handle(handle.instance_id, forgets).result(timeout=60)
    assert failed.value.error_type == UNAWAITED
    assert undone == ["desk"]


@pytest.mark.parametrize("taken_over", [False, True])
async def test_a_call_that_is_awaited_later_is_not_an_unawaited_call(open_app: Open, taken_over: bool) -> None:  # noqa: FBT001 - a form of the test
    app = await open_app()
    handle = await app.start(forgets_nothing)
    await status_is(app, handle.instance_id, Status.WAITING)
    if taken_over:
        await app.drain()
        app = await open_app(sticky=0)
    await app.signal(handle.instance_id, "go")
    assert await app.handle(handle.instance_id, forgets_nothing).result(timeout=60) == ["desk", "lamp", "left"]


@pytest.mark.filterwarnings("ignore:coroutine 'take' was never awaited:RuntimeWarning")
async def test_one_that_was_begun_before_ends_as_it_would_have(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "RULES", 0)
    app = await open_app()
    handle = await app.start(forgets)
    await status_is(app, handle.instance_id, Status.WAITING)
    await app.drain()
    monkeypatch.undo()

    app = await open_app()
    await app.signal(handle.instance_id, "go")
    assert await app.handle(handle.instance_id, forgets).result(timeout=60) == "done"
