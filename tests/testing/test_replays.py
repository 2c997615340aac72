"""Histories in files: recorded by a test or by the command line, and replayed by a later version."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from romancy import UsageError, WorkflowContext, activity, workflow
from romancy.testing import TestApp, assert_replays, record_history

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


def join(target: Path, *parts: Path, behind: int = 0) -> None:
    """Write the lines of these files behind the first ones into another."""
    lines = [line for part in parts for line in part.read_bytes().splitlines(keepends=True)]
    target.write_bytes(b"".join(lines[behind:]))


@activity
async def note(number: int) -> int:
    return number


@workflow(name="monthly")
async def first_version(ctx: WorkflowContext, months: int) -> int:
    for month in range(months):
        await note(month)
        await ctx.sleep(timedelta(days=30))
    return months


@workflow(name="monthly")
async def patched_version(ctx: WorkflowContext, months: int) -> int:
    for month in range(months):
        await note(month if not ctx.patched("count from 1") else month + 1)
        await ctx.sleep(timedelta(days=30))
    return months


@workflow(name="monthly")
async def broken_version(ctx: WorkflowContext, months: int) -> int:
    for month in range(months):
        await note(month + 1)
        await ctx.sleep(timedelta(days=30))
    return months


@workflow
async def by_chance(ctx: WorkflowContext) -> int:
    return await note(random.randrange(10**9))


@workflow
async def another(ctx: WorkflowContext) -> None:
    pass


@pytest.fixture
async def recorded(tmp_path: Path) -> Path:
    async with TestApp([first_version]) as app:
        handle = await app.start(first_version, 3)
        await app.advance(timedelta(days=45))
        return await record_history(handle, tmp_path / "history.jsonl")


async def test_the_same_code_and_code_that_was_patched_replay(recorded: Path) -> None:
    assert_replays(first_version, recorded)
    assert_replays(patched_version, str(recorded))


async def test_code_that_does_something_else_fails_with_both_sides(recorded: Path) -> None:
    with pytest.raises(AssertionError, match=r"history\.jsonl") as raised:
        assert_replays(broken_version, recorded)
    assert "the log says" in str(raised.value)
    assert "the code now does" in str(raised.value)


async def test_chance_in_a_workflow_is_found(tmp_path: Path) -> None:
    async with TestApp([by_chance], check_replay=False) as app:
        handle = await app.start(by_chance)
        await handle.result()
        path = await record_history(handle, tmp_path / "chance.jsonl")
    with pytest.raises(AssertionError, match="note"):
        assert_replays(by_chance, path)


async def test_the_history_of_another_workflow_is_named(recorded: Path) -> None:
    with pytest.raises(AssertionError, match="a history of workflow 'monthly', and not of 'another'"):
        assert_replays(another, recorded)


async def test_a_file_that_is_no_history_is_refused(tmp_path: Path, recorded: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    with pytest.raises(UsageError, match="no history in this file"):
        assert_replays(first_version, empty)
    empty.write_text("{}\n")
    with pytest.raises(UsageError, match="line 1"):
        assert_replays(first_version, empty)
    join(empty, recorded, behind=1)
    with pytest.raises(UsageError, match="Is the file whole"):
        assert_replays(first_version, empty)


async def test_several_histories_may_share_a_file(tmp_path: Path, recorded: Path) -> None:
    both = tmp_path / "both.jsonl"
    async with TestApp([first_version]) as app:
        handle = await app.start(first_version, 1)
        await handle.result()
        other = await record_history(handle, tmp_path / "other.jsonl")
    join(both, recorded, other)
    assert_replays(first_version, both)
