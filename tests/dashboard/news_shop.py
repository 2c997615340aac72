"""The workflows of a shop whose pages are looked at in Chromium, also by programs of their own."""

from __future__ import annotations

from typing import Final

from romancy import TerminalError, WorkflowContext, workflow

__all__ = ["HOSTILE", "place_order", "send_news"]

HOSTILE: Final = '<script>document.title="owned"</script><img src=x onerror=alert(1)>\u202e\u0007"\'&{{7*7}}'


@workflow
async def place_order(ctx: WorkflowContext, customer: dict[str, str], total: float, mode: str) -> str:
    if mode == "fail":
        raise TerminalError(f"card of {customer['name']} was declined: {HOSTILE}")
    if mode == "wait":
        await ctx.wait_event("paid")
    return "shipped"


@workflow
async def send_news(ctx: WorkflowContext, edition: int) -> int:
    return edition
