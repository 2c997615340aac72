"""Concurrency: everything asyncio and anyio offer for it, in plain use."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import anyio

from romancy.context import WorkflowContext
from romancy.errors import TerminalError
from romancy.status import Status
from romancy.workflow import workflow
from romancy_conformance.workflows._scenario import Scenario
from romancy_conformance.workflows.activities import add, charge, echo, flaky, refuse, slow

__all__ = ["SCENARIOS"]


@workflow
async def gathered(ctx: WorkflowContext, n: int) -> list[int]:
    return list(await asyncio.gather(*(echo(i) for i in range(n))))


@workflow
async def gathered_with_errors(ctx: WorkflowContext) -> list[str]:
    outcomes = await asyncio.gather(echo(1), refuse("no"), flaky(2), return_exceptions=True)
    return [type(outcome).__name__ for outcome in outcomes]


async def _pair(n: int) -> int:
    return await add(await echo(n), await slow(n))


@workflow
async def nested_gathers(ctx: WorkflowContext) -> int:
    left, right = await asyncio.gather(asyncio.gather(_pair(1), _pair(2)), asyncio.gather(_pair(3), echo(4)))
    return sum(left) + sum(right)


@workflow
async def task_group(ctx: WorkflowContext) -> int:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_pair(n)) for n in range(4)]
    return sum(task.result() for task in tasks)


async def _tidy(n: int) -> None:
    try:
        await slow(n)
    finally:
        await echo(100 + n)


@workflow
async def task_group_that_breaks(ctx: WorkflowContext) -> str:
    broken = 0
    try:
        async with asyncio.TaskGroup() as group:
            for n in range(5):
                group.create_task(_tidy(n))
            await charge(2, 1)
    except* TerminalError as errors:
        broken = len(errors.exceptions)
    return f"{broken} error"


@workflow
async def first_completed(ctx: WorkflowContext) -> int:
    tasks = [asyncio.create_task(call) for call in (_pair(5), slow(9), _pair(7))]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.wait(pending)
    return sum(task.result() for task in done)


@workflow
async def waited_for_all(ctx: WorkflowContext) -> int:
    total = 0
    done, _ = await asyncio.wait([asyncio.create_task(_pair(n)) for n in range(6)])
    for task in done:
        total = await add(total, task.result())
    return total


@workflow
async def as_they_complete(ctx: WorkflowContext) -> list[int]:
    order: list[int] = []
    for result in asyncio.as_completed([slow(n) if n % 2 else echo(n) for n in range(6)]):
        order.append(await result)
        await echo(order[-1])
    return sorted(order)


@workflow
async def timed_out(ctx: WorkflowContext) -> str:
    try:
        async with asyncio.timeout(5):
            await slow(1)
    except TimeoutError:
        return f"too late {await echo(2)}"
    return "in time"


@workflow
async def timed_in(ctx: WorkflowContext) -> int:
    async with asyncio.timeout(60):
        return await slow(1)


@workflow
async def waited_for(ctx: WorkflowContext) -> list[int]:
    results = await asyncio.gather(asyncio.wait_for(slow(1), 60), echo(2), asyncio.wait_for(echo(3), 10))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(slow(4), 1)
    return list(results)


@workflow
async def shielded(ctx: WorkflowContext) -> int:
    inner = asyncio.ensure_future(slow(6))
    try:
        await asyncio.wait_for(asyncio.shield(inner), 3)
    except TimeoutError:
        return await add(await inner, 1)
    return 0


@workflow
async def queue_of_workers(ctx: WorkflowContext) -> int:
    todo: asyncio.Queue[int] = asyncio.Queue()
    done: list[int] = []

    async def worker() -> None:
        while True:
            n = await todo.get()
            done.append(await (slow(n) if n % 2 else echo(n)))
            todo.task_done()

    workers = [asyncio.create_task(worker()) for _ in range(3)]
    for n in range(7):
        todo.put_nowait(n)
    await todo.join()
    for task in workers:
        task.cancel()
    return sum(done)


@workflow
async def locks_and_signals(ctx: WorkflowContext) -> list[int]:
    lock, ready, entered = asyncio.Lock(), asyncio.Event(), list[int]()

    async def visit(n: int) -> None:
        await ready.wait()
        async with lock:
            entered.append(await slow(n))

    async with asyncio.TaskGroup() as group:
        for n in range(3):
            group.create_task(visit(n))
        await echo(0)
        ready.set()
    return entered


@workflow
async def sleeps_side_by_side(ctx: WorkflowContext) -> list[int]:
    woken: list[int] = []

    async def nap(n: int) -> None:
        await asyncio.sleep(n)
        woken.append(n)

    await asyncio.gather(*(nap(n) for n in (5, 1, 3, 1)))
    return woken


@workflow
async def semaphore(ctx: WorkflowContext) -> int:
    gate = asyncio.Semaphore(2)

    async def one(n: int) -> int:
        async with gate:
            return await slow(n)

    return sum(await asyncio.gather(*(one(n) for n in range(5))))


@workflow
async def anyio_group(ctx: WorkflowContext) -> list[int]:
    found: list[int] = []

    async def look(n: int) -> None:
        found.append(await (slow(n) if n % 2 else echo(n)))

    async with anyio.create_task_group() as group:
        for n in range(4):
            group.start_soon(look, n)
    return found


@workflow
async def anyio_cancel(ctx: WorkflowContext) -> str:
    with anyio.move_on_after(2) as scope:
        async with anyio.create_task_group() as group:
            for n in range(4):
                group.start_soon(_tidy_shielded, n)
    return f"cancelled {scope.cancelled_caught}"


async def _tidy_shielded(n: int) -> None:
    try:
        await slow(n)
    finally:
        with anyio.CancelScope(shield=True):
            await echo(n)


@workflow
async def anyio_streams(ctx: WorkflowContext) -> int:
    send, receive = anyio.create_memory_object_stream[int](1)

    async def produce() -> None:
        async with send:
            for n in range(4):
                await send.send(await echo(n))

    total = 0
    async with anyio.create_task_group() as group:
        group.start_soon(produce)
        async with receive:
            async for value in receive:
                total = await add(total, value)
    return total


@workflow
async def background_task_left_behind(ctx: WorkflowContext) -> int:
    async def forever() -> None:
        while True:
            await ctx.sleep(10)
            await slow(1)

    task = asyncio.create_task(forever())
    await ctx.sleep(timedelta(seconds=15))
    return await echo(int(not task.done()))


@workflow
async def background_task_stopped(ctx: WorkflowContext) -> int:
    async def forever() -> None:
        while True:
            await ctx.sleep(10)
            await slow(1)

    task = asyncio.create_task(forever())
    await ctx.sleep(timedelta(seconds=15))
    task.cancel()
    return await echo(int(not task.done()))


@workflow
async def a_race_of_timer_and_activity(ctx: WorkflowContext) -> str:
    nap = asyncio.create_task(ctx.sleep(4))
    work = asyncio.create_task(slow(1))
    done, pending = await asyncio.wait([nap, work], return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return "work" if work in done else f"nap {await echo(len(pending))}"


SLOW = {"slow": 4.0}

SCENARIOS = [
    Scenario(gathered, (6,), [0, 1, 2, 3, 4, 5]),
    Scenario(gathered_with_errors, (), ["int", "TerminalError", "int"]),
    Scenario(nested_gathers, (), 16, durations=SLOW),
    Scenario(task_group, (), 12, durations=SLOW),
    Scenario(task_group_that_breaks, (), "1 error", durations=SLOW),
    Scenario(first_completed, (), 9, durations=SLOW),
    Scenario(waited_for_all, (), 30, durations=SLOW),
    Scenario(as_they_complete, (), [0, 1, 2, 3, 4, 5], durations=SLOW),
    Scenario(timed_out, (), "too late 2", durations={"slow": 9.0}),
    Scenario(timed_in, (), 1, durations=SLOW),
    Scenario(waited_for, (), [1, 2, 3], durations=SLOW),
    Scenario(shielded, (), 7, durations=SLOW),
    Scenario(queue_of_workers, (), 21, durations=SLOW),
    Scenario(locks_and_signals, (), [0, 1, 2], durations=SLOW),
    Scenario(sleeps_side_by_side, (), [1, 1, 3, 5]),
    Scenario(semaphore, (), 10, durations=SLOW),
    Scenario(anyio_group, (), [0, 2, 1, 3], durations=SLOW),
    Scenario(anyio_cancel, (), "cancelled True", durations=SLOW),
    Scenario(anyio_streams, (), 6),
    Scenario(background_task_left_behind, (), 1, durations=SLOW),
    Scenario(background_task_stopped, (), 1, durations=SLOW),
    Scenario(a_race_of_timer_and_activity, (), "work", durations={"slow": 3.0}),
    Scenario(a_race_of_timer_and_activity, (), "nap 1", durations={"slow": 5.0}),
    Scenario(sleeps_side_by_side, status=Status.CANCELLED, cancel_at=2.0),
]
