"""Workflows that ask people, for tests of the inbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from romancy import RefusedError, WorkflowContext, workflow

__all__ = ["MARKUP", "Trip", "asks_for_a_trip", "asks_to_pay"]

MARKUP = "<script>alert(1)</script>"


@dataclass
class Trip:
    days: int
    by: Literal["train", "plane"]
    note: str | None = None
    night: bool = False


@workflow
async def asks_for_a_trip(ctx: WorkflowContext) -> str:
    trip = await ctx.ask("Where to in June, and how?\nTrains are quieter.", model=Trip, name="trip", to="ann")
    return f"{trip}"


@workflow
async def asks_to_pay(ctx: WorkflowContext, amount: int) -> str:
    try:
        paid = await ctx.ask(f"Pay {amount} € {MARKUP}?", name="payment", to="finance", timeout=86_400)
    except RefusedError as refused:
        return f"refused by {refused.by}: {refused.reason}"
    return f"{paid}"
