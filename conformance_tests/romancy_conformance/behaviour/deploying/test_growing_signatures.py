"""Signatures that grow while instances are open: a parameter with a default beside a single one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from romancy import WorkflowContext, activity, workflow
from romancy.query import gte

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


@dataclass
class Parcel:
    weight: int
    to: str = "Oslo"


@activity(name="growing_pack")
async def packs(order_id: str) -> str:
    return order_id


@activity(name="growing_pack")
def packs_later(order_id: str, note: str = "n") -> str:
    return order_id + note


@workflow(name="growing_order")
async def order(ctx: WorkflowContext, order_id: str) -> str:
    packed = await packs(order_id)
    await ctx.wait_event("go")
    return packed


@workflow(name="growing_order")
async def order_later(ctx: WorkflowContext, order_id: str, note: str = "later", *, gift: bool = False) -> str:
    packed = await packs_later(order_id)
    await ctx.wait_event("go")
    return f"{packed} {note} {gift} {await packs_later(order_id)}"


@workflow(name="growing_parcel", index=["weight"])
async def parcel(ctx: WorkflowContext, parcel: Parcel) -> str:
    return parcel.to


@workflow(name="growing_parcel", index=["weight"])
async def parcel_later(ctx: WorkflowContext, parcel: Parcel, express: bool = False) -> str:  # noqa: FBT001, FBT002
    return parcel.to


@workflow(name="growing_loop")
async def loop(ctx: WorkflowContext, left: int) -> int:
    await ctx.wait_event("go")
    return left


@workflow(name="growing_loop")
async def loop_later(ctx: WorkflowContext, left: int, step: int = 2) -> int:
    if left > 0:
        loop_later.recur(left - step)
    await ctx.wait_event("go")
    return left


async def found(app: Any, where: dict[str, Any], **more: Any) -> list[str]:
    page = await app.find_instances(where, **more)
    return sorted(instance.instance_id for instance in page.instances)


async def test_a_second_parameter_with_a_default_fits_open_instances(open_app: Open) -> None:
    before = await open_app(workflows=[order])
    await before.start(order.options(instance_id="o"), "o-1")
    assert ["o"] == await found(before, {"order_id": "o-1"})
    await before.drain()

    after = await open_app(workflows=[order_later])
    await after.start(order_later.options(instance_id="p"), "o-1", "x", gift=True)
    for one in ("o", "p"):
        await after.signal(one, "go")

    assert "o-1 later False o-1n" == await after.handle("o", order_later).result(timeout=60)
    assert "o-1n x True o-1n" == await after.handle("p", order_later).result(timeout=60)
    assert ["o", "p"] == await found(after, {"order_id": "o-1"})
    assert ["p"] == await found(after, {"note": "x"})


async def test_a_run_that_began_with_one_parameter_recurs_with_two(open_app: Open) -> None:
    before = await open_app(workflows=[loop])
    await before.start(loop.options(instance_id="l"), 0)
    await before.drain()

    after = await open_app(workflows=[loop_later])
    later = await after.start(loop_later.options(instance_id="m"), 4)
    for one in ("l", "m"):
        await after.signal(one, "go")

    assert 0 == await after.handle("l", loop_later).result(timeout=60)
    assert 0 == await later.result(timeout=60)
    assert ["l", "m"] == await found(after, {"left": 0})


async def test_old_and_new_inputs_are_found_alike(open_app: Open) -> None:
    before = await open_app(workflows=[parcel])
    await before.run(parcel.options(instance_id="a"), Parcel(5))
    after = await open_app(workflows=[parcel_later])
    await after.run(parcel_later.options(instance_id="b"), Parcel(7), express=True)

    for where in ({"weight": gte(5)}, {"parcel.weight": gte(5)}, {"to": "Oslo"}, {"parcel.to": "Oslo"}):
        assert ["a", "b"] == await found(after, where), where
    assert ["a"] == await found(after, {"weight": 5})
    assert ["b"] == await found(after, {"express": True})
    assert {"parcel": {"weight": 5, "to": "Oslo"}} == (await found_input(after, "a"))
    assert [] == await found(after, {"parcel.express": True})


async def found_input(app: Any, instance_id: str) -> Any:
    instance = await app.get_instance(instance_id)
    return instance.input
