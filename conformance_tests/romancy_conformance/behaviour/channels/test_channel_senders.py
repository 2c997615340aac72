"""Senders on channels: a workflow to itself and to its children, a caller's transaction, and apps with codecs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    Channel,
    EventTimeoutError,
    Romancy,
    WorkflowCancelledError,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy_conformance.behaviour.callers import caller_for
from romancy_conformance.behaviour.cast import receives
from romancy_conformance.behaviour.coded import SECRET, Masking
from romancy_conformance.behaviour.waiting import joined

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Orders = Channel("orders", int)


@workflow
async def talks_to_itself(ctx: WorkflowContext) -> list[Any]:
    orders = ctx.channel(Orders)
    await orders.subscribe()
    await orders.publish(1)
    await orders.send_to(ctx.instance_id, 2)
    own = await orders.receive()
    direct = await orders.receive(direct=True)
    return [own.data, own.sender == ctx.instance_id, direct.data, direct.sender == ctx.instance_id]


async def test_a_workflow_hears_itself(app: Romancy) -> None:
    assert await app.run(talks_to_itself) == [1, True, 2, True]


@workflow
async def has_children(ctx: WorkflowContext) -> list[list[int]]:
    children = [await ctx.start(receives, "broadcast", 3) for _ in range(2)]
    await ctx.wait_event("go")
    for number in range(3):
        await ctx.channel(Orders).publish(number)
    return [await child.result() for child in children]


async def test_children_subscribe_for_themselves(app: Romancy) -> None:
    handle = await app.start(has_children)
    await joined(app, 2)
    await app.signal(handle.instance_id, "go")
    assert await handle.result(timeout=30) == [[0, 1, 2], [0, 1, 2]]
    await joined(app, 0)
    handle = await app.start(has_children)
    await joined(app, 2)
    await handle.cancel()
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=30)
    await joined(app, 0)


async def test_the_callers_transaction_publishes(app: Romancy, storage_url: str) -> None:
    opener = caller_for(storage_url)
    if opener is None:
        pytest.skip("capability: this database has no connections but the store's own")
    caller, handle = await opener(), await app.start(takes_direct)
    orders = app.channel(Orders)
    async with orders.subscribe("one") as one:
        for number, end in ((1, caller.roll_back), (2, caller.commit)):
            await caller.begin()
            await caller.write(str(number))
            await orders.publish(number, session=caller.connection)
            await orders.send_to(handle.instance_id, number, session=caller.connection)
            await end()
        assert (await one.receive(timeout=30)).data == 2
        with pytest.raises(EventTimeoutError):
            await one.receive(timeout=0.05)
    assert await handle.result(timeout=30) == 2
    assert await caller.names() == ["2"]
    await caller.close()


@workflow
async def takes_direct(ctx: WorkflowContext) -> int:
    return (await ctx.channel(Orders).receive(direct=True)).data


@activity
async def whispers(instance_id: str) -> None:
    channel = activity_context().channel("secrets", model=str)
    await channel.publish(SECRET, metadata={"of": SECRET}, headers={"h": SECRET})
    await channel.send_to(instance_id, SECRET, metadata={"of": SECRET})


@workflow
async def shares_secrets(ctx: WorkflowContext) -> list[Any]:
    """Publish from the body and from an activity, and receive all of it."""
    secrets = ctx.channel("secrets", model=str)
    await secrets.subscribe()
    await secrets.publish(SECRET, metadata={"of": SECRET}, headers={"h": SECRET})
    await secrets.send_to(ctx.instance_id, SECRET, metadata={"of": SECRET})
    await whispers(ctx.instance_id)
    got = [await secrets.receive(direct=direct) for direct in (False, False, True, True)]
    return [(message.data, message.metadata) for message in got] + [dict(got[1].headers)]


async def test_codecs_seal_data_metadata_and_headers(open_app: Open) -> None:
    app = await open_app(codecs=[Masking()])
    assert await app.run(shares_secrets) == [[SECRET, {"of": SECRET}]] * 4 + [{"h": SECRET}]
