"""A dropped run prints nothing and warns of nothing, whatever its code holds: each part ends in its own context."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from romancy.core import RULES, CancelRequested, Run
from romancy.workflow import workflow
from romancy_conformance.workflows.activities import echo
from tests.core.driver import START, started

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator

    from romancy.context import WorkflowContext

    Body = Callable[[WorkflowContext], Coroutine[Any, Any, None]]

seen: list[str] = []
depth = contextvars.ContextVar("depth", default=0)


@contextlib.contextmanager
def deeper(by: int = 1) -> Generator[None]:
    token = depth.set(depth.get() + by)
    try:
        yield
    finally:
        seen.append(f"left {depth.get()}")
        depth.reset(token)


@contextlib.asynccontextmanager
async def deeper_too() -> AsyncGenerator[None]:
    with deeper(10):
        yield


def plain() -> Generator[int, None, None]:
    with deeper(100):
        yield from range(5)


async def of_a_plain_one() -> AsyncGenerator[int, None]:
    for number in plain():
        yield number


async def inside_another() -> AsyncGenerator[int, None]:
    async with deeper_too():
        async for number in of_a_plain_one():
            yield number


async def with_a_stack() -> AsyncGenerator[int, None]:
    stack = contextlib.ExitStack()
    stack.enter_context(deeper())
    yield 1


async def with_a_coroutine() -> AsyncGenerator[int, None]:
    async def waits() -> None:
        with deeper():
            await asyncio.Event().wait()

    waiting = waits()
    waiting.send(None)
    yield 1


async def that_waits_at_its_end() -> AsyncGenerator[int, None]:
    with deeper():
        try:
            yield 1
        finally:
            await asyncio.sleep(1)


async def that_goes_on() -> AsyncGenerator[int, None]:
    while True:
        with contextlib.suppress(BaseException):
            yield 1


GENERATORS = [of_a_plain_one, inside_another, with_a_stack, with_a_coroutine, that_waits_at_its_end, that_goes_on]


def looping(generator: Callable[[], AsyncGenerator[int, None]]) -> Body:
    async def body(ctx: WorkflowContext) -> None:
        async for number in generator():
            await echo(number)

    body.__name__ = f"{generator.__name__}_in_the_body"
    return body


def in_tasks(generator: Callable[[], AsyncGenerator[int, None]]) -> Body:
    async def body(ctx: WorkflowContext) -> None:
        async def loops() -> None:
            depth.set(1000)
            async for number in generator():
                await echo(number)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(loops())
            tasks.create_task(loops())

    body.__name__ = f"{generator.__name__}_in_tasks"
    return body


async def a_task_of_anext(ctx: WorkflowContext) -> None:
    generator = that_waits_at_its_end()
    other = inside_another()
    tasks = [asyncio.ensure_future(anext(each)) for each in (generator, other)]
    await echo(1)
    await asyncio.gather(*tasks)


async def held_in_a_cycle(ctx: WorkflowContext) -> None:
    holder: list[object] = [generator() for generator in GENERATORS]
    holder.append(holder)
    for generator in holder[:-1]:
        await anext(generator)  # type: ignore[call-overload]
    await echo(1)


async def a_helper_that_waits_for_its_turn(ctx: WorkflowContext) -> None:
    async def helper() -> None:
        await echo(2)

    waiting = helper()
    await echo(1)
    await waiting


async def a_failure_beside_a_helper(ctx: WorkflowContext) -> None:
    async def helper() -> None:
        await echo(2)

    waiting = helper()
    raise ValueError(f"{type(waiting).__name__} is not awaited")


async def driven_by_hand(ctx: WorkflowContext) -> None:
    async def stubborn() -> None:
        with deeper():
            while True:
                with contextlib.suppress(BaseException):
                    await asyncio.sleep(1)

    waiting = stubborn()
    waiting.send(None)
    await echo(1)


async def that_tries_everything_again(ctx: WorkflowContext) -> None:
    """As libraries do that retry: it catches whatever comes, and waits before it tries again."""

    async def tries() -> None:
        while True:
            try:
                await echo(1)
            except BaseException:  # noqa: BLE001 - that is what it does
                await asyncio.sleep(1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tries)
        tasks.start_soon(tries)


BODIES = [
    *(make(generator) for generator in GENERATORS for make in (looping, in_tasks)),
    a_task_of_anext,
    held_in_a_cycle,
    a_helper_that_waits_for_its_turn,
    a_failure_beside_a_helper,
    driven_by_hand,
    that_tries_everything_again,
]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Python would print."""
    heard: list[str] = []

    def hear(unraisable: sys.UnraisableHookArgs) -> None:
        heard.append(f"{unraisable.exc_value!r}")

    monkeypatch.setattr(sys, "unraisablehook", hear)
    return heard


@pytest.mark.parametrize("how", ["on a loop", "without a loop", "cancelled"])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_nothing_is_printed(body: Body, how: str, said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    wf = workflow(name=body.__name__)(body)
    run = Run(wf, instance_id="x")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        run.activate([started(wf, rules=RULES)])
        if how == "cancelled":
            run.activate([CancelRequested(at=START)])
        if how == "on a loop":
            asyncio.run(closing(run))
        else:
            run.close()
        del run
        gc.collect()

    assert ([], [], ("", "")) == (said, [str(each.message) for each in warned], capsys.readouterr())


async def closing(run: Run) -> None:
    run.close()


@pytest.mark.parametrize("make", [looping, in_tasks])
def test_each_part_ends_in_its_own_context(make: Callable[[Any], Body]) -> None:
    seen.clear()
    wf = workflow(name="ends")(make(of_a_plain_one))
    run = Run(wf, instance_id="x")
    run.activate([started(wf)])
    run.close()

    assert seen == (["left 100"] if make is looping else ["left 1100"] * 2)


def test_other_threads_and_times_are_heard(said: list[str]) -> None:
    wf = workflow(name="driven_by_hand")(driven_by_hand)
    run = Run(wf, instance_id="x")
    run.activate([started(wf)])
    hook = sys.unraisablehook
    run.close()
    assert sys.unraisablehook is hook

    class Fails:
        def __del__(self) -> None:
            raise LookupError("heard")

    Fails()
    assert ["LookupError('heard')"] == said


def test_nothing_is_printed_at_the_end_of_the_process() -> None:
    """Code that catches everything is never ended; Python would report it when it ends itself."""
    program = (
        "import romancy_conformance.workflows, tests.core.test_quiet_teardown as t\n"
        "for body in t.BODIES:\n"
        "    run = t.Run(t.workflow(name=body.__name__)(body), instance_id='x')\n"
        "    run.activate([t.started(run.workflow, rules=t.RULES)])\n"
        "    run.close()\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)

    assert (0, "", "") == (ended.returncode, ended.stdout, ended.stderr)
