"""A shop whose instances the pages show."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from romancy import (
    EventType,
    RetryPolicy,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)

__all__ = ["Paid", "bill", "charge", "ship", "shop"]


Paid = EventType("order.paid", dict[str, int])


@activity(retry=RetryPolicy.fixed(3, 0.001))
async def charge(item: str, deep: Any = None) -> dict[str, Any]:
    if activity_context().attempt == 1:
        raise ConnectionError(f"the provider hung up on {item}")
    return {"receipt": item}


@activity(retry=RetryPolicy.none())
async def ship(item: str) -> str:
    if item.startswith("lost"):
        raise ValueError(f"no address for {item}")
    return "parcel-9"


@workflow
async def bill(ctx: WorkflowContext, item: str) -> str:
    return f"bill of {item}"


@workflow
async def shop(ctx: WorkflowContext, item: str, wait: str = "", deep: Any = None) -> str:
    await charge(item, deep)
    await ctx.report({"paid": item})
    await ctx.sleep(timedelta(milliseconds=2))
    await bill(item)
    if wait:
        await ctx.wait_event(Paid)
    return await ship(item)
