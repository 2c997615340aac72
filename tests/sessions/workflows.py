"""The workflows that the tests of sessions start and signal."""

from __future__ import annotations

from typing import Final

from romancy import EventType, WorkflowContext, workflow

__all__ = ["PAID", "greet", "wait_for_payment"]

PAID: Final = EventType("paid", int)


@workflow
async def greet(ctx: WorkflowContext, name: str) -> str:
    return f"hello {name}"


@workflow
async def wait_for_payment(ctx: WorkflowContext) -> int:
    return (await ctx.wait_event(PAID)).data
