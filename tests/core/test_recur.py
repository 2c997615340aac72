"""Continuing as a new run: from anywhere in the body, with fresh numbers and keys, by the same workflow only."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from romancy.context import WorkflowContext
from romancy.core import Run, WorkflowContinued, WorkflowStarted, current_run, decode_commit
from romancy.status import Status
from romancy.workflow import Workflow, workflow
from romancy_conformance.workflows import Scenario
from romancy_conformance.workflows.activities import book, echo, keyed, slow
from tests.core.driver import World, started


@workflow
async def from_a_group(ctx: WorkflowContext, n: int) -> str:
    async with asyncio.TaskGroup() as group:
        group.create_task(slow(1))
        if n:
            await echo(n)
            from_a_group.recur(n - 1)
    return f"run {ctx.run}"


@workflow
async def from_a_helper(ctx: WorkflowContext, n: int) -> str:
    async def helper() -> int:
        if n:
            from_a_helper.recur(n - 1)
        return await echo(n)

    try:
        await asyncio.gather(helper(), slow(1))
    except Exception as error:  # noqa: BLE001 - it must not be caught by this
        return f"caught {error!r}"
    return f"run {ctx.run}"


@pytest.mark.parametrize("wf", [from_a_group, from_a_helper], ids=lambda wf: wf.name)
def test_from_anywhere_in_the_body(wf: Workflow[[int], str]) -> None:
    world = World(Scenario(wf, (2,), durations={"slow": 5}))
    assert world.result() == "run 3"
    world.check_every_cut()


@workflow
async def keys(ctx: WorkflowContext, n: int, seen: list[str]) -> list[str]:
    seen = [*seen, str(ctx.uuid4()), await keyed("x")]
    if n:
        keys.recur(n - 1, seen)
    return seen


def test_every_run_has_numbers_and_seeds_of_its_own() -> None:
    world = World(Scenario(keys, (2, [])))
    seen = world.result()
    assert len(set(seen[::2])) == 3
    assert set(seen[1::2]) == {"x keyed:1 32"}
    nonces = [event.nonce for event in world.log() if isinstance(event, WorkflowStarted)]
    assert len(set(nonces)) == 3


def test_the_end_and_the_new_beginning_are_one_commit() -> None:
    world = World(Scenario(keys, (1, [])))
    world.finish()
    (joint,) = [
        commit
        for commit in (decode_commit(body) for _, body in world.commits)
        if any(isinstance(event, WorkflowContinued) for event in commit)
    ]
    assert [type(event).__name__ for event in joint] == [
        "ActivityCompleted",
        "WorkflowContinued",
        "WorkflowStarted",
        "ActivityScheduled",
    ]
    history = current_run(decode_commit(body) for _, body in world.commits)
    assert history[0] == joint
    run = Run(keys, instance_id="main")
    run.replay(history)
    assert run.outcome() == world.main.outcome


@workflow
async def other(ctx: WorkflowContext) -> None:
    keys.recur(1, [])


def test_another_workflow_cannot_take_over() -> None:
    outcome = World(Scenario(other)).finish()
    assert outcome.error is not None
    assert "keys.recur() was called in workflow other" in outcome.error.message


@workflow
async def raises_children(ctx: WorkflowContext, n: int) -> list[str]:
    handle = await ctx.start(grows_up, n)
    if n:
        raises_children.recur(n - 1)
    return [handle.instance_id.partition("-")[0], await handle.result()]


@workflow
async def grows_up(ctx: WorkflowContext, n: int) -> str:
    await ctx.sleep(10)
    return f"child of {n}"


def test_a_child_of_a_former_run_is_never_taken_for_one_of_this_run() -> None:
    world = World(Scenario(raises_children, (2,), children=(grows_up,)))
    assert world.result() == ["main.grows_up:1@3", "child of 0"]
    assert len(world.instances) == 4
    for commits in range(1, len(world.commits)):
        assert world.cut(commits).result() == world.result()


@workflow
async def leaves_work_behind(ctx: WorkflowContext, n: int) -> str:
    task = asyncio.create_task(slow(n))
    if n:
        await echo(n)
        leaves_work_behind.recur(n - 1)
    return f"result {await task}"


def test_work_of_a_former_run_is_settled_before_the_next_begins() -> None:
    world = World(Scenario(leaves_work_behind, (2,), durations={"slow": 30}))
    assert world.result() == "result 0"
    kinds = world.kinds()
    assert kinds.count("ActivityCancelled") == kinds.count("WorkflowContinued") == 2
    assert kinds.index("ActivityCancelled") < kinds.index("WorkflowContinued")


@workflow
async def undoes_nothing(ctx: WorkflowContext, n: int) -> None:
    await book(f"room {n}")
    if n:
        undoes_nothing.recur(n - 1)
    raise LookupError("at last")


def test_what_a_former_run_has_done_stays_done() -> None:
    world = World(Scenario(undoes_nothing, (1,)))
    assert world.finish().status is Status.FAILED
    assert [step for _, step, _ in world.executed] == ["book:1", "book:1", "compensate:book:1"]


def test_a_cancellation_is_not_lost_with_the_run() -> None:
    @workflow
    async def restless(ctx: WorkflowContext) -> None:
        try:
            await ctx.sleep(60)
        except asyncio.CancelledError:
            restless.recur()

    outcome = World(Scenario(restless, cancel_at=5)).finish()
    assert (outcome.status, outcome.reason) == (Status.CANCELLED, "asked by the script")


def test_a_future_of_another_loop_within_a_group_parks_the_run() -> None:
    loop = asyncio.new_event_loop()
    foreign: asyncio.Future[Any] = loop.create_future()

    @workflow
    async def grouped(ctx: WorkflowContext) -> None:
        async def wait() -> None:
            await foreign

        async with asyncio.TaskGroup() as group:
            group.create_task(wait())

    run = Run(grouped, instance_id="x")
    parked = run.activate([started(grouped)]).parked
    run.close()
    loop.close()
    assert parked is not None
    assert "another event loop" in parked
