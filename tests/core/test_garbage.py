"""The result of a run does not depend on when the garbage collector runs."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING, Any

import pytest

from romancy.context import WorkflowContext
from romancy.core import TimerStarted, driving
from romancy.workflow import workflow
from romancy_conformance.workflows import Scenario
from romancy_conformance.workflows.activities import echo
from tests.core.awkward import AWKWARD
from tests.core.driver import World

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

GENERATORS = [name for name in AWKWARD if name.startswith("leaves_")]


@pytest.fixture(autouse=True)
def _collector_as_it_was() -> Iterator[None]:
    gc.collect()
    gc.freeze()  # a collection looks at what the test makes, and not at what a thousand tests before it have left
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.enable()


def never() -> None:
    gc.disable()


def often() -> None:
    gc.set_threshold(1)


def play(name: str, between: Callable[[], object]) -> World:
    world = World(AWKWARD[name])
    while world.main.outcome is None:
        between()
        assert world.step()
    assert world.result() == AWKWARD[name].result
    return world


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("collect", [never, often, gc.collect], ids=lambda collect: str(collect.__name__))
def test_one_log_whenever_the_collector_comes(name: str, collect: Callable[[], object]) -> None:
    written = play(name, int)
    again = play(name, collect)
    assert written.commits == again.commits
    assert written.warnings == again.warnings == []
    for commits in range(1, len(written.commits)):
        resumed = written.cut(commits)
        while resumed.main.outcome is None:
            collect()
            assert resumed.step()
        assert resumed.commits == written.commits


def test_one_log_when_another_thread_collects() -> None:
    def collect() -> None:
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join()

    for name in GENERATORS:
        assert play(name, int).commits == play(name, collect).commits


async def asks_for_a_delay() -> None:
    try:
        await asyncio.Future()
    finally:
        loop = asyncio._get_running_loop()
        if loop is not None:
            loop.call_later(5, int)


closed: list[str] = []


async def closes() -> AsyncGenerator[int, None]:
    try:
        yield 1
    finally:
        closed.append("closed")


@workflow
async def loses_a_generator(ctx: WorkflowContext) -> None:
    generator = closes()
    cycle: list[object] = [generator]
    cycle.append(cycle)
    await anext(generator)
    del generator, cycle
    await echo(1)


@pytest.mark.parametrize("collect", [never, gc.collect], ids=lambda collect: str(collect.__name__))
def test_what_the_collector_has_found_is_finished_at_the_end(collect: Callable[[], object]) -> None:
    """The end looks at who may still await something, and takes nothing away by that."""
    closed.clear()
    world = World(Scenario(loses_a_generator))
    while world.main.outcome is None:
        collect()
        assert world.step()
    assert closed == ["closed"]


@workflow
async def makes_garbage(ctx: WorkflowContext) -> int:
    for _ in range(3):
        kept = [[n] for n in range(5_000)]
        await echo(len(kept))
    return 1


def test_a_coroutine_of_somebody_else_is_not_closed_in_the_middle_of_a_run() -> None:
    """Its clean-up asks the running loop for a delay, as anyio's scopes do."""

    async def host() -> World:
        heard: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
        world = World(Scenario(makes_garbage))
        gc.collect()
        gc.set_threshold(50)
        while world.main.outcome is None:
            abandoned: Any = asks_for_a_delay()
            abandoned.send(None)
            cycle = [abandoned]
            cycle.append(cycle)
            with driving():
                del abandoned, cycle
                assert world.step()
        return world

    world = asyncio.run(host())
    assert [event for event in world.log() if isinstance(event, TimerStarted)] == []


def test_the_collector_is_held_off_for_the_drive_alone() -> None:
    seen: list[bool] = []

    @workflow(name="looks at the collector")
    async def looks(ctx: WorkflowContext) -> None:
        seen.append(gc.isenabled())

    World(Scenario(looks)).finish()
    assert gc.isenabled()
    gc.disable()
    World(Scenario(looks)).finish()
    assert not gc.isenabled()
    assert seen == [False, False]


async def up_to(n: int) -> AsyncGenerator[int, None]:
    for each in range(n):
        yield each


@workflow
async def reads_much(ctx: WorkflowContext) -> list[int]:
    kept: list[int] = []
    for n in range(2_000):
        async for each in up_to(2):
            if n % 2 and each:
                break
        if n % 500 == 0:
            loop: Any = asyncio.get_running_loop()
            kept.append(len(loop.generators._begun) + len(loop.generators._fading))
            await echo(n)
    return kept


def test_a_generator_that_has_ended_is_let_go() -> None:
    assert max(World(Scenario(reads_much)).result()) < 50


@workflow
async def fails_to_tidy(ctx: WorkflowContext) -> str:
    async def fails() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            raise ValueError("not tidy")

    async for _ in fails():
        break
    await ctx.sleep(1)
    return "all the same"


def test_a_clean_up_that_fails_is_reported() -> None:
    world = World(Scenario(fails_to_tidy))
    assert world.result() == "all the same"
    assert len(world.warnings) == 1
    assert "failed while it was closed: ValueError: not tidy" in world.warnings[0]


@workflow
async def returns_out_of_a_loop(ctx: WorkflowContext, how: str) -> list[str]:
    async def numbers() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            told.append("begins to tidy")
            try:
                await (echo(1) if how == "activity" else asyncio.sleep(1))
            finally:
                told.append("tidied")

    told: list[str] = []
    async for _ in numbers():
        return told
    return []


@pytest.mark.parametrize("how", ["activity", "delay"])
def test_what_is_left_at_the_end_tidies_as_far_as_it_needs_to_wait_for_nothing(how: str) -> None:
    world = World(Scenario(returns_out_of_a_loop, (how,)))
    world.finish()
    assert world.executed == []
    assert world.cut(1).main.outcome == world.main.outcome
