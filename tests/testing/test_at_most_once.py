"""A test app with activities that begin at most once: crashes, faults, and what a crash test compares."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import (
    ActivityUnknownError,
    RetryPolicy,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    workflow,
)
from romancy.testing import TestApp, crash_at_every_commit

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

begun: list[tuple[str, int]] = []
settled: dict[str, str] = {}
reached: list[asyncio.Event] = []


@activity(at_most_once=True, retry=RetryPolicy(3, 0.0))
async def pays_once(what: str) -> str:
    context = activity_context()
    begun.append((context.idempotency_key, context.attempt))
    if what == "slow":
        reached[0].set()
        await asyncio.Event().wait()
    return f"paid {what}"


@activity
async def settles(what: str) -> None:
    settled[activity_context().idempotency_key] = what


@workflow
async def pays_and_settles(ctx: WorkflowContext, what: str) -> str:
    try:
        await pays_once(what)
    except ActivityUnknownError:
        pass  # a person looks
    await settles(what)
    return "settled"


@workflow
async def only_pays(ctx: WorkflowContext, what: str) -> str:
    return await pays_once(what)


@pytest.fixture(autouse=True)
def forget() -> None:
    begun.clear()
    settled.clear()
    reached[:] = [asyncio.Event()]


async def test_a_crash_in_its_middle_leaves_it_unknown() -> None:
    async with TestApp([only_pays]) as app:
        handle = await app.start(only_pays, "slow")
        await reached[0].wait()
        await app.crash()
        with pytest.raises(WorkflowFailedError, match="not begun again"):
            await app.handle(handle.instance_id, only_pays).result()
    assert [number for _, number in begun] == [1]


@pytest.mark.parametrize("fault", ["fail", "time_out", "lose_answer"])
async def test_a_fault_is_a_failure_that_is_known(fault: str) -> None:
    async with TestApp([only_pays]) as app:
        getattr(app, fault)(pays_once)
        assert await app.run(only_pays, "quick") == "paid quick"
    assert [call.attempt for call in app.calls] == [1, 2]


async def test_an_activity_can_say_that_nobody_knows_what_it_did() -> None:
    async with TestApp([only_pays]) as app:
        app.fail(pays_once, ActivityUnknownError("the line went dead"))
        with pytest.raises(WorkflowFailedError, match="the line went dead; outcome unknown: pays_once:1") as failed:
            await app.run(only_pays, "quick")
    assert isinstance(failed.value.__cause__, ActivityUnknownError)
    assert [call.attempt for call in app.calls] == [1]


async def test_a_crash_test_asks_whether_the_workflow_ends_alike() -> None:
    crashes = await crash_at_every_commit(
        pays_and_settles.bind("quick"), effects=lambda: sorted(settled.values()), prepare=lambda _: settled.clear()
    )
    assert len(crashes) > 3
    keys = [key for key, _ in begun]
    assert len(keys) <= 1 + len(crashes)


async def test_a_crash_test_fails_if_it_does_not() -> None:
    with pytest.raises(AssertionError, match="it ended with"):
        await crash_at_every_commit(only_pays, "quick")


async def test_a_crash_test_with_processes(tmp_path: Path) -> None:
    crashes = await crash_at_every_commit(pays_and_settles.bind("quick"), url=f"sqlite:///{tmp_path / 'crashes.db'}")
    assert crashes
