"""A workflow fails that returns while a task of its own has work in flight, or with a forgotten call of `ctx`."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from msgspec import Raw

from romancy.core import (
    ActivityCompleted,
    ActivityScheduled,
    LogEvent,
    Run,
    TimerFired,
    TimerStarted,
    WorkflowCompleted,
    WorkflowFailed,
)
from romancy.core.fold.recall import recalled
from romancy.status import Status
from romancy.workflow import workflow
from tests.core.driver import started
from tests.core.unawaited import NAME, Body, charge, child, ended

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy.context import WorkflowContext


async def a_task_that_has_not_begun(ctx: WorkflowContext) -> str:
    task = asyncio.create_task(charge())
    return f"{task.done()}"


async def a_gather_that_has_not_begun(ctx: WorkflowContext) -> str:
    both = asyncio.gather(charge("1"), charge("2"))
    return f"{both.done()}"


async def held_by_a_task(ctx: WorkflowContext) -> str:
    async def later(call: Awaitable[str]) -> str:
        await ctx.sleep(3600)
        return await call

    task = asyncio.create_task(later(charge()))
    await charge("other")
    return f"{task.done()}"


async def held_on_the_stack_of_a_task(ctx: WorkflowContext) -> str:
    async def both(one: Awaitable[str], other: str) -> str:
        return await one + other

    async def slowly() -> str:
        await ctx.sleep(3600)
        return "other"

    async def run() -> str:
        return await both(charge(), await slowly())

    task = asyncio.create_task(run())
    await charge("other")
    return f"{task.done()}"


async def held_by_a_queue_of_workers(ctx: WorkflowContext) -> str:
    queue: asyncio.Queue[Awaitable[str]] = asyncio.Queue()

    async def work() -> None:
        while True:
            await (await queue.get())
            await ctx.sleep(3600)

    workers = [asyncio.create_task(work()) for _ in range(2)]
    for number in range(5):
        queue.put_nowait(charge(str(number)))
    await ctx.sleep(1)
    return f"{len(workers)}"


async def held_by_a_partial_of_a_timer(ctx: WorkflowContext) -> str:
    loop = asyncio.get_running_loop()
    loop.call_later(3600, partial(asyncio.ensure_future, charge()))
    return "later"


async def a_child_in_a_task(ctx: WorkflowContext) -> bool:
    task = asyncio.create_task(child())
    return task.done()


async def a_wait_in_a_task(ctx: WorkflowContext) -> bool:
    async def confirms() -> None:
        await ctx.wait_event("paid")
        await charge()

    task = asyncio.create_task(confirms())
    await charge()
    return task.done()


async def a_sleep_in_a_task(ctx: WorkflowContext) -> bool:
    async def later() -> None:
        await ctx.sleep(5)
        await charge()

    task = asyncio.create_task(later(), name="reminder")
    return task.done()


async def a_sleep_until_in_a_task(ctx: WorkflowContext) -> bool:
    async def later() -> None:
        await ctx.sleep_until(ctx.now() + timedelta(days=1))
        await charge()

    task = asyncio.create_task(later())
    return task.done()


async def a_sleep_of_asyncio_in_a_task(ctx: WorkflowContext) -> bool:
    async def later() -> None:
        await asyncio.sleep(5)
        await charge()

    task = asyncio.create_task(later())
    await charge()
    return task.done()


async def a_listener(ctx: WorkflowContext) -> str:
    notes: list[object] = []

    async def listen() -> None:
        while True:
            notes.append((await ctx.wait_event("paid")).data)

    listening = asyncio.create_task(listen())
    return await charge() + f" {listening.done()}"


async def a_listener_that_has_not_begun(ctx: WorkflowContext) -> str:
    listening = asyncio.create_task(ctx.wait_event("paid"))
    return f"{listening.done()}"


async def a_listener_that_outlives_its_cancellation(ctx: WorkflowContext) -> str:
    async def listen() -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await ctx.wait_event("paid")
                await charge("late")

    listening = asyncio.create_task(listen())
    return await charge() + f" {listening.done()}"


async def a_task_with_conditions(ctx: WorkflowContext) -> str:
    event, queue, lock = asyncio.Event(), asyncio.Queue[str](), asyncio.Lock()

    async def waits() -> None:
        await event.wait()
        await charge("late")

    async def takes() -> None:
        await charge(await queue.get())

    async def locks() -> None:
        async with lock:
            await charge("late")

    async def waits_for_another() -> None:
        await waiting
        await charge("late")

    await lock.acquire()
    waiting = asyncio.create_task(waits())
    tasks = [asyncio.create_task(one()) for one in (takes, locks, waits_for_another)]
    return await charge() + f" {len(tasks)}"


async def a_listener_in_a_generator(ctx: WorkflowContext) -> str:
    async def notes() -> AsyncGenerator[object, None]:
        while True:
            yield (await ctx.wait_event("paid")).data

    async def listen() -> None:
        async for _ in notes():
            await charge("late")

    listening = asyncio.create_task(listen())
    return await charge() + f" {listening.done()}"


async def a_listener_behind_a_group(ctx: WorkflowContext) -> str:
    async def listen() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.wait_event("paid"))
            group.create_task(ctx.sleep(60))

    listening = asyncio.create_task(listen())
    return await charge() + f" {listening.done()}"


async def one_beside_another_that_failed(ctx: WorkflowContext) -> str:
    async def fails() -> None:
        raise LookupError("caught")

    try:
        await asyncio.gather(charge(), fails())
    except LookupError:
        return "caught"
    return "not"


async def in_a_shield(ctx: WorkflowContext) -> str:
    async def both() -> None:
        await ctx.sleep(60)
        await charge()

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            await asyncio.shield(both())
    return "left"


LEFT: dict[Body, str] = {
    a_task_that_has_not_begun: "charge in task charge",
    a_gather_that_has_not_begun: "charge in task charge, charge in task charge",
    held_by_a_task: "charge in held_by_a_task (test_left_tasks.py, line ",
    held_on_the_stack_of_a_task: "charge in held_on_the_stack_of_a_task.<locals>.run (",
    held_by_a_queue_of_workers: "charge in held_by_a_queue_of_workers (",
    held_by_a_partial_of_a_timer: "charge in held_by_a_partial_of_a_timer (test_left_tasks.py, line ",
    a_child_in_a_task: "child in task child",
    one_beside_another_that_failed: "charge in task charge",
}
WAITING: dict[Body, str] = {
    a_wait_in_a_task: "a wait for 'paid' in task a_wait_in_a_task.<locals>.confirms (",
    a_sleep_in_a_task: "a sleep in task 'reminder' a_sleep_in_a_task.<locals>.later (",
    a_sleep_until_in_a_task: "a sleep in task a_sleep_until_in_a_task.<locals>.later (",
    a_sleep_of_asyncio_in_a_task: "a sleep in task a_sleep_of_asyncio_in_a_task.<locals>.later (",
    in_a_shield: "a sleep in task in_a_shield.<locals>.both (",
    a_listener: "a wait for 'paid' in task a_listener.<locals>.listen (",
}
"""Tasks that only wait, and what the second rule says of them."""
DROPPED: tuple[Body, ...] = (
    *WAITING,
    a_listener_that_has_not_begun,
    a_listener_that_outlives_its_cancellation,
    a_task_with_conditions,
    a_listener_in_a_generator,
    a_listener_behind_a_group,
)


@pytest.mark.parametrize("body", LEFT, ids=lambda body: body.__name__)
def test_what_a_task_waits_for_that_is_left_behind(body: Body) -> None:
    outcome = ended(body)
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.type == NAME
    assert LEFT[body] in outcome.error.message


@pytest.mark.parametrize("body", DROPPED, ids=lambda body: body.__name__)
def test_a_task_that_only_waits_is_dropped(body: Body) -> None:
    outcome = ended(body)
    assert outcome.error is None
    assert outcome.status is Status.COMPLETED


def by_the_second_rule(body: Body) -> tuple[Run, list[list[LogEvent]]]:
    """Run it under the second rule. Returns the run and its log."""
    definition = workflow(name=body.__name__)(body)
    run = Run(definition, instance_id="x")
    log = [run.activate([started(definition, rules=2)]).events]
    for event in log[0]:
        if isinstance(event, ActivityScheduled):
            log.append(run.activate([ActivityCompleted(at=2, id=event.id, result=Raw(b'"done"'))]).events)
        elif isinstance(event, TimerStarted) and event.delay is None:
            log.append(run.activate([TimerFired(at=2_000_000, id=event.id)]).events)
    return run, log


@pytest.mark.parametrize("body", WAITING, ids=lambda body: body.__name__)
def test_a_run_of_the_second_rule_fails_and_replays_so(body: Body) -> None:
    run, log = by_the_second_rule(body)
    end = log[-1][-1]
    assert isinstance(end, WorkflowFailed)
    assert WAITING[body] in end.error.message
    again = Run(workflow(name=body.__name__)(body), instance_id="x")
    again.replay(log)
    assert again.outcome() == run.outcome()
    again.close()
    run.close()


def test_a_retry_of_a_run_of_the_second_rule_lets_it_pass() -> None:
    run, log = by_the_second_rule(a_listener)
    again = Run(workflow(name=a_listener.__name__)(a_listener), instance_id="x")
    again.recall(log)
    retried = recalled("x", log).retried(at=3, unsure="", gone=(), by="")
    assert isinstance(again.activate([retried]).events[-1], WorkflowCompleted)
    again.close()
    run.close()


FORGOTTEN: dict[str, Callable[[WorkflowContext], object]] = {
    "ctx.sleep": lambda ctx: ctx.sleep(5),
    "ctx.sleep_until": lambda ctx: ctx.sleep_until(ctx.now()),
    "ctx.wait_event": lambda ctx: ctx.wait_event("paid"),
    "ctx.subscribe": lambda ctx: ctx.subscribe("paid"),
    "ctx.unsubscribe": lambda ctx: ctx.unsubscribe("paid"),
    "ctx.send": lambda ctx: ctx.send("paid", 1),
    "ctx.publish": lambda ctx: ctx.publish("paid", 1),
    "ctx.report": lambda ctx: ctx.report(1),
    "ctx.start": lambda ctx: ctx.start(child),
    "channel.subscribe": lambda ctx: ctx.channel("orders").subscribe(),
    "channel.unsubscribe": lambda ctx: ctx.channel("orders").unsubscribe(),
    "channel.receive": lambda ctx: ctx.channel("orders").receive(),
    "channel.publish": lambda ctx: ctx.channel("orders").publish(1),
    "channel.send_to": lambda ctx: ctx.channel("orders").send_to("x", 1),
}


@pytest.mark.parametrize("name", FORGOTTEN)
def test_a_call_of_the_context_that_nobody_awaited(name: str) -> None:
    async def forgets(ctx: WorkflowContext) -> None:
        FORGOTTEN[name](ctx)
        await charge()

    outcome = ended(forgets)
    assert outcome.error is not None
    assert outcome.error.type == NAME
    assert f"{name} in <lambda> (test_left_tasks.py, line " in outcome.error.message


async def fails_and_leaves_a_task(ctx: WorkflowContext) -> None:
    task = asyncio.create_task(charge())
    await asyncio.sleep(0)
    raise LookupError(f"this is what went wrong {task.done()}")


async def recurs_and_leaves_a_task(ctx: WorkflowContext) -> None:
    task = asyncio.create_task(charge())
    await asyncio.sleep(0)
    if ctx.run == 1:
        workflow(name="recurs_and_leaves_a_task")(recurs_and_leaves_a_task).recur()
    await task


def test_tasks_are_left_by_a_body_that_does_not_return() -> None:
    failed = ended(fails_and_leaves_a_task)
    assert failed.error is not None
    assert (failed.error.type, "nobody awaited" in failed.error.trace) == ("LookupError", False)
    assert ended(recurs_and_leaves_a_task).status is Status.COMPLETED


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("body", [a_task_that_has_not_begun, held_by_a_partial_of_a_timer])
def test_a_run_of_the_first_rule_may_leave_tasks(body: Body) -> None:
    definition = workflow(name=body.__name__)(body)
    run = Run(definition, instance_id="x")
    events = run.activate([started(definition, rules=1)]).events
    assert "WorkflowFailed" not in [type(event).__name__ for event in events]
    run.close()
