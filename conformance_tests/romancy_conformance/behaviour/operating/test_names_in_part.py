"""Lists find names and ids in part and without case. Calls that act take the whole name of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, UsageError, WorkflowContext, WorkflowFailedError, workflow
from romancy.status import Status
from romancy_conformance.behaviour.cast import fails, waits
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


pytestmark = pytest.mark.anyio


async def breaks(ctx: WorkflowContext) -> object:
    """What it returns cannot be stored, so it is stuck."""
    return object()


small, large, plural, order, reorder_stock, order_archive = (
    workflow(name=name)(waits.fn)
    for name in ("order_stock", "Order_Stock", "orders", "order", "reorder_stock", "order_archive")
)
odd, odd_ones = (workflow(name=name)(breaks) for name in ("odd", "odd_ones"))
pay, pay_back = (workflow(name=name)(fails.fn) for name in ("pay", "pay_back"))


async def started(app: Romancy) -> None:
    for name, one in (("s-Id", small), ("L-iD", large), ("p%ID", plural)):
        await app.start(one.options(instance_id=name))


async def test_lists_find_parts_without_case(app: Romancy) -> None:
    await started(app)

    async def found(**asked: Any) -> list[str]:
        page = await app.list_instances(**asked)
        assert [one.instance_id for one in page.instances] == [
            one.instance_id async for one in app.iter_instances(**asked)
        ]
        return [one.instance_id for one in page.instances]

    assert ["L-iD", "s-Id"] == await found(workflow_name="order_stock")
    assert ["p%ID", "L-iD", "s-Id"] == await found(workflow_name="ORDER")
    assert ["p%ID", "L-iD", "s-Id"] == await found(instance_id="id")
    assert ["p%ID"] == await found(instance_id="%i")
    assert ["L-iD", "s-Id"] == await found(workflow_name="R_s", instance_id="-I")
    for part in ("order%stock", "order.", "_d", "\\", "i_", "%%"):
        assert [] == await found(workflow_name=part)
        assert [] == await found(instance_id=part)
    assert 3 == len(await found(workflow_name="", instance_id=""))


@pytest.mark.parametrize("act", ["cancel", "terminate", "check"])
async def test_what_acts_takes_the_whole_name(app: Romancy, act: str) -> None:
    for one in (order, reorder_stock, order_archive):
        await app.start(one.options(instance_id=one.name))
    calls: dict[str, Callable[..., Awaitable[Any]]] = {"cancel": app.cancel_many, "terminate": app.terminate_many}

    if act == "check":
        assert 1 == (await app.check(workflow_name="order")).checked
        assert 0 == (await app.check(workflow_name="orde")).checked
        return
    for part in ("orde", "Order", "stock", "order%"):
        assert [] == await calls[act](workflow_name=part)
    assert ["order"] == await calls[act](workflow_name="order", dry_run=True)
    assert ["order"] == await calls[act](workflow_name="order")
    await status_is(app, "order", Status.CANCELLED)
    assert ["order_archive", "reorder_stock"] == await calls[act](everything=True, dry_run=True)


async def test_what_is_retried_and_purged_is_named_by_the_whole_name(app: Romancy) -> None:
    for one in (pay, pay_back):
        handle = await app.start(one.options(instance_id=one.name))
        with pytest.raises(WorkflowFailedError):
            await handle.result()

    assert ["pay"] == await app.retry_many(workflow_name="pay", dry_run=True)
    assert [] == await app.retry_many(workflow_name="ay")
    assert [] == await app.purge_many(workflow_name="Pay")
    assert ["pay"] == await app.purge_many(workflow_name="pay")
    assert ["pay_back"] == [one.instance_id async for one in app.iter_instances()]


async def test_what_is_resumed_is_named_by_the_whole_name(app: Romancy) -> None:
    for one in (odd, odd_ones):
        await app.start(one.options(instance_id=one.name))
        await status_is(app, one.name, Status.STUCK)

    assert [] == await app.resume_many(workflow_name="od", dry_run=True)
    assert ["odd"] == await app.resume_many(workflow_name="odd", dry_run=True)


async def test_an_empty_name_is_refused(app: Romancy) -> None:
    """A name that is empty by mistake must not choose everything."""
    await app.start(order)
    for call in (app.cancel_many, app.terminate_many, app.retry_many, app.resume_many, app.purge_many, app.check):
        with pytest.raises(UsageError, match="workflow_name: is empty"):
            await call(workflow_name="")
    assert 1 == len((await app.list_instances(workflow_name="")).instances)
