"""Cancelling a stuck instance: it is wound up from its log, without the code that does not fit."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    RetryPolicy,
    Romancy,
    Status,
    WorkflowCancelledError,
    WorkflowContext,
    activity,
    compensation,
    workflow,
)
from romancy.core import ActivityCancelled, WorkflowAbandoned
from romancy_conformance.behaviour.waiting import reason_is, status_is, until

if TYPE_CHECKING:
    from romancy import Handle, Workflow
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

carried_out: list[str] = []
gates: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    carried_out.clear()
    gates.clear()


@compensation
async def stuck_unbook(what: str) -> None:
    carried_out.append(f"unbook {what}")
    if what in gates:
        await gates[what].wait()
    carried_out.append(f"unbooked {what}")


@activity(compensation=stuck_unbook, retry=RetryPolicy.none())
async def stuck_book(what: str) -> str:
    carried_out.append(what)
    if what in gates:
        await gates[what].wait()
    return what


@activity
async def stuck_look() -> None:
    carried_out.append("look")


@workflow(name="stuck_trip", version="1")
async def trip(ctx: WorkflowContext) -> None:
    await stuck_book("room")
    await stuck_book("car")
    await ctx.wait_event("never")


@workflow(name="stuck_trip", version="2")
async def changed_trip(ctx: WorkflowContext) -> None:
    await stuck_look()


def some_trip() -> Workflow[[], None]:
    """The code of the parent does not name its child: an app with the parent may know the child by other code."""
    found: Workflow[[], None] = globals()["trip"]
    return found


@workflow(name="stuck_trip", version="1")
async def busy_trip(ctx: WorkflowContext) -> None:
    await stuck_book("room")
    await stuck_book("yacht")


@workflow(name="stuck_trip", version="1")
async def trip_that_awaits_nothing(ctx: WorkflowContext) -> None:
    await stuck_book("room")
    await asyncio.get_running_loop().create_future()


@workflow(name="stuck_parent", version="1")
async def parent(ctx: WorkflowContext) -> str:
    child = await ctx.start(some_trip().options(instance_id="child"))
    try:
        await child.result()
    except WorkflowCancelledError:
        return "the child was cancelled"
    return "the child ended"


V1: list[Workflow[..., Any]] = [trip, parent]
V2: list[Workflow[..., Any]] = [changed_trip, parent]
UNDONE = ["room", "car", "unbook car", "unbooked car", "unbook room", "unbooked room"]


async def run_and_stop(url: str, wf: Workflow[[], Any], *, known: list[Workflow[..., Any]], until_seen: str) -> None:
    """Run the trip under the old code until this was begun, and close the app."""
    async with Romancy(url, workflows=known, drain_timeout=0.1) as app:
        await app.start(wf.options(instance_id="trip"))
        await until(lambda: until_seen in carried_out)
        if until_seen not in gates:
            await status_is(app, "trip", Status.WAITING)


async def with_new_code(open_app: Open) -> Romancy:
    """Open an app whose code does not fit the trip, which becomes stuck with it."""
    app = await open_app(workflows=V2)
    await app.signal("trip", "wake up")
    await status_is(app, "trip", Status.STUCK)
    return app


@pytest.fixture
async def stuck_app(open_app: Open, storage_url: str) -> Romancy:
    """An app with new code, and a stuck trip that waits with a room and a car booked."""
    await run_and_stop(storage_url, trip, known=V1, until_seen="car")
    return await with_new_code(open_app)


async def cancelled(handle: Handle[Any], reason: str | None = None) -> None:
    with pytest.raises(WorkflowCancelledError, match=reason):
        await handle.result(timeout=60)


@pytest.mark.parametrize("who", ["its worker", "another process"])
async def test_what_was_done_is_undone_without_the_code(stuck_app: Romancy, open_app: Open, who: str) -> None:
    actor = stuck_app if who == "its worker" else await open_app(worker=False, workflows=[])

    assert await actor.cancel("trip", reason="hopeless")

    await cancelled(stuck_app.handle("trip"), "hopeless")
    assert carried_out == UNDONE
    assert any(isinstance(event, WorkflowAbandoned) for event in await stuck_app.history("trip"))
    assert not await actor.cancel("trip")


async def test_all_that_are_stuck_are_cancelled(stuck_app: Romancy) -> None:
    assert await stuck_app.cancel_many(status=Status.STUCK) == ["trip"]

    await cancelled(stuck_app.handle("trip"))
    assert carried_out == UNDONE


async def test_what_was_in_flight_is_not_begun_again(open_app: Open, storage_url: str) -> None:
    gates["yacht"] = asyncio.Event()
    await run_and_stop(storage_url, busy_trip, known=[busy_trip], until_seen="yacht")
    app = await with_new_code(open_app)

    await app.cancel("trip")

    await cancelled(app.handle("trip"))
    assert carried_out == ["room", "yacht", "unbook room", "unbooked room"]
    ends = [event.id for event in await app.history("trip") if isinstance(event, ActivityCancelled)]
    assert ends == ["stuck_book:2"]


async def test_a_body_that_cannot_go_on_is_given_up(open_app: Open) -> None:
    app = await open_app(workflows=[trip_that_awaits_nothing])
    handle = await app.start(trip_that_awaits_nothing)
    await status_is(app, handle.instance_id, Status.STUCK)

    assert await handle.cancel()

    await cancelled(handle)
    assert carried_out == ["room", "unbook room", "unbooked room"]


@pytest.mark.parametrize("by", ["old code", "new code"])
async def test_interrupted_it_is_wound_up_by_whoever_comes(
    stuck_app: Romancy, open_app: Open, storage_url: str, by: str
) -> None:
    await stuck_app.drain(0)
    gates["car"] = asyncio.Event()
    async with Romancy(storage_url, workflows=V2, drain_timeout=0.1) as interrupted:
        assert await interrupted.cancel("trip")
        await until(lambda: "unbook car" in carried_out)
        await status_is(interrupted, "trip", Status.COMPENSATING)
    gates.clear()

    app = await open_app(workflows=V1 if by == "old code" else V2)

    await cancelled(app.handle("trip"))
    carried_out.remove("unbook car")
    assert carried_out == UNDONE


async def test_cancelling_what_was_being_cancelled_ends_it(open_app: Open, storage_url: str) -> None:
    gates["car"] = asyncio.Event()
    async with Romancy(storage_url, workflows=V1, drain_timeout=0.1) as app:
        await app.start(trip.options(instance_id="trip"))
        await until(lambda: "car" in carried_out)
        gates["car"].set()
        await status_is(app, "trip", Status.WAITING)
        gates["car"].clear()
        await app.cancel("trip", reason="first")
        await until(lambda: "unbook car" in carried_out)
    gates.clear()
    app = await with_new_code(open_app)

    assert await app.cancel("trip", reason="second")

    await cancelled(app.handle("trip"))
    assert carried_out.count("unbooked car") == carried_out.count("unbooked room") == 1


async def test_a_worker_without_the_activities_leaves_the_instance_to_one_that_has_them(
    open_app: Open, storage_url: str
) -> None:
    await run_and_stop(storage_url, trip, known=V1, until_seen="car")

    @activity(name="stuck_book")
    async def of_another_package(what: str) -> str:
        return what  # a name that two activities have is unknown to an app

    async with Romancy(storage_url, workflows=V2) as app:
        await app.signal("trip", "wake up")
        await status_is(app, "trip", Status.STUCK)
        await app.cancel("trip")
        await reason_is(app, "trip", "does not know the activities stuck_book")
    assert carried_out == ["room", "car"]
    del of_another_package
    gc.collect()

    app = await open_app(workflows=V2)
    await app.cancel("trip")

    await cancelled(app.handle("trip"))
    assert carried_out == UNDONE


async def test_a_parent_hears_of_it(open_app: Open, storage_url: str) -> None:
    async with Romancy(storage_url, workflows=V1, drain_timeout=0.1) as app:
        await app.start(parent.options(instance_id="parent"))
        await until(lambda: "car" in carried_out)
        await status_is(app, "child", Status.WAITING)
    app = await open_app(workflows=V2)
    await app.signal("child", "wake up")
    await status_is(app, "child", Status.STUCK)

    await app.cancel("child")

    assert await app.handle("parent", parent).result(timeout=60) == "the child was cancelled"
    assert carried_out == UNDONE
