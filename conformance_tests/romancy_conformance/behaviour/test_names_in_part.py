"""Lists find names and ids in part and without case. Calls that act count the case of a workflow's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, WorkflowContext, workflow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


pytestmark = pytest.mark.anyio


@workflow(name="order_stock")
async def small(ctx: WorkflowContext) -> None:
    await ctx.wait_event("never")


@workflow(name="Order_Stock")
async def large(ctx: WorkflowContext) -> None:
    await ctx.wait_event("never")


@workflow(name="orders")
async def plural(ctx: WorkflowContext) -> None:
    await ctx.wait_event("never")


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
async def test_what_acts_counts_the_case_of_a_name(app: Romancy, act: str) -> None:
    await started(app)
    calls: dict[str, Callable[..., Awaitable[Any]]] = {"cancel": app.cancel_many, "terminate": app.terminate_many}

    if act == "check":
        assert 1 == (await app.check(workflow_name="order_stock")).checked
        return
    assert ["s-Id"] == await calls[act](workflow_name="order_stock", dry_run=True)
    assert ["L-iD"] == await calls[act](workflow_name="Order_Stock")


async def test_what_is_retried_and_purged_counts_the_case_of_a_name(app: Romancy) -> None:
    await started(app)
    await app.terminate_many()

    assert ["s-Id"] == await app.purge_many(workflow_name="order_stock")
    assert ["p%ID", "L-iD"] == [one.instance_id async for one in app.iter_instances()]
