"""A fork, and what its instance does beside it, wherever the worker dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from romancy import Handle, Romancy, WorkflowContext, activity, activity_context, workflow
from romancy.testing import crash_at_every_commit

pytestmark = pytest.mark.anyio

effects: dict[str, str] = {}
reached = [asyncio.Event()]
"""Set once the last step of an instance has begun."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@activity
async def crashing_step(name: str) -> str:
    effects[activity_context().idempotency_key] = f"{activity_context().instance_id} {name}"
    if name.startswith("last"):
        reached[0].set()
    return name


@workflow
async def crashing_child(ctx: WorkflowContext) -> str:
    return await crashing_step("in the child")


@workflow
async def crashing_flow(ctx: WorkflowContext) -> list[Any]:
    done = [await crashing_step("one"), await crashing_step(f"two {ctx.uuid4()}")]
    both = await asyncio.gather(crashing_child(), crashing_step("three"))
    done += [*both, (await ctx.wait_event("crashing-go")).data]
    done.append(await crashing_step(f"last {ctx.uuid4()}"))
    await ctx.wait_event("crashing-over")
    return done


async def test_a_fork_does_each_step_once_wherever_the_worker_dies() -> None:
    forks: list[list[Any]] = []

    def prepare(_: Romancy) -> None:
        effects.clear()
        reached[0] = asyncio.Event()

    async def drive(app: Romancy, handle: Handle[Any]) -> None:
        await handle.signal("crashing-go", 1, id="one")
        await reached[0].wait()
        fork = await handle.fork(before="crashing_step:3", id="fork")
        await fork.signal("crashing-go", 2, id="two")
        await fork.signal("crashing-over", id="over")
        told = await fork.result()
        assert told[4] == 2
        again = await fork.fork(before="crashing-go:1", id="again")
        await again.signal("crashing-go", 3, id="three")
        await again.signal("crashing-over", id="over")
        forks.append(await again.result())
        assert forks[-1][:4] == told[:4]
        assert forks[-1][5] != told[5]
        await handle.signal("crashing-over", id="over")

    crashes = await crash_at_every_commit(
        crashing_flow.options(instance_id="whole").bind(),
        workflows=[crashing_flow, crashing_child],
        prepare=prepare,
        drive=drive,
        effects=lambda: sorted(Counter(one.split()[0].split(".")[0] for one in effects.values()).items()),
    )

    assert len(crashes) > 8
    assert {one[4] for one in forks} == {3}
