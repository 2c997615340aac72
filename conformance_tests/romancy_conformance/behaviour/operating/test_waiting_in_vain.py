"""A caller that waits for an instance that no worker continues gets an error with the reason."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import (
    EventType,
    Romancy,
    Status,
    UsageError,
    WorkflowContext,
    WorkflowStuckError,
    WorkflowUnknownError,
    workflow,
)
from romancy_conformance.behaviour.cast import waits
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy.storage.records import Census
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Go = EventType("go", str)
SHORT = 0.2
"""A lease for frequent looks; the workers themselves have the usual one."""

faults: set[str] = set()
"""The ids of instances whose code does what it must not, until it is repaired."""


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the faults of the test before."""
    faults.clear()


@workflow
async def vain_breaks(ctx: WorkflowContext) -> str:
    await ctx.wait_event("go")
    if ctx.instance_id in faults:
        await asyncio.Event().wait()
    return f"{(await ctx.wait_event(Go)).data} at last"


@workflow
async def vain_parent(ctx: WorkflowContext) -> str:
    return await vain_breaks.options(instance_id="child")()


async def waiting_for(app: Romancy, instance_id: str) -> asyncio.Task[str]:
    """Start a caller that waits for the end of an instance, and has looked at it."""
    task = asyncio.create_task(app.handle(instance_id, vain_breaks).result())
    await until(lambda: app.watch(instance_id).waiting)
    return task


async def test_a_caller_that_waits_for_a_result_learns_that_the_instance_is_stuck(app: Romancy) -> None:
    faults.add("s-1")
    handle = await app.start(vain_breaks.options(instance_id="s-1"))
    await status_is(app, "s-1", Status.WAITING)
    before = await waiting_for(app, "s-1")

    await handle.signal("go")

    async with asyncio.timeout(60):
        with pytest.raises(WorkflowStuckError, match=r"no event can bring.*romancy resume s-1") as told:
            await before
    assert not isinstance(told.value, UsageError)
    assert told.value.instance_id == "s-1"
    assert told.value.reason
    with pytest.raises(WorkflowStuckError):
        await handle.result()


async def test_after_a_resumption_it_is_waited_for_again(app: Romancy) -> None:
    faults.add("s-2")
    handle = await app.start(vain_breaks.options(instance_id="s-2"))
    await handle.signal("go")
    with pytest.raises(WorkflowStuckError):
        await handle.result()

    faults.clear()
    await handle.resume()
    again = await waiting_for(app, "s-2")
    await handle.signal(Go, "there")

    assert "there at last" == await again


async def test_another_app_hears_it_too(app: Romancy, open_app: Open) -> None:
    front = await open_app(worker=False, lease=SHORT)
    faults.add("s-3")
    handle = await front.start(vain_breaks.options(instance_id="s-3"))
    await handle.signal("go")

    with pytest.raises(WorkflowStuckError, match="instance s-3 of workflow vain_breaks does not continue"):
        await handle.result()
    assert Status.STUCK is await app.handle("s-3").status()


async def test_the_parent_of_a_stuck_child_goes_on_waiting(app: Romancy) -> None:
    faults.add("child")
    parent = await app.start(vain_parent.options(instance_id="p-1"))
    await status_is(app, "child", Status.WAITING)
    await app.signal("child", "go")
    with pytest.raises(WorkflowStuckError):
        await app.handle("child").result()
    assert Status.WAITING is await parent.status()

    faults.clear()
    await app.resume("child")
    await app.signal("child", Go, "home")

    assert "home at last" == await parent.result()


@pytest.mark.parametrize("poll", [30.0, SHORT / 4])
async def test_who_waits_where_no_worker_lives_hears_of_it(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, poll: float
) -> None:
    """Also where notifications without names arrive more often than once a lease."""
    monkeypatch.setattr("romancy.results.listening._SAFETY_POLL", poll)
    front = await open_app(worker=False, lease=SHORT)

    with pytest.raises(WorkflowStuckError, match=r"no live worker has known workflow waits.*romancy run") as told:
        await front.run(waits)

    assert not isinstance(told.value, UsageError)
    instance = await front.get_instance(told.value.instance_id)
    assert instance is not None
    assert instance.status is Status.PENDING


async def test_an_app_that_does_not_know_the_workflow_is_named_as_the_cause(open_app: Open) -> None:
    other = await open_app(workflows=[vain_parent], lease=0.3)

    with pytest.raises(WorkflowUnknownError, match=r"workflows=\[…\]") as told:
        await other.run(waits)

    assert isinstance(told.value, UsageError)


async def test_a_worker_elsewhere_that_knows_it_keeps_who_waits(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes: the instance rests here, and its worker lives."""
    front = await open_app(worker=False, lease=SHORT)
    worker = await open_app()
    looks = 0
    store = front._access.opened()  # pyright: ignore[reportPrivateUsage]
    census = store.services.reading.census

    async def counted() -> Census:
        nonlocal looks
        looks += 1
        return await census()

    monkeypatch.setattr(store.services.reading, "census", counted)
    handle = await front.start(waits.options(instance_id="k-1"))
    await status_is(worker, "k-1", Status.WAITING)
    task = asyncio.create_task(handle.result())

    await until(lambda: looks >= 4)
    assert not task.done()
    await handle.signal(Go, "well")

    assert "well" == await task
