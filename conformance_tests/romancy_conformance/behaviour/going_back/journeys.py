"""Workflows that tests of going back cut off while something of them is open."""

from __future__ import annotations

import asyncio

from romancy import WorkflowContext, workflow
from romancy_conformance.behaviour.cast import act, waits_at_a_gate

__all__ = ["abreast", "gated", "parts"]


@workflow
async def abreast(ctx: WorkflowContext) -> list[str]:
    return list(await asyncio.gather(waits_at_a_gate("slow"), _both()))


async def _both() -> str:
    await act("one")
    return await act("two")


@workflow
async def parts(ctx: WorkflowContext) -> list[str]:
    """Calls a child that stands at its gate, and does a step beside it."""
    child = await ctx.start(gated)
    await act("one")
    await act("two")
    return [child.instance_id, await child.result()]


@workflow
async def gated(ctx: WorkflowContext) -> str:
    return await waits_at_a_gate("child")
