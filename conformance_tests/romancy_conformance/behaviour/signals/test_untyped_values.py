"""What no annotation declares may be whatever a result may be: reports, events, messages and their data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import pytest

from romancy import Romancy, WorkflowContext, activity, activity_context, workflow

pytestmark = pytest.mark.anyio


class Language(IntEnum):
    EN = 1
    FR = 2


@dataclass
class State:
    greetings: dict[Language, str]
    numbers: dict[int, list[str]] = field(default_factory=dict[int, list[str]])


STATE = State({Language.EN: "hello", Language.FR: "salut"}, {7: ["a"]})
PLAIN = {"greetings": {"1": "hello", "2": "salut"}, "numbers": {"7": ["a"]}}


@workflow
async def returns(ctx: WorkflowContext) -> State:
    return STATE


@workflow
async def reports(ctx: WorkflowContext, inside: str) -> None:
    await ctx.report({"": STATE, "list": [STATE], "dict": {"it": STATE}}[inside])


@activity
async def tells(to: str) -> None:
    await activity_context().send("told", STATE, to=to)
    await activity_context().publish("out", STATE)


@workflow
async def sends(ctx: WorkflowContext, to: str) -> None:
    await ctx.send("told", STATE, to=to)
    await ctx.publish("out", STATE)
    await ctx.channel("states").send_to(to, STATE)
    await tells(to)


@workflow
async def hears(ctx: WorkflowContext) -> list[Any]:
    states = ctx.channel("states")
    await states.subscribe("direct")
    heard = [(await ctx.wait_event("told")).data for _ in range(3)]
    return [*heard, (await states.receive()).data]


@pytest.mark.parametrize("inside", ["", "list", "dict"])
async def test_a_report_stores_what_a_result_stores(app: Romancy, inside: str) -> None:
    assert STATE == await app.run(returns)
    handle = await app.start(reports, inside)
    await handle.result(timeout=60)

    assert {"": PLAIN, "list": [PLAIN], "dict": {"it": PLAIN}}[inside] == await handle.report()


async def test_so_do_events_and_messages(app: Romancy) -> None:
    handle = await app.start(hears)
    await handle.signal("told", STATE)
    await app.run(sends, handle.instance_id)

    assert [PLAIN] * 4 == await handle.result(timeout=60)
