"""Limits in an app for tests: a rate takes no time, and places are given as on a server."""

from __future__ import annotations

import asyncio

import pytest

from romancy import Limit, WorkflowContext, activity, workflow
from romancy.testing import TestApp, crash_at_every_commit

pytestmark = pytest.mark.anyio


@workflow(limits=[Limit("hourly", rate=(1, 3600))])
async def hourly(ctx: WorkflowContext, number: int) -> str:
    return f"{ctx.now():%H:%M}"


async def test_a_rate_moves_the_clock() -> None:
    async with TestApp([hourly]) as app:
        begun = app.now
        handles = [await app.start(hourly, number) for number in range(5)]
        ends = [await one.result() for one in handles]

        assert (app.now - begun).total_seconds() >= 4 * 3600
        assert len({*ends}) == 5


@activity(limits=[Limit("three", concurrency=1)])
async def seven() -> int:
    return 7


@workflow(limits=[Limit("one", concurrency=1)])
async def alone(ctx: WorkflowContext) -> int:
    async with ctx.limit(Limit("two", concurrency=1)):
        await ctx.sleep(1)
    return sum(await asyncio.gather(seven(), seven()))


@workflow
async def both(ctx: WorkflowContext) -> list[int]:
    return list(await asyncio.gather(alone(), alone()))


async def test_a_death_at_any_commit_loses_no_place() -> None:
    crashes = await crash_at_every_commit(both.bind(), workflows=[both, alone])

    assert len(crashes) > 20
