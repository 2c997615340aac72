"""Workflows that behave differently in another process: `test_replaying` must find each of them."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from romancy import WorkflowContext, activity, workflow

ELSEWHERE = Path(sys.argv[0]).parent.name == "replaying"
"""Whether this is the process that replays what another one has written."""
NAMES = frozenset(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"])


@activity
async def planted_step(name: str) -> str:
    return name


@workflow
async def planted_same(ctx: WorkflowContext, name: str) -> str:
    return await planted_step(name)


@workflow
async def planted_waits(ctx: WorkflowContext) -> str:
    await ctx.sleep(3600)
    return await planted_step("late")


@workflow
async def planted_fails(ctx: WorkflowContext) -> None:
    await planted_step("first")
    raise ValueError("wrong")


@workflow
async def planted_order(ctx: WorkflowContext) -> int:
    for name in NAMES:  # by the hash seed
        await planted_step(name)
    return len(NAMES)


@workflow
async def planted_memory(ctx: WorkflowContext) -> str:
    """What it returns depends on what its process has imported."""
    await planted_step("first")
    return "elsewhere" if ELSEWHERE else "here"


@workflow
async def planted_hang(ctx: WorkflowContext) -> str:
    if ELSEWHERE:
        threading.Event().wait()
    return await planted_step("first")


@workflow
async def planted_death(ctx: WorkflowContext) -> str:
    if ELSEWHERE:
        os._exit(3)
    return await planted_step("first")
