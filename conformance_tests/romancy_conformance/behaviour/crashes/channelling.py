"""Workflows that talk over channels, driven by processes that may die at any write or dispatch.

    python -m romancy_conformance.behaviour.crashes.channelling

`forking` describes how jobs arrive and how they are answered. Each worker continues what it finds until all is ended.
"""

from __future__ import annotations

import asyncio
from unittest import mock

from romancy import Channel, Romancy, WorkflowContext, activity, workflow
from romancy.engine.worker import claims
from romancy.status import TERMINAL_STATUSES, Status
from romancy_conformance.behaviour.crashes.forking import TOO_LATE, Job, serve

__all__ = ["HERALDS", "WORKFLOWS", "edition", "hears", "works"]

HERALDS = 3
LAST = -1
SWEEP_EVERY = 3.0
"""Seconds. A sweep brings what a killed dispatch left, and here many are killed."""
News = Channel("news", int)
Work = Channel("work", int)
Ready = Channel("ready", str)
_OPEN = tuple(set(Status) - TERMINAL_STATUSES)


@activity
async def writes(number: int) -> int:
    return number


@workflow
async def herald(ctx: WorkflowContext, first: int, count: int) -> None:
    """Publish so many numbers on both channels, with work between."""
    for number in range(first, first + count):
        await ctx.channel(News).publish(await writes(number))
        await ctx.channel(Work).publish(number)


@workflow
async def edition(ctx: WorkflowContext, listeners: int, count: int) -> None:
    """Let the publishers publish once all listeners have subscribed, and signal the end to all."""
    for _ in range(2 * listeners):
        await ctx.channel(Ready).receive(direct=True)
    heralds = [await ctx.start(herald, 1000 * number, count) for number in range(HERALDS)]
    for one in heralds:
        await one.result()
    await ctx.channel(News).publish(LAST)
    for _ in range(listeners):
        await ctx.channel(Work).publish(LAST)


@workflow
async def hears(ctx: WorkflowContext, edition_id: str) -> list[int]:
    got, news = list[int](), ctx.channel(News)
    await news.subscribe("broadcast")
    await ctx.channel(Ready).send_to(edition_id, ctx.instance_id)
    async for message in news:
        if message.data == LAST:
            break
        got.append(message.data)
    return got


@workflow
async def works(ctx: WorkflowContext, edition_id: str) -> list[int]:
    """Take numbers, each with work of its own."""
    got, work = list[int](), ctx.channel(Work)
    await work.subscribe("competing")
    await ctx.channel(Ready).send_to(edition_id, ctx.instance_id)
    async for message in work:
        if message.data == LAST:
            break
        got.append(await writes(message.data))
    return got


WORKFLOWS = (herald, edition, hears, works)


async def play(job: Job) -> int:
    """Continue what there is until all has ended."""
    job.arm()
    mock.patch.object(claims, "_SWEEP_EVERY", SWEEP_EVERY).start()  # until this process ends
    try:
        async with asyncio.timeout(job.limit), Romancy(job.url, workflows=WORKFLOWS, lease=30.0) as app:
            while (await app.list_instances(status=_OPEN)).instances:  # noqa: ASYNC110 - asked, nothing tells
                await asyncio.sleep(0.05)
    except TimeoutError:
        return TOO_LATE
    return 0


if __name__ == "__main__":
    serve(Job, play)
