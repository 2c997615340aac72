"""Registered classes and unions of dataclasses go through everything that carries a value, and replay.

That is inputs, results, reports, signals, events, requests, handlers, channels, streams, children, entities and the
processes of activities.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, Generic, TypeVar

import pytest

from romancy import (
    Channel,
    EventType,
    RequestType,
    Stream,
    WorkflowContext,
    activity,
    activity_context,
    entity,
    kept,
    register_type,
    workflow,
)

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

T = TypeVar("T")

pytestmark = pytest.mark.anyio

register_type(Fraction, encode=str, decode=Fraction)


class Language(Enum):
    GERMAN = "de"


@dataclass
class Fixed:
    share: Fraction


@dataclass
class Split:
    share: Fraction


@dataclass
class Plan:
    part: Fixed | Split
    names: dict[Language, str]


@dataclass
class Box(Generic[T]):
    item: T


Boxed = Box[Fixed | Split]
shared = EventType("own_types_shared", dict[str, Fraction])
boxed = EventType("own_types_boxed", Boxed)
swap = RequestType("own_types_swap", Boxed, Boxed)
offers = Channel("own_types_offers", Boxed)
steps = Stream("own_types_steps", Boxed)
HALF, THIRD = Box[Fixed | Split](Fixed(Fraction(1, 2))), Box[Fixed | Split](Split(Fraction(1, 3)))


@activity
async def halve(plan: Plan, parts: list[Fixed | Split]) -> Plan:
    return Plan(Split(plan.part.share / 2 + sum(part.share for part in parts)), plan.names)


@workflow
async def share_out(ctx: WorkflowContext, plan: Plan) -> tuple[Plan, Fraction]:
    halved = await halve(plan, [Fixed(Fraction(1, 3)), Split(Fraction(1, 6))])
    await ctx.report(halved)
    event = await ctx.wait_event(shared)
    return halved, event.data["a"]


async def test_values_come_back_as_their_classes(open_app: Open) -> None:
    app = await open_app(workflows=[share_out])
    handle = await app.start(share_out, Plan(Fixed(Fraction(1, 2)), {Language.GERMAN: "halb"}))

    await handle.signal(shared, {"a": Fraction(1, 7)})

    expected = Plan(Split(Fraction(3, 4)), {Language.GERMAN: "halb"})
    assert (expected, Fraction(1, 7)) == await handle.result(timeout=30)
    report = await handle.report()
    assert {"part": {"$type": "Split", "share": "3/4"}, "names": {"de": "halb"}} == report


@activity(executor="process")
def swapped(box: Box[Fixed | Split], share: Fraction) -> Box[Fixed | Split]:
    return Box(Split(share) if isinstance(box.item, Fixed) else Fixed(share))


@activity
async def streamed(box: Box[Fixed | Split]) -> None:
    activity_context().stream(steps).write(box)


@workflow
async def child_of_boxes(ctx: WorkflowContext, box: Box[Fixed | Split]) -> Box[Fixed | Split]:
    await streamed(box)
    await ctx.report(Plan(box.item, {}))
    return box


@entity("own_types_shelf")
@dataclass
class Shelf:
    box: Box[Fixed | Split] | None = None

    async def put(self, box: Box[Fixed | Split]) -> Box[Fixed | Split] | None:
        before, self.box = self.box, box
        return before


@workflow
async def everything(ctx: WorkflowContext, box: Box[Fixed | Split]) -> list[Box[Fixed | Split]]:
    got: list[Box[Fixed | Split]] = []

    async def swaps(other: Box[Fixed | Split]) -> Box[Fixed | Split]:
        before, got[0] = got[0], other
        return before

    async def receives(other: Box[Fixed | Split]) -> None:
        got.append(other)

    channel = ctx.channel(offers)
    await channel.subscribe()
    await channel.publish(HALF)
    got.append(await swapped(box, Fraction(1, 3)))
    got.append((await channel.receive()).data)
    got.append(await child_of_boxes(THIRD))
    shelf = ctx.entity(Shelf, ctx.instance_id)
    assert await shelf.put(HALF) is None
    got.append(await shelf.put(THIRD) or THIRD)
    async with ctx.handling(swap.by(swaps), boxed.by(receives)):
        await ctx.until(lambda: len(got) == 5)
    return got


async def test_each_way_brings_them_back(open_app: Open) -> None:
    app = await open_app(workflows=[everything, child_of_boxes, Shelf])
    handle = await app.start(everything, HALF)

    assert await handle.request(swap, HALF, timeout=200) == THIRD
    await handle.signal(boxed, THIRD)

    assert await handle.result(timeout=200) == [HALF, HALF, THIRD, HALF, THIRD]
    assert await app.entity_handle(Shelf, handle.instance_id).state() == Shelf(THIRD)


async def test_streams_and_reports(open_app: Open) -> None:
    app = await open_app(workflows=[child_of_boxes])
    handle = await app.start(child_of_boxes, THIRD)

    assert await handle.result(timeout=200) == THIRD
    assert kept([item async for item in handle.stream(steps)]) == [THIRD]
    assert await handle.report() == {"part": {"$type": "Split", "share": "1/3"}, "names": {}}
