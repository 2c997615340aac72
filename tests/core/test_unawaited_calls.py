"""A workflow that ends with an unawaited call fails and names it; a call that may still be awaited does not count."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from romancy.core import RULES, Run
from romancy.entity import entity
from romancy.status import Status
from romancy.workflow import workflow
from tests.core.driver import started
from tests.core.unawaited import NAME, Body, charge, child, ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from romancy.context import WorkflowContext


@entity("counter")
@dataclass
class Counter:
    count: int = 0

    async def add(self) -> int:
        self.count += 1
        return self.count


class Box:
    """Part of a cycle: the collector decides when it is collected."""

    def __init__(self, call: Awaitable[Any]) -> None:
        self.call = call
        self.me = self


async def as_a_statement(ctx: WorkflowContext) -> None:
    charge()  # type: ignore[unused-coroutine]


async def in_a_variable(ctx: WorkflowContext) -> None:
    _call = charge()
    await charge("another")


async def in_a_cycle(ctx: WorkflowContext) -> None:
    Box(charge())


async def only_under_a_condition(ctx: WorkflowContext) -> None:
    call = charge()
    if ctx.run > 1:
        await call


async def as_its_result(ctx: WorkflowContext) -> Any:
    return charge()


async def of_a_child(ctx: WorkflowContext) -> None:
    child()  # type: ignore[unused-coroutine]


async def of_a_stream(ctx: WorkflowContext) -> None:
    ctx.stream("tokens", model=str).write("lost")  # type: ignore[unused-coroutine]


async def of_an_entity(ctx: WorkflowContext) -> None:
    ctx.entity(Counter, "7").add()  # type: ignore[unused-coroutine]


async def with_options(ctx: WorkflowContext) -> None:
    charge.options(id="mine")("x")  # type: ignore[unused-coroutine]


async def by_a_task_that_has_ended(ctx: WorkflowContext) -> None:
    async def forgets() -> None:
        charge()  # type: ignore[unused-coroutine]

    await asyncio.create_task(forgets())


async def beside_a_task_that_goes_on(ctx: WorkflowContext) -> None:
    async def goes_on() -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(goes_on())
    charge()  # type: ignore[unused-coroutine]
    await charge("other")
    del task


async def before_it_continues(ctx: WorkflowContext) -> None:
    charge()  # type: ignore[unused-coroutine]
    if ctx.run == 1:
        workflow(name="before_it_continues")(before_it_continues).recur()


DROPPED: list[Body] = [
    as_a_statement,
    in_a_variable,
    in_a_cycle,
    only_under_a_condition,
    as_its_result,
    of_a_child,
    of_a_stream,
    of_an_entity,
    with_options,
    by_a_task_that_has_ended,
    beside_a_task_that_goes_on,
    before_it_continues,
]


CALLED: dict[Body, str] = {
    of_a_child: "child",
    of_a_stream: "ctx.stream(…).write",
    of_an_entity: "ctx.entity(…).call",
}


@pytest.mark.parametrize("body", DROPPED, ids=lambda body: body.__name__)
def test_a_call_that_nobody_awaited(body: Body) -> None:
    outcome = ended(body)
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.type == NAME
    called = CALLED.get(body, "charge")
    lines = range(body.__code__.co_firstlineno, body.__code__.co_firstlineno + 20)
    places = [f"{called} in {name} (test_unawaited_calls.py, line {line})" for line in lines for name in names_in(body)]
    assert [place for place in places if place in outcome.error.message] != []


def names_in(body: Body) -> list[str]:
    return [body.__name__, f"{body.__name__}.<locals>.forgets"]


async def gathered(ctx: WorkflowContext) -> list[str]:
    return list(await asyncio.gather(*(charge(str(number)) for number in range(3))))


async def in_a_task(ctx: WorkflowContext) -> str:
    return await asyncio.create_task(charge())


async def in_a_task_group(ctx: WorkflowContext) -> str:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(charge())
    return task.result()


async def later(ctx: WorkflowContext) -> str:
    call = charge()
    await charge("first")
    return await call if ctx.run else "never"


async def handed_on(ctx: WorkflowContext) -> str:
    async def awaits(calls: dict[str, list[Awaitable[str]]]) -> str:
        await ctx.sleep(1)
        return await calls["x"][0]

    return await awaits({"x": [charge()]})


async def cancelled(ctx: WorkflowContext) -> str:
    task = asyncio.create_task(charge())
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return "cancelled"
    return "not"


async def held_by_a_generator(ctx: WorkflowContext) -> str:
    async def answers(call: Awaitable[str]) -> AsyncIterator[str]:
        try:
            yield "first"
        finally:
            await call

    generator = answers(charge())
    return await anext(generator)


async def closed(ctx: WorkflowContext) -> str:
    call = charge()
    call.close()
    return "closed"


async def a_child_that_is_left(ctx: WorkflowContext) -> str:
    await ctx.start(child)
    return "left"


async def a_task_that_only_waits_for_a_queue(ctx: WorkflowContext) -> str:
    queue: asyncio.Queue[Awaitable[str]] = asyncio.Queue()

    async def work() -> None:
        while True:
            await (await queue.get())
            queue.task_done()

    workers = [asyncio.create_task(work()) for _ in range(2)]
    for number in range(5):
        queue.put_nowait(charge(str(number)))
    await queue.join()
    return f"{len(workers)}"


async def a_wait_that_lost_a_race(ctx: WorkflowContext) -> int:
    tasks = [asyncio.create_task(ctx.wait_event("paid")), asyncio.create_task(ctx.sleep(1))]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return len(done)


async def a_sleep_that_lost_a_race(ctx: WorkflowContext) -> int:
    naps = [ctx.sleep(60), ctx.sleep_until(ctx.now() + timedelta(days=1)), asyncio.sleep(60)]
    tasks = [asyncio.create_task(charge()), *map(asyncio.create_task, naps)]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return len(done)


async def a_task_that_was_cancelled(ctx: WorkflowContext) -> str:
    async def goes_on() -> None:
        try:
            await charge()
        finally:
            await ctx.sleep(5)

    tasks = [asyncio.create_task(each) for each in (goes_on(), ctx.sleep(60), ctx.wait_event("never"), child())]
    both = asyncio.gather(charge("1"), charge("2"))
    await ctx.sleep(1)
    both.cancel()
    for task in tasks:
        task.cancel()
    return "cancelled"


async def a_result_of_a_child_that_goes_on(ctx: WorkflowContext) -> str:
    handle = await ctx.start(child)
    task = asyncio.create_task(handle.result())
    await ctx.sleep(0.5)
    return f"{task.done()}"


AWAITED: list[Body] = [
    gathered,
    in_a_task,
    in_a_task_group,
    later,
    handed_on,
    cancelled,
    closed,
    held_by_a_generator,
    a_child_that_is_left,
    a_result_of_a_child_that_goes_on,
    a_task_that_only_waits_for_a_queue,
    a_task_that_was_cancelled,
    a_wait_that_lost_a_race,
    a_sleep_that_lost_a_race,
]


@pytest.mark.parametrize("body", AWAITED, ids=lambda body: body.__name__)
def test_what_somebody_may_await_is_not_dropped(body: Body) -> None:
    assert ended(body).status is Status.COMPLETED


async def fails_as_well(ctx: WorkflowContext) -> None:
    charge()  # type: ignore[unused-coroutine]
    raise LookupError("this is what went wrong")


def test_what_fails_by_itself_fails_by_that() -> None:
    outcome = ended(fails_as_well)
    assert outcome.error is not None
    assert outcome.error.type == "LookupError"
    assert "LookupError: this is what went wrong\nworkflow fails_as_well ended with a call" in outcome.error.trace


@pytest.mark.filterwarnings("default")
def test_a_run_of_before_is_held_to_nothing() -> None:
    definition = workflow(name="as_a_statement")(as_a_statement)

    ends: list[list[str]] = []
    for rules in (0, RULES):
        run = Run(definition, instance_id="x")
        if rules:
            events = run.activate([started(definition, rules=rules)]).events
        else:
            with pytest.warns(RuntimeWarning, match="coroutine 'charge' was never awaited"):
                events = run.activate([started(definition, rules=rules)]).events
        ends.append([type(event).__name__ for event in events])
        run.close()
    assert ends == [["WorkflowStarted", "WorkflowCompleted"], ["WorkflowStarted", "WorkflowFailed"]]


def test_a_run_that_is_torn_down_warns_of_nothing() -> None:
    definition = workflow(name="later")(later)
    run = Run(definition, instance_id="x")
    assert run.activate([started(definition, rules=RULES)]).outcome is None
    run.close()
    del run
    gc.collect()
