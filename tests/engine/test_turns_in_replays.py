"""A long replay gives the loop of its host a turn now and then, and drives nothing in it meanwhile."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from itertools import groupby, pairwise

import pytest

from romancy import Romancy, Status, WorkflowContext, activity, workflow
from romancy.core import is_in_a_workflow
from romancy.engine.replay import load
from romancy.engine.turns import Turns
from romancy.registry import Registry
from romancy.storage.records import Claimed
from romancy_conformance.behaviour.waiting import status_is

pytestmark = pytest.mark.anyio

STEPS = 40
NEVER = 3600.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@activity
async def turn_step(number: int) -> int:
    return number


repeated: list[str] = []


@workflow
async def many_turns(ctx: WorkflowContext) -> None:
    for number in range(STEPS):
        repeated.append(ctx.instance_id)
        await turn_step(number)
    await ctx.wait_event("go")


async def turns_while_are_loaded(count: int, turns: Turns) -> list[bool]:
    """How often another task had its turn while so many were loaded; whether it seemed to be in a workflow then."""
    async with Romancy("memory://", workflows=[many_turns]) as app:
        store = app._access.store
        assert store is not None
        claims: list[Claimed] = []
        for _ in range(count):
            handle = await app.start(many_turns)
            await status_is(app, handle.instance_id, Status.WAITING)
            history = await store.read(handle.instance_id)
            assert history is not None
            row = history.instance
            claims.append(
                Claimed(
                    instance_id=row.instance_id,
                    life=row.life,
                    workflow_name=row.workflow_name,
                    status=row.status,
                    code=row.code,
                    run_from=1,
                    head=row.last_seq,
                    head_writer=history.rows[-1].writer,
                    signals=0,
                    seen=0,
                    crashes=0,
                    log=tuple(each.body for each in history.rows),
                )
            )
        had: list[bool] = []

        async def takes_turns() -> None:
            while True:
                had.append(is_in_a_workflow())
                repeated.append("a turn")
                await asyncio.sleep(0)

        repeated.clear()
        registry = Registry.collect([many_turns])
        other = asyncio.create_task(takes_turns())
        for live in await asyncio.gather(*(load(store, registry, one, turns) for one in claims)):
            assert live.run.status() is Status.WAITING
            live.run.close()
        other.cancel()
        return had


async def test_the_loop_has_a_turn_each_time_that_a_replay_has_lasted_for_long() -> None:
    turns = await turns_while_are_loaded(1, Turns(0.0))
    assert len(turns) >= STEPS
    assert not any(turns)


async def test_those_that_replay_at_once_share_the_time() -> None:
    await turns_while_are_loaded(5, Turns(0.0))
    assert not any(one != "a turn" and two != "a turn" for one, two in pairwise(repeated))


async def test_a_short_replay_is_one_step() -> None:
    await turns_while_are_loaded(2, Turns(NEVER))
    steps = [key for key, _ in groupby(repeated) if key != "a turn"]
    assert len(steps) == 2
