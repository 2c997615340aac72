"""Polls of which the log keeps the last failed attempt survive a crash at every commit."""

from __future__ import annotations

import asyncio

import pytest

from romancy import RetryPolicy, WorkflowContext, activity, activity_context, workflow
from romancy.testing import TestApp, crash_at_every_commit

pytestmark = pytest.mark.anyio

made: list[int] = []


@activity(retry=RetryPolicy(0, 60, 1, 60, record="last"))
async def poll(until: int) -> int:
    made.append(activity_context().attempt)
    if activity_context().attempt < until:
        raise LookupError(f"not yet: {made[-1]}")
    return until


@workflow
async def polls(ctx: WorkflowContext) -> list[int]:
    answers = await asyncio.gather(poll(4), poll(6))
    await ctx.sleep(1)
    return list(answers)


async def clear(_: TestApp) -> None:
    made.clear()


async def test_polls_survive_a_crash_at_every_commit() -> None:
    crashes = await crash_at_every_commit(polls.bind(), prepare=clear)
    assert len(crashes) >= 9  # the failures that took the place of others are commits too


async def test_hours_of_polls_are_no_longer_than_minutes() -> None:
    lengths: list[int] = []
    async with TestApp([hours]) as app:
        for attempts in (3, 200):
            handle = await app.start(hours, attempts)
            assert await handle.result() == attempts
            lengths.append(len(await handle.history()))
    assert lengths[0] == lengths[1]


@workflow
async def hours(ctx: WorkflowContext, attempts: int) -> int:
    return await poll(attempts)
