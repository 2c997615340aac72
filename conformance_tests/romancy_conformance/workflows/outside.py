"""Input from outside and output to it: events, signals, children, cancellation, sagas, new runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from romancy.context import WorkflowContext
from romancy.errors import EventTimeoutError, TerminalError, WorkflowCancelledError, WorkflowFailedError
from romancy.event import EventType
from romancy.status import Status
from romancy.workflow import workflow
from romancy_conformance.workflows._scenario import Scenario
from romancy_conformance.workflows.activities import book, charge, commit_to, echo, hire, slow

__all__ = ["SCENARIOS"]


@dataclass
class Payment:
    amount: int
    settled: bool


payment_settled = EventType("payment.settled", Payment)


@workflow
async def waits_for_an_event(ctx: WorkflowContext) -> int:
    event = await ctx.wait_event(payment_settled, timeout=timedelta(days=2))
    return await echo(event.data.amount)


@workflow
async def waits_in_vain(ctx: WorkflowContext) -> str:
    try:
        await ctx.wait_event("never", timeout=30)
    except EventTimeoutError:
        return f"gave up {await echo(1)}"
    return "it came"


@workflow
async def collects_signals(ctx: WorkflowContext) -> list[int]:
    found: list[int] = []
    while len(found) < 3:
        event = await ctx.wait_event("number", model=int)
        found.append(await echo(event.data))
    return found


@workflow
async def first_of_two_events(ctx: WorkflowContext) -> str:
    waits = [asyncio.create_task(ctx.wait_event(name, model=str)) for name in ("left", "right")]
    done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return f"{done.pop().result().data} {await echo(len(pending))}"


@workflow
async def listens_while_it_works(ctx: WorkflowContext) -> int:
    heard = 0

    async def listen() -> None:
        nonlocal heard
        while True:
            heard += (await ctx.wait_event("number", model=int)).data

    listener = asyncio.create_task(listen())
    for n in range(3):
        await slow(n)
    listener.cancel()
    return heard


@workflow
async def child_that_adds(ctx: WorkflowContext, n: int) -> int:
    await ctx.sleep(1)
    return await echo(n + 1)


@workflow
async def child_that_fails(ctx: WorkflowContext) -> None:
    await book("in the child")
    await charge(2, 1)


@workflow
async def child_that_sleeps(ctx: WorkflowContext) -> str:
    await book("in the sleeper")
    await ctx.sleep(timedelta(hours=1))
    return "rested"


@workflow
async def grandparent(ctx: WorkflowContext) -> int:
    return await parent_of_two(await echo(1))


@workflow
async def parent_of_two(ctx: WorkflowContext, n: int) -> int:
    first, second = await asyncio.gather(child_that_adds(n), child_that_adds(n + 10))
    return await echo(first + second)


@workflow
async def survives_a_child(ctx: WorkflowContext) -> str:
    try:
        await child_that_fails()
    except WorkflowFailedError as error:
        return f"{error.error_type.rpartition('.')[2]} {await echo(1)}"
    return "no error"


@workflow
async def starts_and_goes_on(ctx: WorkflowContext) -> int:
    handle = await ctx.start(child_that_adds, 41)
    meanwhile = await slow(1)
    return await handle.result() + meanwhile


@workflow
async def stops_its_child(ctx: WorkflowContext) -> str:
    handle = await ctx.start(child_that_sleeps.options(instance_id="the-sleeper"))
    await ctx.sleep(5)
    handle.cancel()
    try:
        return f"{await child_that_adds(1)} {await handle.result()}"
    except (WorkflowCancelledError, asyncio.CancelledError):
        return f"stopped {handle.instance_id}"


@workflow
async def fails_beside_its_child(ctx: WorkflowContext) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(child_that_sleeps())
        await ctx.sleep(3)
        raise LookupError("gone")


@workflow
async def trip(ctx: WorkflowContext, limit: int) -> str:
    room = await book("room")
    car = await hire("car", 3)
    paid = await charge(100, limit)
    return f"{room}, {car}, {paid}"


@workflow
async def trip_at_once(ctx: WorkflowContext) -> str:
    await asyncio.gather(book("room"), slow(1), hire("car", 3), charge(100, 50))
    return "away"


@workflow
async def cannot_be_undone(ctx: WorkflowContext) -> None:
    await book("room")
    await commit_to("marriage")
    await book("cake")
    raise TerminalError("second thoughts")


@workflow
async def cancelled_in_its_sleep(ctx: WorkflowContext) -> None:
    await book("bed")
    try:
        await ctx.sleep(timedelta(hours=8))
    finally:
        await echo(1)


@workflow
async def cancelled_at_work(ctx: WorkflowContext) -> None:
    await book("desk")
    await slow(1)


@workflow
async def refuses_to_stop(ctx: WorkflowContext) -> str:
    try:
        await slow(1)
    except asyncio.CancelledError:
        return f"not now {await echo(2)}"
    return "undisturbed"


@workflow
async def counts_down(ctx: WorkflowContext, n: int, total: int) -> int:
    total += await echo(n)
    await ctx.sleep(60)
    if n:
        counts_down.recur(n - 1, total)
    return total + ctx.run


@workflow
async def recurs_at_once(ctx: WorkflowContext, n: int) -> str:
    if n:
        recurs_at_once.recur(n - 1)
    return f"run {ctx.run}"


@workflow
async def approval(ctx: WorkflowContext, amount: int) -> str:
    await ctx.report("asking")
    try:
        answer = await ctx.wait_event("approved", model=bool, timeout=timedelta(days=1))
    except EventTimeoutError:
        await ctx.publish("escalated", {"amount": amount})
        answer = await ctx.wait_event("approved.by.boss", model=bool)
    return "yes" if answer.data else "no"


CHILDREN = (child_that_adds, child_that_fails, child_that_sleeps, parent_of_two)

SCENARIOS = [
    Scenario(waits_for_an_event, (), 12, events=((3, "payment.settled", {"amount": 12, "settled": True}),)),
    Scenario(waits_in_vain, (), "gave up 1"),
    Scenario(collects_signals, (), [1, 2, 3], events=((1, "number", 1), (1, "number", 2), (7, "number", 3))),
    Scenario(first_of_two_events, (), "b 1", events=((2, "right", "b"), (5, "left", "a"))),
    Scenario(
        listens_while_it_works,
        (),
        11,
        durations={"slow": 4},
        events=((1, "number", 1), (5, "number", 10), (99, "number", 100)),
    ),
    Scenario(grandparent, (), 14, children=CHILDREN),
    Scenario(survives_a_child, (), "TerminalError 1", children=CHILDREN),
    Scenario(starts_and_goes_on, (), 43, durations={"slow": 9}, children=CHILDREN),
    Scenario(stops_its_child, (), "stopped the-sleeper", children=CHILDREN),
    Scenario(fails_beside_its_child, status=Status.FAILED, error="ExceptionGroup", children=CHILDREN),
    Scenario(grandparent, status=Status.CANCELLED, cancel_at=0.5, children=CHILDREN),
    Scenario(trip, (500,), "booked room, hired car for 3, charged 100"),
    Scenario(trip, (50,), status=Status.FAILED, error="TerminalError"),
    Scenario(trip_at_once, status=Status.FAILED, error="TerminalError", durations={"slow": 30}),
    Scenario(cannot_be_undone, status=Status.FAILED, error="TerminalError"),
    Scenario(cancelled_in_its_sleep, status=Status.CANCELLED, cancel_at=60),
    Scenario(cancelled_at_work, status=Status.CANCELLED, cancel_at=2, durations={"slow": 9}),
    Scenario(refuses_to_stop, (), "not now 2", cancel_at=2, durations={"slow": 9}),
    Scenario(counts_down, (4, 0), 15),
    Scenario(recurs_at_once, (5,), "run 6"),
    Scenario(approval, (10,), "yes", events=((5, "approved", True),)),
    Scenario(approval, (10,), "no", events=((200_000, "approved.by.boss", False),)),
]
