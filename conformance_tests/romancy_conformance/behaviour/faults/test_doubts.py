"""Doubts inside one process: what comes at the same moment, what is refused, what is cut off before its answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    Romancy,
    Status,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy import Workflow
    from romancy_conformance.behaviour.opening import Open

    Known = list[Workflow[..., Any]]

pytestmark = pytest.mark.anyio

Number = EventType("number", int)
PATIENCE = 5.0
begun: list[str] = []
fronts: list[Romancy] = []


@activity
async def doubt_step(label: str, seconds: float = 0.0) -> str:
    begun.append(label)
    await asyncio.sleep(seconds)
    return label


@workflow
async def doubt_naps(ctx: WorkflowContext) -> list[int]:
    woken: list[int] = []

    async def nap(tenths: int) -> None:
        await asyncio.sleep(tenths / 10)
        woken.append(tenths)

    await asyncio.gather(*(nap(n) for n in (5, 1, 3, 1)))
    return woken


@workflow
async def doubt_event_or_timeout(ctx: WorkflowContext) -> str:
    try:
        return f"event {(await ctx.wait_event(Number, timeout=PATIENCE)).data}"
    except TimeoutError:
        return "too late"


@workflow
async def doubt_long(ctx: WorkflowContext) -> str:
    return await doubt_step("first", 0.05) + await doubt_step("second", 30)


@workflow
async def doubt_line(ctx: WorkflowContext, label: str) -> str:
    return await doubt_step(f"{label} 1") + await doubt_step(f"{label} 2", 0.2) + await doubt_step(f"{label} 3")


@activity
async def doubt_last_words() -> None:
    begun.append("last words")
    await fronts[-1].signal("ending", Number, len(begun))


calls_doubt_last_words = calling(doubt_last_words)


@workflow
async def doubt_abreast(ctx: WorkflowContext, steps: int) -> list[str]:
    return await asyncio.gather(*(doubt_step(str(number), number / 50) for number in range(steps)))


@workflow
async def doubt_child(ctx: WorkflowContext, number: int) -> int:
    await doubt_step(f"child {number}")
    return number


@workflow
async def doubt_parent(ctx: WorkflowContext, child_id: str) -> str:
    try:
        handle = await ctx.start(doubt_child.options(instance_id=child_id), 1)
        return f"child {await handle.result()}"
    except WorkflowFailedError as error:
        return error.error_type.rpartition(".")[2]


async def test_what_fell_due_meanwhile_comes_in_order_of_time(
    open_app: Open, storage_url: str, workflows: Known
) -> None:
    await open_app(worker=False)
    async with Romancy(storage_url, workflows=workflows) as app:
        await app.start(doubt_naps.options(instance_id="naps"))
    await asyncio.sleep(0.6)
    async with Romancy(storage_url, workflows=workflows) as app:
        assert await app.handle("naps", doubt_naps).result(timeout=60) == [1, 1, 3, 5]


async def test_an_event_before_the_timeout_wins_though_nobody_was_there(
    open_app: Open, storage_url: str, workflows: Known
) -> None:
    front = await open_app(worker=False)
    async with Romancy(storage_url, workflows=workflows) as app:
        await app.start(doubt_event_or_timeout.options(instance_id="early"))
        await app.start(doubt_event_or_timeout.options(instance_id="late"))
        for one in ("early", "late"):
            await status_is(app, one, Status.WAITING)  # the time starts here
    await front.signal("early", Number, 1)
    await asyncio.sleep(PATIENCE + 0.3)
    await front.signal("late", Number, 2)
    async with Romancy(storage_url, workflows=workflows) as app:
        assert await app.handle("early", doubt_event_or_timeout).result(timeout=60) == "event 1"
        assert await app.handle("late", doubt_event_or_timeout).result(timeout=60) == "too late"


class Slow(WrappedStore):
    """A store that is slow to acknowledge."""

    async def commit(self, *args: Any, **kwargs: Any) -> Any:
        outcomes = await self._store.commit(*args, **kwargs)
        await asyncio.sleep(0.05)
        return outcomes


async def test_what_ends_while_a_write_is_on_its_way_waits_for_it(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A1: an instance has one append in flight."""
    begun.clear()
    wrap_stores(monkeypatch, Slow)
    app = await open_app()

    assert list("01234567") == await app.run(doubt_abreast, 8)

    assert list("01234567") == begun
    assert "refused" not in caplog.text


async def test_mail_at_the_last_moment_repeats_nothing(open_app: Open) -> None:
    """B8: the store refuses the end, as it has not seen the mail; the events before it are kept."""
    begun.clear()
    fronts.append(await open_app(worker=False))
    app = await open_app()

    await (await app.start(calls_doubt_last_words.options(instance_id="ending"))).result(timeout=60)

    assert begun == ["last words"]


async def test_cancelled_in_the_very_commit_that_starts_it(open_app: Open) -> None:
    front = await open_app(worker=False)
    handle = await front.start(doubt_long)
    assert await handle.cancel()
    await open_app()

    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=60)


async def test_what_a_closed_app_had_goes_on_elsewhere_at_once(
    open_app: Open, storage_url: str, workflows: Known
) -> None:
    begun.clear()
    other = await open_app()
    async with Romancy(storage_url, workflows=workflows) as app:
        handles = [await app.start(doubt_line.options(instance_id=f"line-{n}"), f"line-{n}") for n in range(5)]
        await asyncio.sleep(0.05)

    for handle in handles:
        again = other.handle(handle.instance_id, doubt_line)
        assert (await again.result(timeout=60)).count("line") == 3
    assert sorted(begun) == sorted(f"line-{n} {step}" for n in range(5) for step in (1, 2, 3))


async def test_a_child_whose_id_is_taken_is_a_failure_its_parent_can_handle(app: Romancy) -> None:
    await app.run(doubt_child.options(instance_id="taken"), 7)
    handle = await app.start(doubt_parent, "taken")

    assert await handle.result(timeout=60) == "InstanceConflictError"
    assert await app.run(doubt_parent, "free") == "child 1"


async def test_a_caller_that_gives_up_harms_nobody(app: Romancy) -> None:
    starting = asyncio.create_task(app.start(doubt_line.options(instance_id="given-up"), "given up"))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    assert await app.run(doubt_line, "next") == "next 1next 2next 3"
    handle = app.handle("given-up", doubt_line)
    if await app.get_instance("given-up") is not None:
        await handle.result(timeout=60)
        assert await handle.status() is Status.COMPLETED


async def test_a_child_this_worker_does_not_know_lets_its_parent_wait(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[doubt_parent, doubt_line]) as app:
        handle = await app.start(doubt_parent, "unknown")
        assert await app.run(doubt_line, "beside") == "beside 1beside 2beside 3"
        (child,) = (await app.list_instances(workflow_name="doubt_child")).instances
        await status_is(app, handle.instance_id, Status.WAITING)
        await status_is(app, child.instance_id, Status.PENDING)
