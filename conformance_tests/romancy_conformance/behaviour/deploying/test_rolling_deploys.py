"""Two versions of a workflow's code at once: each continues the instances whose logs it fits, and leaves the others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from romancy import InstanceConflictError, Romancy, Status, WorkflowContext, activity, workflow
from romancy.core import OwnerChanged
from romancy.engine.worker import claims
from romancy.storage.records import ClaimRequest
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy import Workflow
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

carried_out: list[str] = []


@activity
async def deployed_step(what: str) -> str:
    carried_out.append(what)
    return what


@workflow(name="deployed_line", version="1")
async def old_line(ctx: WorkflowContext) -> str:
    first = await deployed_step("pick")
    await ctx.wait_event("go")
    return f"{first} {await deployed_step('send')}"


@workflow(name="deployed_line", version="2")
async def new_line(ctx: WorkflowContext) -> str:
    first = await deployed_step("weigh")
    await ctx.wait_event("go")
    return f"{first} {await deployed_step('send')}"


OLD: list[Workflow[..., Any]] = [old_line]
NEW: list[Workflow[..., Any]] = [new_line]


@pytest.mark.parametrize("new_stays", [True, False], ids=["new code is there", "new code has gone"])
async def test_old_code_finishes_what_new_code_parked(open_app: Open, storage_url: str, *, new_stays: bool) -> None:
    """F23: nothing ran twice, it contains nothing of the new code, and old code leaves new instances alone."""
    carried_out.clear()
    async with Romancy(storage_url, workflows=OLD) as old:
        await old.start(old_line.options(instance_id="parcel"))
        await status_is(old, "parcel", Status.WAITING)
    new = await open_app(workflows=NEW)
    await new.signal("parcel", "go")
    await status_is(new, "parcel", Status.STUCK)
    await new.start(new_line.options(instance_id="letter"))
    await status_is(new, "letter", Status.WAITING)
    if not new_stays:
        await new.drain(0)

    old = await open_app(workflows=OLD)

    assert await old.handle("parcel", old_line).result(timeout=60) == "pick send"
    assert carried_out == ["pick", "weigh", "send"]
    letter = await old.get_instance("letter")
    assert letter is not None
    assert letter.status is Status.WAITING
    assert letter.error is None


def line_by(plan: Callable[[], list[str]]) -> list[Workflow[..., Any]]:
    """Return a workflow with this body; a function that it calls does the work."""

    @workflow(name="planned_line")
    async def planned_line(ctx: WorkflowContext) -> str:
        for what in plan():
            await deployed_step(what)
        await ctx.wait_event("go")
        return await deployed_step("send")

    return [planned_line]


def plan_of_yesterday() -> list[str]:
    return ["pick", "weigh"]


def plan_of_today() -> list[str]:
    return ["weigh", "pick"]


def mended_plan() -> list[str]:
    return ["pick", *["weigh"]]


async def parked_by_today(open_app: Open, storage_url: str) -> None:
    """Leave an instance `parcel` that today's plan does not fit."""
    carried_out.clear()
    yesterday = line_by(plan_of_yesterday)
    async with Romancy(storage_url, workflows=yesterday) as old:
        await old.start(yesterday[0].options(instance_id="parcel"))
        await status_is(old, "parcel", Status.WAITING)
    new = await open_app(workflows=line_by(plan_of_today))
    await new.signal("parcel", "go")
    await status_is(new, "parcel", Status.STUCK)


async def test_a_mended_function_that_the_body_calls_is_other_code(open_app: Open, storage_url: str) -> None:
    await parked_by_today(open_app, storage_url)

    mended = line_by(mended_plan)
    app = await open_app(workflows=mended)

    assert await app.handle("parcel", mended[0]).result(timeout=60) == "send"
    assert carried_out == ["pick", "weigh", "send"]


async def test_what_no_worker_can_follow_is_tried_once_by_each_version(
    open_app: Open, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_SWEEP_EVERY", 0.2)  # where nobody announces it, others find it by then
    await parked_by_today(open_app, storage_url)
    others = [
        await open_app(workflows=line_by(lambda: ["pick"])),
        await open_app(workflows=line_by(lambda: ["weigh"])),
        await open_app(workflows=line_by(plan_of_today)),
    ]
    store = vars(others[0])["_access"].store
    while len(await parkings(others[0])) < 3:  # noqa: ASYNC110 - by workers of this process
        await asyncio.sleep(0.02)
    await status_is(others[0], "parcel", Status.STUCK)

    for app in others:
        worker = vars(app)["_access"].worker
        codes = {name: each.code for name, each in worker.registry.workflows.items()}
        work = await store.claim(ClaimRequest(worker=worker.leases.token, codes=codes, limit=10, sweep=True))
        assert [] == work.claimed
    assert 3 == len(await parkings(others[0]))


async def parkings(app: Romancy) -> list[OwnerChanged]:
    """Return how often it was parked."""
    return [event for event in await app.history("parcel") if isinstance(event, OwnerChanged) and event.code]


@dataclass
class Parcel:
    item: str


@dataclass
class ParcelOfToday:
    item: str
    note: str | None = None


def lines_of_today() -> list[Workflow[..., Any]]:
    """The later code: a field and parameters with defaults have been added."""

    @activity(name="ship")
    async def ship(parcel: ParcelOfToday, count: int, by: str = "mail") -> str:
        return f"{count} {parcel.item} by {by}"

    @workflow(name="sub_line")
    async def sub_line(ctx: WorkflowContext, parcel: ParcelOfToday, count: int, by: str = "mail") -> str:
        await ctx.wait_event("go")
        return await ship(parcel, count, by)

    @workflow(name="grown_line")
    async def grown_line(ctx: WorkflowContext, parcel: ParcelOfToday, count: int, by: str = "mail") -> list[str]:
        first = await ship(parcel, count)
        return [first, await sub_line(parcel, count)]

    return [sub_line, grown_line]


def lines_of_yesterday() -> list[Workflow[..., Any]]:
    @activity(name="ship")
    async def ship(parcel: Parcel, count: int) -> str:
        return f"{count} {parcel.item}"

    @workflow(name="sub_line")
    async def sub_line(ctx: WorkflowContext, parcel: Parcel, count: int) -> str:
        await ctx.wait_event("go")
        return await ship(parcel, count)

    @workflow(name="grown_line")
    async def grown_line(ctx: WorkflowContext, parcel: Parcel, count: int) -> list[str]:
        first = await ship(parcel, count)
        return [first, await sub_line(parcel, count)]

    return [sub_line, grown_line]


async def the_child(app: Romancy) -> str:
    (child,) = [each.instance_id async for each in app.iter_instances(workflow_name="sub_line")]
    return child


async def test_what_was_added_with_a_default_fits_the_log(open_app: Open, storage_url: str) -> None:
    """Of activities, of children and of the workflow itself; starting it again is no conflict either."""
    yesterday = lines_of_yesterday()
    async with Romancy(storage_url, workflows=yesterday) as old:
        handle = await old.start(yesterday[1].options(instance_id="parcel"), Parcel("book"), 2)
        await status_is(old, handle.instance_id, Status.WAITING)
        child = await the_child(old)
        await status_is(old, child, Status.WAITING)

    today = lines_of_today()
    app = await open_app(workflows=today)
    again = await app.start(today[1].options(instance_id="parcel"), ParcelOfToday("book"), 2)
    await app.signal(child, "go")
    assert await again.result(timeout=60) == ["2 book", "2 book by mail"]

    with pytest.raises(InstanceConflictError):
        await app.start(today[1].options(instance_id="parcel"), ParcelOfToday("book", "a gift"), 2)
