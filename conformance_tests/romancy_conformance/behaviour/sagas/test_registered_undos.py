"""Undos registered while a workflow runs: carried out across crashes, cancellations, retries and runs, and recorded."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from romancy import (
    RetryPolicy,
    Romancy,
    Status,
    TerminalError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    workflow,
)
from romancy.core import UndoRegistered, UndoTakenBack
from romancy.engine import history
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

told: list[str] = []
broken: set[str] = set()


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    told.clear()
    broken.clear()


@activity
async def book(item: str) -> str:
    told.append(f"book {item}")
    return f"{item} no. {len(told)}"


@activity(commit="lazy")
async def jot(item: str) -> str:
    return f"jotted {item}"


@activity(retry=RetryPolicy.none())
async def cancel(booking: str, fee: int = 0) -> None:
    if booking in broken:
        broken.remove(booking)
        raise ConnectionError("the airline is busy")
    if "cancel" in broken:
        raise ConnectionError("the airline does not answer")
    told.append(f"cancel {booking} for {fee}")


@activity
def cancel_on_a_thread(booking: str) -> None:
    told.append(f"cancel {booking} with {len(activity_context().idempotency_key)} characters")


@activity(commit="lazy")
async def cross_out(text: str) -> None:
    told.append(f"cross out {text}")


@activity(timeout=0.05, retry=RetryPolicy.none())
async def never_ends(item: str) -> None:
    await asyncio.sleep(3600)


@activity(retry=RetryPolicy.fixed(3, 0.01))
async def hangs_once(item: str) -> None:
    if "hangs" in broken:
        broken.remove("hangs")
        await asyncio.sleep(10)  # much longer than the limit of the call
        told.append("nobody has stopped it")
    told.append(f"hangs no more {item}")


@activity(retry=RetryPolicy.none())
async def pay() -> str:
    if "pay" in broken:
        raise TerminalError("no money")
    return "paid"


@workflow
async def journey(ctx: WorkflowContext) -> list[str]:
    ctx.on_undo(cancel_on_a_thread, "car")
    flight = await book("flight")
    ctx.on_undo(cancel, flight, fee=3)
    hotel = await book("hotel")
    tentative = ctx.on_undo(cancel, hotel)
    await ctx.wait_event("go")
    tentative.take_back()
    return [flight, hotel, await pay()]


@workflow
async def lazily(ctx: WorkflowContext) -> None:
    ctx.on_undo(cross_out, await jot("a"))
    ctx.on_undo(cross_out, await jot("b"))
    await pay()


@workflow
async def out_of_time(ctx: WorkflowContext) -> None:
    ctx.on_undo(cancel, "before")
    ctx.on_undo(never_ends, "x")
    await pay()


@workflow
async def with_options(ctx: WorkflowContext) -> None:
    ctx.on_undo(cancel, "as declared")
    ctx.on_undo(cancel.options(retry=RetryPolicy.fixed(3, 0.01)), "until it works")
    ctx.on_undo(hangs_once.options(timeout=0.05), "soon")
    await ctx.wait_event("go")
    await pay()


@workflow
async def family(ctx: WorkflowContext) -> None:
    ctx.on_undo(cancel, "the parent's")
    child = await ctx.start(journey.options(instance_id="child"))
    await child.result()


async def test_a_worker_that_did_not_register_them_carries_them_out(open_app: Open, storage_url: str) -> None:
    broken.add("pay")
    async with Romancy(storage_url, workflows=[journey]) as first:
        await first.start(journey.options(instance_id="j"))
        await status_is(first, "j", Status.WAITING)
    told.clear()

    app = await open_app()
    await app.signal("j", "go")
    with pytest.raises(WorkflowFailedError, match="no money"):
        await app.handle("j").result()

    assert ["cancel flight no. 1 for 3", "cancel car with 32 characters"] == told


async def test_they_are_recorded(open_app: Open, store: Store) -> None:
    app = await open_app()
    handle = await app.start(journey.options(instance_id="j"))
    await app.signal("j", "go")
    await handle.result()

    events = [event async for _, commit in history(store, "j") for event in commit]
    registered = [(event.id, event.of) for event in events if isinstance(event, UndoRegistered)]
    assert [("undo:cancel_on_a_thread:1", ""), ("undo:cancel:1", "book:1"), ("undo:cancel:2", "book:2")] == registered
    assert ["undo:cancel:2"] == [event.id for event in events if isinstance(event, UndoTakenBack)]
    assert ["book flight", "book hotel"] == told


async def test_a_cancelled_workflow_and_a_cancelled_child_carry_them_out(app: Romancy) -> None:
    handle = await app.start(family.options(instance_id="parent"))
    await status_is(app, "child", Status.WAITING)
    told.clear()

    await handle.cancel("the customer called")
    with pytest.raises(WorkflowCancelledError):
        await handle.result()

    child = ["cancel hotel no. 2 for 0", "cancel flight no. 1 for 3", "cancel car with 32 characters"]
    assert [*child, "cancel the parent's for 0"] == told


async def test_a_retry_does_again_what_they_undid_and_nothing_else(app: Romancy) -> None:
    broken.add("pay")
    handle = await app.start(journey.options(instance_id="j"))
    await app.signal("j", "go")
    with pytest.raises(WorkflowFailedError):
        await handle.result()
    told.clear()
    broken.clear()

    await app.retry("j")

    assert ["flight no. 1", "hotel no. 2", "paid"] == await handle.result()
    assert ["book flight"] == told, "the hotel's undo was taken back, and the car's belonged to no call"


async def test_a_retry_after_one_that_failed_asks_what_became_of_the_call(app: Romancy) -> None:
    broken.update(("pay", "cancel"))
    handle = await app.start(journey.options(instance_id="j"))
    await app.signal("j", "go")
    with pytest.raises(WorkflowFailedError, match="not compensated: compensate:undo:cancel:1"):
        await handle.result()
    broken.clear()
    told.clear()

    with pytest.raises(Exception, match="book:1"):
        await app.retry("j")
    await app.retry("j", unsure="done")

    assert ["flight no. 1", "hotel no. 2", "paid"] == await handle.result()
    assert [] == told


async def test_beside_lazy_activities(app: Romancy) -> None:
    broken.add("pay")
    with pytest.raises(WorkflowFailedError):
        await app.run(lazily)

    assert ["cross out jotted b", "cross out jotted a"] == told


async def test_the_time_limit_of_its_activity_holds(app: Romancy) -> None:
    broken.add("pay")
    began = time.monotonic()
    with pytest.raises(WorkflowFailedError, match="not compensated: compensate:undo:never_ends:1"):
        await app.run(out_of_time)

    assert time.monotonic() - began < 60
    assert ["cancel before for 0"] == told


async def test_an_undo_has_the_options_with_which_it_was_registered(open_app: Open, storage_url: str) -> None:
    """Also on a worker that only replays the registration. Another undo by the same activity does not have them."""
    broken.update(("pay", "until it works", "as declared", "hangs"))
    async with Romancy(storage_url, workflows=[with_options]) as first:
        await first.start(with_options.options(instance_id="w"))
        await status_is(first, "w", Status.WAITING)

    app = await open_app()
    await app.signal("w", "go")
    with pytest.raises(WorkflowFailedError, match=r"not compensated: compensate:undo:cancel:1$"):
        await app.handle("w").result()

    assert ["hangs no more soon", "cancel until it works for 0"] == told
    assert broken == {"pay"}


@pytest.mark.unreplayable("whose code does not fit on purpose")
async def test_an_instance_that_is_stuck_carries_them_out_when_it_is_cancelled(
    open_app: Open, storage_url: str
) -> None:
    async with Romancy(storage_url, workflows=[journey]) as first:
        await first.start(journey.options(instance_id="j"))
        await status_is(first, "j", Status.WAITING)
    told.clear()

    @workflow(name="journey")
    async def another_journey(ctx: WorkflowContext) -> None:
        ctx.on_undo(cancel, await jot("nothing like it"))
        await book("hotel")

    app = await open_app(workflows=[another_journey])
    await app.signal("j", "go")
    await status_is(app, "j", Status.STUCK)

    await app.cancel("j")
    with pytest.raises(WorkflowCancelledError):
        await app.handle("j").result()

    assert ["cancel hotel no. 2 for 0", "cancel flight no. 1 for 3", "cancel car with 32 characters"] == told
