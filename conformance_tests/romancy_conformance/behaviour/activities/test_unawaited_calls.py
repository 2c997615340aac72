"""A workflow that drops a call fails with its name and line, wherever it is driven, and undoes what it did."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import (
    Romancy,
    Status,
    UnawaitedCallError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    compensation,
    workflow,
)
from romancy.engine import creation
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import waits
from romancy_conformance.behaviour.waiting import status_is, until

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
    if item == "held":
        await asyncio.Event().wait()
    return item


calls_take = calling(take)


@workflow
async def forgets(ctx: WorkflowContext) -> str:
    await take("desk")
    take("chair")  # type: ignore[unused-coroutine]
    await ctx.wait_event("go")
    return "done"


@workflow
async def forgets_nothing(ctx: WorkflowContext) -> list[str]:
    call = take("desk")
    left = await ctx.start(calls_take, "one")
    task = asyncio.create_task(take("lamp"))
    await ctx.wait_event("go")
    return [await call, await task, left.instance_id and "left"]


@workflow
async def leaves_a_task(ctx: WorkflowContext, what: str) -> bool:
    async def notify() -> None:
        await take("desk")
        if what == "activity":
            await take("held")
        elif what == "child":
            await waits.options(instance_id=f"{ctx.instance_id}-child")()
        elif what == "sleep":
            await ctx.sleep(3600)
        elif what == "event":
            await ctx.wait_event("never")
        else:
            await ctx.channel("orders").receive(direct=True)

    task = asyncio.create_task(notify())
    await ctx.wait_event("go")
    return task.done()


@workflow
async def listens(ctx: WorkflowContext) -> str:
    async def listen() -> None:
        await ctx.wait_event("never")
        await take("desk")

    listening = asyncio.create_task(listen())
    await ctx.wait_event("go")
    return f"{listening.done()}"


@workflow
async def forgets_to_sleep(ctx: WorkflowContext) -> str:
    ctx.sleep(5)  # type: ignore[unused-coroutine]
    return await take("desk")


LEFT = {
    "activity": r"take in task leaves_a_task\.<locals>\.notify \(test_unawaited_calls\.py, line \d+\)",
    "child": r"waits in task leaves_a_task\.<locals>\.notify",
}
WAITS = ("sleep", "event", "message")

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
@pytest.mark.parametrize("what", LEFT)
async def test_a_task_that_is_left_behind_fails_the_workflow(open_app: Open, what: str, taken_over: bool) -> None:  # noqa: FBT001 - a form of the test
    undone.clear()
    app = await open_app()
    handle = await app.start(leaves_a_task, what)
    await status_is(app, handle.instance_id, Status.RUNNING if what == "activity" else Status.WAITING)
    await until(lambda: _holds(app, handle.instance_id, "ActivityCompleted"))
    if taken_over:
        await app.drain()
        app = await open_app(sticky=0)
    await app.signal(handle.instance_id, "go")
    with pytest.raises(WorkflowFailedError, match=LEFT[what]) as failed:
        await app.handle(handle.instance_id, leaves_a_task).result(timeout=60)
    assert failed.value.error_type == UNAWAITED
    assert undone == ["desk"]
    if what == "child":
        assert await app.handle(f"{handle.instance_id}-child").status() is Status.CANCELLED


@pytest.mark.parametrize("taken_over", [False, True])
@pytest.mark.parametrize("what", WAITS)
async def test_a_task_that_only_waits_is_dropped(open_app: Open, what: str, taken_over: bool) -> None:  # noqa: FBT001 - a form of the test
    undone.clear()
    app = await open_app()
    handle = await app.start(leaves_a_task, what)
    await status_is(app, handle.instance_id, Status.WAITING)
    await until(lambda: _holds(app, handle.instance_id, "ActivityCompleted"))
    if taken_over:
        await app.drain()
        app = await open_app(sticky=0)
    await app.signal(handle.instance_id, "go")
    assert await app.handle(handle.instance_id, leaves_a_task).result(timeout=60) is False
    assert undone == []


async def test_one_that_was_begun_under_the_second_rule_fails_and_can_be_retried(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creation, "RULES", 2)
    app = await open_app()
    handle = await app.start(listens)
    await status_is(app, handle.instance_id, Status.WAITING)
    await app.drain()
    monkeypatch.undo()

    app = await open_app()
    await app.signal(handle.instance_id, "go")
    handle = app.handle(handle.instance_id, listens)
    with pytest.raises(WorkflowFailedError, match=r"a wait for 'never' in task listens\.<locals>\.listen"):
        await handle.result(timeout=60)
    await app.retry(handle.instance_id)
    assert await app.handle(handle.instance_id, listens).result(timeout=60) == "False"


async def _holds(app: Romancy, instance_id: str, kind: str) -> bool:
    return kind in [type(event).__name__ for event in await app.history(instance_id)]


async def test_a_sleep_that_nobody_awaits_fails_the_workflow(open_app: Open) -> None:
    front = await open_app(worker=False)
    handle = await front.start(forgets_to_sleep)
    await open_app()
    with pytest.raises(WorkflowFailedError, match=r"ctx\.sleep in forgets_to_sleep \(test_unawaited_calls"):
        await handle.result(timeout=60)


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
    monkeypatch.setattr(creation, "RULES", 0)
    app = await open_app()
    handle = await app.start(forgets)
    await status_is(app, handle.instance_id, Status.WAITING)
    await app.drain()
    monkeypatch.undo()

    app = await open_app()
    await app.signal(handle.instance_id, "go")
    assert await app.handle(handle.instance_id, forgets).result(timeout=60) == "done"
