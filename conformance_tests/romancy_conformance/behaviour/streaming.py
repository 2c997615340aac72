"""Workflows whose activities write to a stream, and a worker that runs them until it is killed.

python -m romancy_conformance.behaviour.streaming URL
"""

from __future__ import annotations

import asyncio
import random
import sys
from typing import Any, Final

from romancy import (
    EventType,
    RetryPolicy,
    Romancy,
    Stream,
    StreamItem,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)

__all__ = ["GO", "TOKENS", "answers", "chat", "fails_once", "reconnecting", "says", "tries", "waits"]

TOKENS: Final = Stream("tokens", str)
GO: Final = EventType("go", str)


@activity(retry=RetryPolicy(max_attempts=1000, initial_interval=0.0))
async def says(name: str, count: int) -> list[str]:
    """Another answer at each attempt, as of a model."""
    context = activity_context()
    tokens = [f"{name}.{context.attempt}.{random.random()}.{number}" for number in range(count)]
    for token in tokens:
        context.stream(TOKENS).write(token)
        await asyncio.sleep(random.random() / 100)
        if random.random() < 0.01:
            raise ConnectionResetError("by the provider")
    return tokens


@workflow
async def answers(ctx: WorkflowContext, turns: int, count: int) -> list[str]:
    return [token for turn in range(turns) for token in await says(f"{ctx.instance_id}.{turn}", count)]


@activity(retry=RetryPolicy(max_attempts=3, initial_interval=0.0))
async def fails_once() -> list[str]:
    stream = activity_context().stream(TOKENS)
    attempt = activity_context().attempt
    stream.write(f"attempt {attempt}")
    await stream.flush()
    if attempt == 1:
        raise ConnectionResetError("by the provider")
    return [f"attempt {attempt}"]


@activity
def on_a_thread() -> list[str]:
    for number in range(3):
        activity_context().stream(TOKENS).write(f"thread {number}")
    return [f"thread {number}" for number in range(3)]


@activity
async def waits() -> None:
    stream = activity_context().stream("tokens", model=str)
    stream.write("partly")
    await stream.flush()
    await asyncio.sleep(3600)


@workflow
async def tries(ctx: WorkflowContext) -> list[str]:
    async def step() -> list[str]:
        activity_context().stream(TOKENS).write("of a step")
        return ["of a step"]

    first = await fails_once() + await on_a_thread()
    return first + await ctx.step("steps", step)


@workflow
async def chat(ctx: WorkflowContext) -> list[str]:
    """Goes on with another run at "again", waits for ever at "wait", and ends at "end"."""
    await ctx.stream(TOKENS).write(f"body {ctx.run if ctx.run < 3 else 2}")
    said = await says("chat", 3)
    await ctx.stream(TOKENS).write("body again")
    what = (await ctx.wait_event(GO)).data
    if what == "again":
        chat.recur()
    if what == "wait":
        await waits()
    if what == "fail":
        raise ValueError("as told")
    return said


async def reconnecting(app: Romancy, instance_id: str, *, settled: bool = False) -> list[StreamItem[str]]:
    """All items, read by readers that are cut off at random and go on behind the last offset."""
    items: list[StreamItem[str]] = []
    chance = random.Random(instance_id)
    while True:
        after, left = items[-1].offset if items else None, chance.randrange(1, 30)
        reader: Any = app.stream_of(instance_id, TOKENS, after=after, settled=settled)
        async for item in reader:
            items.append(item)
            left -= 1
            if not left:
                break
        else:
            return items
        await reader.aclose()


async def _work(url: str) -> None:
    async with Romancy(url, workflows=[answers, tries, chat]):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1]))
