"""Workflows that are paused by name: starts of every way in are accepted and wait, and what has begun goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    Limit,
    Romancy,
    StartSkippedError,
    Status,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    workflow,
)
from romancy.testing import TestApp, crash_at_every_commit
from romancy_conformance.behaviour.callers import caller_for
from romancy_conformance.behaviour.cast import act, record
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy import Handle
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

A_MOMENT = 0.3
"""Seconds in which something would begin that is not held back."""
SOON = 60.0
NAME = "held_order"
GO = EventType("go", str)


@workflow(name=NAME)
async def order(ctx: WorkflowContext, first: str) -> str:
    return await act(first)


@workflow(name="held_waiting")
async def waiting(ctx: WorkflowContext, left: int) -> str:
    said = (await ctx.wait_event(GO)).data
    if left:
        waiting.recur(left - 1)
    return await act(said)


@workflow(name="held_parent")
async def buys(ctx: WorkflowContext, what: str) -> str:
    await act(f"before {what}")
    return await order(what)


@workflow(name="held_skipping", limits=[Limit("held one", concurrency=1, full="skip")])
async def skipping(ctx: WorkflowContext, first: str) -> str:
    return await act(first)


async def heard(app: Romancy, *names: str) -> None:
    """Wait until the worker of the app knows which workflows are paused."""
    worker = app._access.worker  # pyright: ignore[reportPrivateUsage] - nothing outside tells it
    assert worker is not None
    await until(lambda: worker.held.workflows.keys() == set(names))


async def held(app: Romancy, name: str, number: int) -> list[str]:
    """The ids of the starts that are held, once there are so many."""
    found: list[str] = []

    async def so_many() -> bool:
        found[:] = [one.instance_id async for one in app.iter_instances(workflow_name=name, status=Status.PAUSED)]
        return len(found) == number

    await until(so_many)
    return found


async def test_starts_of_every_way_in_wait_and_begin_when_it_is_unpaused(
    app: Romancy, open_app: Open, storage_url: str
) -> None:
    client = await open_app(worker=False)
    await client.pause_workflow(NAME, reason="the shop is closed")
    await heard(app, NAME)
    await client.start(order.options(instance_id="of a client"), "c")
    await app.start(order.options(instance_id="of a worker"), "w")
    await client.start_many([order.bind("m1"), order.bind("m2")])
    await client.start(order.options(delay=0.05), "late")
    await client.start(order.options(priority=3, fair_key="ann"), "fair")
    await client.start(buys, "child")
    expected = ["c", "child", "fair", "late", "m1", "m2", "w"]
    if (connect := caller_for(storage_url)) is not None:
        caller = await connect()
        await caller.begin()
        await client.start(order, "session", session=caller.connection)
        await caller.commit()
        await caller.close()
        expected.append("session")
    await held(client, NAME, len(expected))
    await asyncio.sleep(A_MOMENT)
    assert record.names() == ["before child"]
    (paused,) = await client.paused_workflows()
    assert (paused.name, paused.reason) == (NAME, "the shop is closed")
    why = await client.explain("of a client")
    assert why[0].startswith(f"It has not begun: workflow {NAME} is paused since ")
    assert why[0].endswith("because: the shop is closed.")
    assert f"`romancy unpause --starts {NAME}`" in why[1]
    await client.unpause_workflow(NAME)
    await held(client, NAME, 0)
    await until(lambda: len(record.names()) == len(expected) + 1)
    assert sorted(record.names()) == sorted(["before child", *expected])
    assert await client.paused_workflows() == []
    assert await (await client.start(order, "after")).result(timeout=SOON) == "after"


async def test_what_has_begun_goes_on_also_with_a_further_run(app: Romancy, open_app: Open) -> None:
    handle = await app.start(waiting, 1)
    await status_is(app, handle.instance_id, Status.WAITING)
    await app.pause_workflow("held_waiting")
    await heard(app, "held_waiting")
    held_one = await app.signal_with_start(waiting.options(instance_id="s").bind(0), GO, "signal")
    await held(app, "held_waiting", 1)
    other = await open_app()
    await heard(other, "held_waiting")
    await app.drain(0)
    await handle.signal(GO, "first")
    await handle.signal(GO, "second")
    assert await other.handle(handle.instance_id).result(timeout=SOON) == "second"
    assert record.names() == ["second"]
    await other.unpause_workflow("held_waiting")
    assert await other.handle(held_one.instance_id).result(timeout=SOON) == "signal"


async def test_a_later_worker_lets_go_on_what_was_held_when_none_lived(open_app: Open, storage_url: str) -> None:
    client = await open_app(worker=False)
    await client.pause_workflow(NAME)
    async with Romancy(storage_url, workflows=[order]) as app:
        await heard(app, NAME)
        await client.start_many([order.options(instance_id=f"i{one}").bind(f"{one:03}") for one in range(130)])
        await held(client, NAME, 130)
    await client.unpause_workflow(NAME)
    assert record.names() == []
    assert "A worker lets it go on in a moment" in (await client.explain("i7"))[0]
    await open_app(max_activities=1)
    await held(client, NAME, 0)
    await until(lambda: len(record.names()) == 130)
    assert len(set(record.names())) == 130


async def test_the_oldest_begins_first_and_one_can_begin_by_itself(open_app: Open) -> None:
    app = await open_app(max_activities=1)
    await app.pause_workflow(NAME)
    await heard(app, NAME)
    for one in ("a", "b", "c", "d"):
        await app.start(order.options(instance_id=one), one)
    await held(app, NAME, 4)
    await app.unpause("d")
    assert await app.handle("d").result(timeout=SOON) == "d"
    assert record.names() == ["d"]
    await app.unpause_workflow(NAME)
    await held(app, NAME, 0)
    await until(lambda: len(record.names()) == 4)
    assert record.names() == ["d", "a", "b", "c"]


async def test_it_is_paused_again_and_what_was_paused_by_itself_stays_so(app: Romancy) -> None:
    own = await app.start(order.options(instance_id="own", paused=True), "own")
    for one in ("first", "second"):
        await app.pause_workflow(NAME, reason=one)
        await heard(app, NAME)
        handle = await app.start(order, one)
        assert len(await held(app, NAME, 2)) == 2
        await app.unpause_workflow(NAME)
        assert await handle.result(timeout=SOON) == one
    assert await own.status() is Status.PAUSED
    await own.unpause()
    assert await own.result(timeout=SOON) == "own"


async def test_runs_of_schedules_and_windows_wait_and_what_is_retried_goes_on(app: Romancy) -> None:
    record.broken.add("again")
    failed = await app.start(order, "again")
    with pytest.raises(WorkflowFailedError):
        await failed.result(timeout=SOON)
    record.forget()
    await app.pause_workflow(NAME)
    await heard(app, NAME)
    schedule = await app.schedule("yearly", order.bind("of a schedule"), cron="0 0 1 1 *")
    await schedule.trigger()
    window = await app.debounce(order.bind("of a window"), "k", wait=0.05)
    await held(app, NAME, 2)
    await app.retry(failed.instance_id)
    assert await failed.result(timeout=SOON) == "again"
    assert record.names() == ["again"]
    await app.unpause_workflow(NAME)
    assert await (await window.started()).result(timeout=SOON) == "of a window"
    await until(lambda: len(record.names()) == 3)
    await schedule.delete()


async def test_what_is_held_can_be_cancelled_terminated_and_is_no_skipped_start(app: Romancy) -> None:
    await app.pause_workflow(NAME)
    await app.pause_workflow("held_skipping")
    await heard(app, NAME, "held_skipping")
    ended, stopped = await app.start(order, "ended"), await app.start(order, "stopped")
    await held(app, NAME, 2)
    await app.terminate(ended.instance_id)
    await stopped.cancel()
    skips = [await app.start(skipping.options(instance_id=one), one) for one in ("x", "y")]
    await held(app, "held_skipping", 2)
    await app.unpause_workflow(NAME)
    with pytest.raises(WorkflowCancelledError):
        await stopped.result(timeout=SOON)
    assert record.names() == []
    await app.unpause_workflow("held_skipping")
    ends = await asyncio.gather(*(one.result(timeout=SOON) for one in skips), return_exceptions=True)
    assert record.names() == [end for end in ends if isinstance(end, str)]
    assert all(isinstance(end, str | WorkflowCancelledError | StartSkippedError) for end in ends)


async def test_a_worker_may_die_wherever_it_holds_one_or_lets_it_go_on() -> None:
    seen = set[Status]()

    async def close(app: TestApp) -> None:
        record.forget()
        await app.pause_workflow(NAME, reason="closed")
        await heard(app, NAME)

    async def open_again(app: TestApp, handle: Handle[Any]) -> None:
        async def is_met() -> bool:
            seen.add(await handle.status())
            return await handle.status() is not Status.PENDING

        await until(is_met)
        if await app.paused_workflows():
            await app.unpause_workflow(NAME)

    crashes = await crash_at_every_commit(order.bind("a"), prepare=close, drive=open_again)
    assert len(crashes) > 3
    assert Status.PAUSED in seen


async def test_mistakes_are_told(app: Romancy) -> None:
    with pytest.raises(UsageError, match=f"workflow '{NAME}' is not paused"):
        await app.unpause_workflow(NAME)
    await app.pause_workflow(NAME, reason="first")
    with pytest.raises(UsageError, match="paused already because first; unpause it"):
        await app.pause_workflow(NAME, reason="second")
    for name, reason in (("", "x"), (NAME, "x" * 1001)):
        with pytest.raises(UsageError):
            await app.pause_workflow(name, reason=reason)
    (paused,) = await app.paused_workflows()
    assert paused.reason == "first"
    assert await app.paused_activities() == []
    await app.unpause_workflow(NAME)
