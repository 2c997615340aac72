"""Inputs in any order and any grouping: every resulting log can be replayed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from romancy.context import WorkflowContext
from romancy.core import (
    ActivityCompleted,
    CancelRequested,
    Input,
    LogEvent,
    Run,
    StartActivity,
    StartTimer,
    TimerFired,
    decode_commit,
    encode_commit,
)
from romancy.workflow import workflow
from romancy_conformance.workflows.activities import add, echo
from tests.core.driver import SECOND, START, started

if TYPE_CHECKING:
    from collections.abc import Sequence


async def chain(ctx: WorkflowContext, n: int) -> int:
    total = await echo(n)
    async with asyncio.timeout(100):
        total += await add(total, n)
    await ctx.sleep(n + 1)
    return total


@workflow
async def many_chains(ctx: WorkflowContext) -> list[int]:
    return sorted([await answer for answer in asyncio.as_completed([chain(ctx, n) for n in range(4)])])


def _only(arguments: Raw) -> Raw:
    (value,) = msgspec.json.decode(arguments).values()
    return Raw(msgspec.json.encode(value))


class Open:
    """Requests to the world without an answer."""

    def __init__(self) -> None:
        self.waiting: dict[str, Input] = {}

    def take_in(self, effects: Sequence[Any]) -> None:
        for effect in effects:
            if isinstance(effect, StartActivity):
                args = _only(effect.args) if effect.name == "echo" else Raw(b"7")
                self.waiting[effect.activity_id] = ActivityCompleted(at=START, id=effect.activity_id, result=args)
            elif isinstance(effect, StartTimer):
                self.waiting[effect.timer_id] = TimerFired(at=effect.due, id=effect.timer_id)

    def without_timeouts(self) -> list[str]:
        return [
            key
            for key, event in self.waiting.items()
            if not isinstance(event, TimerFired) or event.at < START + 50 * SECOND
        ]


@settings(max_examples=40)
@given(st.data())
def test_inputs_in_any_order_and_grouping_write_a_log_that_replays(data: st.DataObject) -> None:
    run = Run(many_chains, instance_id="x")
    todo = Open()
    activation = run.activate([started(many_chains)])
    log: list[list[LogEvent]] = [activation.events]
    todo.take_in(activation.effects)
    while activation.outcome is None:
        order = data.draw(st.permutations(todo.without_timeouts()))
        chosen = order[: data.draw(st.integers(1, len(order)))]
        activation = run.activate([todo.waiting.pop(key) for key in chosen])
        assert activation.dropped == ()
        log.append(decode_commit(encode_commit(activation.events)))
        todo.take_in(activation.effects)
    assert activation.outcome.result == Raw(b"[7,8,9,10]")
    for length in range(1, len(log) + 1):
        again = Run(many_chains, instance_id="x")
        again.replay(log[:length])
        if length == len(log):
            assert again.outcome() == activation.outcome
        again.close()


def test_late_and_repeated_inputs_in_one_batch_are_dropped() -> None:
    run = Run(many_chains, instance_id="x")
    run.activate([started(many_chains)])
    once = ActivityCompleted(at=START, id="echo:1", result=Raw(b"0"))
    never = TimerFired(at=START, id="timer:77")
    activation = run.activate([once, once, never, CancelRequested(at=START), CancelRequested(at=START)])
    assert activation.dropped == (once, never, CancelRequested(at=START))
    assert [type(event).__name__ for event in activation.events if isinstance(event, Input)] == [
        "ActivityCompleted",
        "CancelRequested",
    ]
    run.close()
