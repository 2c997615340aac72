"""A server that takes over may lack the last messages that were accepted: counters go back, and instances go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, Status, WorkflowContext, activity, workflow
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import returns
from romancy_conformance.behaviour.planting import Planting
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy import Workflow

pytestmark = pytest.mark.anyio

gates: dict[str, asyncio.Event] = {}
MESSAGES = 3


@activity
async def lost_gate(name: str) -> str:
    await gates[name].wait()
    return name


calls_lost_gate = calling(lost_gate)


@workflow
async def lost_rest(ctx: WorkflowContext, name: str) -> str:
    await lost_gate(name)
    return str((await ctx.wait_event("go")).data)


@workflow
async def lost_wait(ctx: WorkflowContext, name: str) -> str:
    """The activity is still running when the event arrives."""
    async with asyncio.TaskGroup() as group:
        held = group.create_task(lost_gate(name))
        word = (await ctx.wait_event("go")).data
        held.cancel()
    return str(word)


async def with_lost_mail(app: Romancy, url: str, wf: Workflow[[str], str]) -> str:
    """Start an instance whose worker has read messages that the database has lost."""
    instance_id = "i"
    gates[instance_id] = asyncio.Event()
    await app.start(wf.options(instance_id=instance_id), instance_id)
    for number in range(MESSAGES):
        await app.signal(instance_id, "unasked", number)
    live = vars(app)["_access"].worker.driver.live
    await until(lambda: live[instance_id].signals == MESSAGES)
    async with Planting(url, returns) as planting:
        await planting.gone("inbox", instance_id)
        await planting.row(instance_id, signals=0, seen=0)
    return instance_id


async def test_an_instance_ends_though_it_had_read_more_mail_than_there_is(app: Romancy, storage_url: str) -> None:
    instance_id = await with_lost_mail(app, storage_url, calls_lost_gate)

    gates[instance_id].set()

    assert await app.handle(instance_id).result(timeout=20) == instance_id


async def test_mail_that_comes_after_lost_mail_ends_its_wait(app: Romancy, storage_url: str) -> None:
    instance_id = await with_lost_mail(app, storage_url, lost_wait)

    await app.signal(instance_id, "go", "on")

    assert await app.handle(instance_id).result(timeout=20) == "on"


async def test_an_instance_rests_though_it_had_read_more_mail_than_there_is(app: Romancy, storage_url: str) -> None:
    """It is not claimed again and again: its worker has seen all messages that exist."""
    instance_id = await with_lost_mail(app, storage_url, lost_rest)

    gates[instance_id].set()
    await status_is(app, instance_id, Status.WAITING)
    async with Planting(storage_url, returns) as planting, asyncio.timeout(20):
        while True:
            row = await planting.store.read(instance_id, limit=0)
            assert row is not None
            if row.instance.signals == row.instance.seen and row.instance.owner is None:
                break
            await asyncio.sleep(0.01)
    await app.signal(instance_id, "go", "on")

    assert await app.handle(instance_id).result(timeout=20) == "on"
