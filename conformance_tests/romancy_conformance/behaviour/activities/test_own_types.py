"""Registered classes and unions of dataclasses go through inputs, results, reports and signals, and replay."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from romancy import EventType, Romancy, WorkflowContext, activity, register_type, workflow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Open = Callable[..., Awaitable[Romancy]]

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


shared = EventType("own_types_shared", dict[str, Fraction])


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
