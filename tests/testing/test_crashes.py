"""Workflows whose worker is killed at each place where it can die, in memory and as processes on a file."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    Handle,
    RetryPolicy,
    UsageError,
    WorkflowContext,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.testing import TestApp, crash_at_every_commit

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

booked: dict[str, str] = {}


@compensation
async def cancel_booking(result: str, what: str) -> None:
    booked.pop(result, None)


@activity(compensation=cancel_booking)
async def book(what: str) -> str:
    key = activity_context().idempotency_key
    booked[key] = what
    return key


@activity(retry=RetryPolicy.fixed(3, 60))
async def pay(amount: int) -> int:
    if amount > 100:
        raise ValueError("too much")
    return amount


@workflow
async def trip(ctx: WorkflowContext, amount: int) -> int:
    await book("flight")
    await ctx.sleep(timedelta(days=1))
    await book("hotel")
    return await pay(amount)


@workflow
async def approved_trip(ctx: WorkflowContext) -> str:
    answer = await ctx.wait_event("approved", model=str, timeout=timedelta(days=7))
    await asyncio.gather(book("flight"), book("hotel"))
    return answer.data


@workflow
async def family(ctx: WorkflowContext) -> list[int]:
    first = await ctx.start(trip, 1)
    return [await first.result(), await trip(2)]


@workflow
async def quick(ctx: WorkflowContext, amount: int) -> int:
    first = await pay(amount)
    await ctx.sleep(0.01)
    return first + await pay(amount + 1)


def clear(_: TestApp) -> None:
    booked.clear()


def effects() -> list[str]:
    return sorted(booked.values())


async def test_a_workflow_ends_as_without_a_crash_wherever_it_is_killed() -> None:
    crashes = await crash_at_every_commit(trip.bind(5), prepare=clear, effects=effects)
    assert len(crashes) >= 5
    assert [crash.where for crash in crashes[:4]] == [
        "after commit 1",
        "before activity book (book:1)",
        "after activity book (book:1) and before its commit",
        "after commit 2",
    ]
    assert {crash.result for crash in crashes} == {5}
    assert {tuple(crash.effects) for crash in crashes} == {("flight", "hotel")}


async def test_a_saga_undoes_the_same_wherever_it_is_killed() -> None:
    crashes = await crash_at_every_commit(trip.bind(500), prepare=clear, effects=effects)
    assert len(crashes) >= 8
    assert {crash.result.partition(" failed")[0] for crash in crashes} == {"WorkflowFailedError: instance crash-test"}
    assert {tuple(crash.effects) for crash in crashes} == {()}


async def test_signals_are_sent_beside_each_run() -> None:
    async def approve(app: TestApp, handle: Handle[Any]) -> None:
        await handle.signal("approved", "boss", id="approval")

    crashes = await crash_at_every_commit(approved_trip.bind(), prepare=clear, drive=approve, effects=effects)
    assert {crash.result for crash in crashes} == {"boss"}


async def test_the_clock_does_not_move_between_what_a_driver_asks_and_what_it_sends() -> None:
    async def approve(app: TestApp, handle: Handle[Any]) -> None:
        await app.settle()
        for _ in range(100):
            await asyncio.sleep(0)  # as reading the store takes
        await handle.signal("approved", "boss", id="approval")

    crashes = await crash_at_every_commit(approved_trip.bind(), prepare=clear, drive=approve, effects=effects)
    assert {crash.result for crash in crashes} == {"boss"}


async def test_children_are_killed_with_their_parents() -> None:
    crashes = await crash_at_every_commit(family.bind(), workflows=[family, trip], prepare=clear)
    assert {tuple(crash.result) for crash in crashes} == {(1, 2)}


async def test_a_call_without_options_is_as_good() -> None:
    crashes = await crash_at_every_commit(quick, 1)
    assert {crash.result for crash in crashes} == {3}


async def test_a_workflow_that_no_other_process_finds_is_refused() -> None:
    @workflow
    async def local(ctx: WorkflowContext) -> None:
        pass

    with pytest.raises(UsageError, match="no other process finds it"):
        await crash_at_every_commit(local.bind(), url="sqlite:///unused.db")
    with pytest.raises(UsageError, match="tests in memory"):
        await crash_at_every_commit(quick.bind(1), url="sqlite:///unused.db", prepare=clear)


@pytest.mark.long
async def test_processes_are_killed_on_a_database(tmp_path: Path) -> None:
    crashes = await crash_at_every_commit(quick.bind(1), url=f"sqlite:///{tmp_path / 'crashes.db'}")
    assert len(crashes) >= 3
    assert {crash.result for crash in crashes} == {"3"}
