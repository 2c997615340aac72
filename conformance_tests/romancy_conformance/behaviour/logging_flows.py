"""Workflows that log, and a program that runs one of them until it is killed.

python -m romancy_conformance.behaviour.logging_flows URL
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Final

from romancy import EventType, RetryPolicy, Romancy, WorkflowContext, activity, activity_context, workflow

__all__ = ["GO", "chatty", "interrupted", "retries", "told"]

GO: Final = EventType("go", str)
own: Final = logging.getLogger("an.app")


@activity
async def asks(name: str) -> str:
    activity_context().log.info("an attempt for %s", name)
    own.warning("plain logging for %s", name)
    await asyncio.sleep(0)
    return name


@activity
def asks_on_a_thread(name: str) -> str:
    activity_context().log.info("a thread for %s", name)
    own.warning("plain logging of a thread")
    return name


@activity(retry=RetryPolicy(max_attempts=2, initial_interval=0.0))
async def fails_once() -> None:
    attempt = activity_context().attempt
    if attempt == 1:
        try:
            raise ValueError("no card")
        except ValueError:
            activity_context().log.exception("attempt %d fails", attempt)
            raise
    activity_context().log.info("attempt %d", attempt)


@workflow
async def told(ctx: WorkflowContext, name: str) -> str:
    ctx.log.info("it begins for %s", name)
    ctx.log.debug("nobody wants this")
    await asks(name)
    own.warning("between")
    await asks_on_a_thread(name)
    ctx.log.info("it waits")
    await ctx.wait_event(GO)
    ctx.log.info("it goes on")
    if ctx.run == 1:
        told.recur(name)
    return name


@workflow
async def retries(ctx: WorkflowContext) -> None:
    await fails_once()


@workflow
async def chatty(ctx: WorkflowContext, count: int) -> int:
    for number in range(count):
        ctx.log.info("line %d", number)
    return count


@workflow
async def interrupted(ctx: WorkflowContext) -> None:
    try:
        await ctx.wait_event(GO)
    finally:
        ctx.log.info("it is cleaned up")


async def main(url: str) -> None:
    async with Romancy(url, workflows=[told], keep_logs="INFO") as app:
        await app.start(told.options(instance_id="k"), "ann")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
