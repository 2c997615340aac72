"""A workflow that ends with an unawaited call fails and names it; a call that may still be awaited does not count."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from romancy.activity import activity
from romancy.context import WorkflowContext
from romancy.core import RULES, Outcome, Run
from romancy.errors import UnawaitedCallError
from romancy.serialization import exception_name
from romancy.status import Status
from romancy.workflow import workflow
from romancy_conformance.workflows import Scenario
from tests.core.driver import World, started

NAME = exception_name(UnawaitedCallError)
Body = Callable[[WorkflowContext], Coroutine[Any, Any, Any]]


@activity
async def charge(what: str = "a card") -> str:
    return what


@workflow
async def child(ctx: WorkflowContext) -> str:
    return await charge("by a child")


def ended(body: Body) -> Outcome:
    """Play it once, then cut it at each of its commits and continue from there."""
    definition = workflow(name=body.__name__)(body)
    world = World(Scenario(definition, children=(child,)))
    outcome = world.finish()
    for commits in range(1, len(world.commits)):
        gc.collect()
        assert world.cut(commits).finish() == outcome
    return outcome


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
    with_options,
    by_a_task_that_has_ended,
    beside_a_task_that_goes_on,
    before_it_continues,
]


@pytest.mark.parametrize("body", DROPPED, ids=lambda body: body.__name__)
def test_a_call_that_nobody_awaited(body: Body) -> None:
    outcome = ended(body)
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.type == NAME
    called = "child" if body is of_a_child else "charge"
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


async def a_task_that_has_not_begun(ctx: WorkflowContext) -> str:
    task = asyncio.create_task(charge())
    return f"{task.done()}"


async def a_gather_that_has_not_begun(ctx: WorkflowContext) -> str:
    both = asyncio.gather(charge("1"), charge("2"))
    return f"{both.done()}"


async def cancelled(ctx: WorkflowContext) -> str:
    task = asyncio.create_task(charge())
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return "cancelled"
    return "not"


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
    held_by_a_task: "a sleep in task held_by_a_task.<locals>.later (test_unawaited_calls.py, line ",
    held_on_the_stack_of_a_task: "a sleep in task held_on_the_stack_of_a_task.<locals>.run (",
    held_by_a_queue_of_workers: "a sleep in task held_by_a_queue_of_workers.<locals>.work (",
    held_by_a_partial_of_a_timer: "charge in held_by_a_partial_of_a_timer (test_unawaited_calls.py, line ",
    a_child_in_a_task: "child in task child",
    a_wait_in_a_task: "a wait for 'paid' in task a_wait_in_a_task.<locals>.confirms (",
    a_sleep_in_a_task: "a sleep in task 'reminder' a_sleep_in_a_task.<locals>.later (",
    a_sleep_until_in_a_task: "a sleep in task a_sleep_until_in_a_task.<locals>.later (",
    a_sleep_of_asyncio_in_a_task: "a sleep in task a_sleep_of_asyncio_in_a_task.<locals>.later (",
    one_beside_another_that_failed: "charge in task charge",
    in_a_shield: "a sleep in task in_a_shield.<locals>.both (",
}


@pytest.mark.parametrize("body", LEFT, ids=lambda body: body.__name__)
def test_what_a_task_waits_for_that_is_left_behind(body: Body) -> None:
    outcome = ended(body)
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.type == NAME
    assert LEFT[body] in outcome.error.message


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
    assert f"{name} in <lambda> (test_unawaited_calls.py, line " in outcome.error.message


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


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("body", [a_task_that_has_not_begun, held_by_a_partial_of_a_timer])
def test_a_run_of_the_first_rule_may_leave_tasks(body: Body) -> None:
    definition = workflow(name=body.__name__)(body)
    run = Run(definition, instance_id="x")
    events = run.activate([started(definition, rules=1)]).events
    assert "WorkflowFailed" not in [type(event).__name__ for event in events]
    run.close()


def test_a_run_that_is_torn_down_warns_of_nothing() -> None:
    definition = workflow(name="later")(later)
    run = Run(definition, instance_id="x")
    assert run.activate([started(definition, rules=RULES)]).outcome is None
    run.close()
    del run
    gc.collect()
