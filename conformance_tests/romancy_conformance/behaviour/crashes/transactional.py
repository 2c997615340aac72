"""Workflows whose activities write to a user's table in their session: exactly once, or not at all."""

from __future__ import annotations

import asyncio

from romancy import (
    ActivityContext,
    RetryPolicy,
    TerminalError,
    WorkflowContext,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.status import Status
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.workflows import Scenario

__all__ = ["CREATE_TABLE", "TRANSACTIONAL", "WRITERS"]

CREATE_TABLE = "create table effects (instance varchar(200) not null, activity varchar(200) not null)"


async def _insert(context: ActivityContext) -> None:
    db = await context.session()
    await db.execute(f"insert into effects values ('{context.instance_id}', '{context.activity_id}')")  # noqa: S608 - ids of this module's making


@compensation
async def unwrite(label: str) -> None:
    await _insert(activity_context())


@activity(compensation=unwrite)
async def write(label: str) -> str:
    await _insert(activity_context())
    return label


@activity(pass_context=True, retry=RetryPolicy.fixed(4, 0.0))
async def write_at_last(ctx: ActivityContext, succeeds_at: int) -> int:
    await _insert(ctx)
    if ctx.attempt < succeeds_at:
        raise ConnectionError(f"attempt {ctx.attempt} of {succeeds_at}")
    return ctx.attempt


@activity(pass_context=True)
async def write_and_tell(ctx: ActivityContext, label: str) -> str:
    await ctx.publish("written", {"label": label})
    await _insert(ctx)
    return label


@workflow
async def writes_in_line(ctx: WorkflowContext) -> str:
    return await write("a") + await write("b") + await write("c")


@workflow
async def writes_at_once(ctx: WorkflowContext) -> str:
    return "".join(await asyncio.gather(*(write(letter) for letter in "abc")))


@workflow
async def writes_after_failures(ctx: WorkflowContext) -> list[int]:
    return [await write_at_last(3), await write_at_last(1)]


@workflow
async def writes_and_undoes(ctx: WorkflowContext) -> None:
    await write("a")
    await write("b")
    raise TerminalError("second thoughts")


calls_write_and_tell = calling(write_and_tell)


@workflow
async def writes_through_a_child(ctx: WorkflowContext) -> str:
    return await write("parent") + await calls_write_and_tell("child")


@workflow
async def writes_and_recurs(ctx: WorkflowContext, left: int) -> str:
    await write(f"{left}")
    if left:
        writes_and_recurs.recur(left - 1)
    return f"run {ctx.run}"


WRITERS = frozenset({"write", "write_at_last", "write_and_tell", "unwrite"})
"""The activities and compensations that insert one row each."""

TRANSACTIONAL = {
    scenario.name: scenario
    for scenario in (
        Scenario(writes_in_line, (), "abc"),
        Scenario(writes_at_once, (), "abc"),
        Scenario(writes_after_failures, (), [3, 1]),
        Scenario(writes_and_undoes, status=Status.FAILED, error="TerminalError"),
        Scenario(writes_through_a_child, (), "parentchild", children=(calls_write_and_tell,)),
        Scenario(writes_and_recurs, (2,), "run 3"),
    )
}
