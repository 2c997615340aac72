"""Sequential workflows: sequences, loops, branches, helpers, retries and errors."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING

from romancy.context import WorkflowContext
from romancy.errors import ActivityError, RetryExhaustedError, TerminalError
from romancy.retry import RetryPolicy
from romancy.status import Status
from romancy.workflow import workflow
from romancy_conformance.workflows._scenario import Scenario
from romancy_conformance.workflows.activities import (
    OutOfStockError,
    add,
    break_down,
    charge,
    echo,
    flaky,
    keyed,
    refuse,
    take,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["SCENARIOS"]


@workflow
async def nothing_at_all(ctx: WorkflowContext) -> None:
    return None


@workflow
async def one_step(ctx: WorkflowContext, n: int) -> int:
    return await echo(n)


@workflow
async def five_steps(ctx: WorkflowContext, n: int) -> int:
    for step in range(5):
        n = await add(n, step)
    return n


@workflow
async def branches(ctx: WorkflowContext, score: int) -> str:
    if await echo(score) >= 700:
        await add(score, 1)
        return "approved"
    await keyed("no")
    return "rejected"


async def _count_down(n: int) -> AsyncGenerator[int, None]:
    while n:
        yield await echo(n)
        n -= 1


@workflow
async def async_generator(ctx: WorkflowContext) -> int:
    total = 0
    async for value in _count_down(4):
        total = await add(total, value)
    return total


@workflow
async def generator_left_early(ctx: WorkflowContext) -> int:
    value = 0
    async with contextlib.aclosing(_count_down(9)) as numbers:
        async for value in numbers:
            if value < 8:
                break
    return await echo(value)


@contextlib.asynccontextmanager
async def _bracket(n: int) -> AsyncGenerator[int, None]:
    yield await echo(n)
    await echo(-n)


@workflow
async def context_managers(ctx: WorkflowContext) -> int:
    async with _bracket(1) as a, _bracket(2) as b:
        return await add(a, b)


@workflow
async def retried_until_it_works(ctx: WorkflowContext) -> int:
    return await flaky(3)


@workflow
async def retried_with_a_policy_of_the_call(ctx: WorkflowContext) -> str:
    try:
        await flaky.options(retry=RetryPolicy.fixed(2, timedelta(seconds=5)))(9)
    except RetryExhaustedError as error:
        return f"{error.attempts} {type(error.__cause__).__name__}"
    return "worked"


async def sell_out(item: str) -> None:
    await take(item, 0)


@workflow
async def errors_as_values(ctx: WorkflowContext) -> list[str]:
    caught: list[str] = []
    for name, call in (("a", break_down), ("b", refuse), ("c", sell_out)):
        try:
            await call(name)
        except (TerminalError, OutOfStockError, ActivityError) as error:
            caught.append(type(error).__name__)
    return caught


@workflow
async def cleans_up(ctx: WorkflowContext) -> str:
    log: list[str] = []
    try:
        try:
            await charge(10, 5)
        finally:
            log.append(await keyed("finally"))
    except TerminalError:
        log.append(await keyed("except"))
    return " ".join(word.split()[0] for word in log)


@workflow
async def fails(ctx: WorkflowContext) -> None:
    await echo(1)
    raise LookupError("nothing to be found")


@workflow
async def fails_by_an_activity(ctx: WorkflowContext) -> None:
    await break_down("worn out")


@workflow
async def ids_of_both_kinds(ctx: WorkflowContext) -> list[str]:
    first = await keyed.options(id="keyed:2")("chosen")
    return [first, await keyed("one"), await keyed("three"), await keyed.options(id="mine")("mine")]


@workflow
async def draws(ctx: WorkflowContext) -> int:
    ids = {ctx.uuid4(), ctx.uuid4()}
    number = ctx.random().randrange(1000)
    await echo(number)
    again = ctx.random().randrange(1000)
    await keyed(f"{len(ids)} {ctx.uuid4()}")
    return await add(number, again) * 0 + len(ids)


@workflow
async def tells_the_time(ctx: WorkflowContext) -> float:
    before = ctx.now()
    await ctx.sleep(90)
    await ctx.sleep(timedelta(minutes=1))
    return (ctx.now() - before).total_seconds()


@workflow
async def many_arguments(ctx: WorkflowContext, first: int, second: int = 7, *, third: int = 1) -> int:
    return await add(first * third, second=second)


@workflow
async def patched_branch(ctx: WorkflowContext) -> list[int]:
    taken = [await echo(1)]
    if ctx.patched("more"):
        taken.append(await echo(2))
    if ctx.patched("more"):
        taken.append(await echo(3))
    return taken


@workflow
async def reports(ctx: WorkflowContext) -> str:
    for step in range(3):
        await ctx.report({"done": await echo(step)})
    await ctx.publish("finished", {"by": ctx.instance_id})
    return ctx.workflow_name


SCENARIOS = [
    Scenario(nothing_at_all),
    Scenario(one_step, (7,), 7),
    Scenario(five_steps, (1,), 11),
    Scenario(branches, (720,), "approved"),
    Scenario(branches, (300,), "rejected"),
    Scenario(async_generator, (), 10),
    Scenario(generator_left_early, (), 7),
    Scenario(context_managers, (), 3),
    Scenario(retried_until_it_works, (), 3),
    Scenario(retried_with_a_policy_of_the_call, (), "2 ConnectionError"),
    Scenario(errors_as_values, (), ["RetryExhaustedError", "TerminalError", "OutOfStockError"]),
    Scenario(cleans_up, (), "finally except"),
    Scenario(fails, status=Status.FAILED, error="LookupError"),
    Scenario(fails_by_an_activity, status=Status.FAILED, error="RetryExhaustedError"),
    Scenario(ids_of_both_kinds, (), ["chosen keyed:2 32", "one keyed:1 32", "three keyed:3 32", "mine mine 32"]),
    Scenario(draws, (), 2),
    Scenario(tells_the_time, (), 150.0),
    Scenario(many_arguments, (3,), 10),
    Scenario(patched_branch, (), [1, 2, 3]),
    Scenario(reports, (), "reports"),
]
