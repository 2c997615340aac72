"""The limit of a drive is not how much a workflow does, but that it makes no progress."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from romancy.context import WorkflowContext
from romancy.core import Run
from romancy.workflow import workflow
from romancy_conformance.workflows import Scenario
from romancy_conformance.workflows.activities import echo
from tests.core.awkward import AWKWARD, takes_many_turns
from tests.core.driver import World, started

BUDGET = 50


@pytest.mark.parametrize("items", [6_000, pytest.param(20_000, marks=pytest.mark.long)])
def test_many_items_through_a_queue(items: int) -> None:
    total = sum(range(items))
    assert World(Scenario(takes_many_turns, (items,))).result() == [total, total, 1]


@pytest.mark.parametrize("name", ["takes_many_turns", "gives_way_often"])
def test_a_replay_stops_where_the_run_did(name: str) -> None:
    scenario = AWKWARD[name]
    world = World(scenario)
    assert world.result() == scenario.result
    world.check_every_cut()


async def gives_its_turn_away() -> None:
    while True:  # noqa: ASYNC110 - what is to be noticed
        await asyncio.sleep(0)


async def plays_with_itself() -> None:
    there: asyncio.Queue[int] = asyncio.Queue()
    back: asyncio.Queue[int] = asyncio.Queue()

    async def answer() -> None:
        while True:
            await back.put(await there.get())

    task = asyncio.create_task(answer())
    while not task.done():
        await there.put(1)
        await back.get()


async def makes_tasks_for_ever() -> None:
    while True:
        await asyncio.create_task(asyncio.sleep(0))


async def cancels_for_ever() -> None:
    loop = asyncio.get_running_loop()
    while True:
        future = loop.create_future()
        loop.call_soon(future.cancel)
        try:
            await future
        except asyncio.CancelledError:
            continue


@pytest.mark.parametrize("spin", [gives_its_turn_away, plays_with_itself, makes_tasks_for_ever, cancels_for_ever])
def test_what_gets_nowhere_is_parked(spin: Any) -> None:
    @workflow(name="spins")
    async def spins(ctx: WorkflowContext) -> None:
        await spin()

    run = Run(spins, instance_id="x")
    activation = run.activate([started(spins, budget=BUDGET)])
    run.close()
    assert activation.parked is not None
    assert "never yields" in activation.parked


@workflow
async def polls_for_much(ctx: WorkflowContext) -> int:
    done: list[int] = []

    async def work(n: int) -> None:
        done.append(await echo(n))

    tasks = [asyncio.create_task(work(n)) for n in range(2)]
    while len(done) < len(tasks):  # noqa: ASYNC110 - what is tested
        await asyncio.sleep(0)
    return sum(done)


def test_a_workflow_that_polls_for_an_activity_gives_way_to_it() -> None:
    world = World(Scenario(polls_for_much))
    assert world.result() == 1
    assert world.cut(2).result() == 1


@workflow
async def asks_between(ctx: WorkflowContext) -> int:
    """A command in the middle of a long stretch begins a new one."""
    tasks: list[asyncio.Task[int]] = []
    for n in range(30):
        for _ in range(BUDGET * 3):
            await asyncio.sleep(0)
        tasks.append(asyncio.create_task(_ask(n)))
    return sum(await asyncio.gather(*tasks))


async def _ask(n: int) -> int:
    return await echo(n)


def test_a_command_begins_a_new_stretch() -> None:
    run = Run(asks_between, instance_id="x")
    activation = run.activate([started(asks_between, budget=BUDGET)])
    run.close()
    assert activation.parked is None
    assert len(activation.effects) == 30
