"""A program for `test_silent_drops`: it drops runs for one reason, and prints only what Python says about that."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from romancy import Romancy, Status, WorkflowContext, activity, workflow
from romancy.testing import TestApp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

depth = ContextVar("depth", default=0)


@contextmanager
def deeper() -> Generator[None]:
    token = depth.set(depth.get() + 1)
    try:
        yield
    finally:
        depth.reset(token)


def plain() -> Generator[int, None, None]:
    with deeper():
        yield from range(5)


async def numbers() -> AsyncGenerator[int, None]:
    with deeper():
        for number in plain():
            yield number


@activity
async def hold(number: int) -> int:
    await asyncio.Event().wait()
    return number


@workflow
async def loops(ctx: WorkflowContext, acts: bool) -> None:  # noqa: FBT001 - an argument of the workflow
    async def pause() -> None:
        await (hold(7) if acts else ctx.wait_event("never"))

    async def one() -> None:
        async for _ in numbers():
            await pause()

    async def tries() -> None:
        while True:
            try:
                await pause()
            except BaseException:  # noqa: BLE001 - as libraries do that retry
                await asyncio.sleep(1)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(one())
        tasks.create_task(tries())
        async for _ in numbers():
            await ctx.wait_event("next")


@workflow
async def waits(ctx: WorkflowContext) -> None:
    async for _ in numbers():
        await ctx.wait_event("next")


async def status_is(app: Romancy, instance_id: str, *statuses: Status) -> None:
    async with asyncio.timeout(60):
        while (await app.handle(instance_id).status()) not in statuses:  # noqa: ASYNC110 - nothing reports it
            await asyncio.sleep(0.01)


async def main(how: str, url: str) -> None:
    if how == "crash":
        async with TestApp([loops, waits]) as app:
            for number in range(3):
                await app.start(loops.options(instance_id=f"a{number}"), acts=False)
                await app.start(waits.options(instance_id=f"b{number}"))
                await app.settle()
                await app.crash()
                gc.collect()
        return
    sticky = 0 if how == "not sticky" else 1000
    async with Romancy(url, workflows=[loops, waits], sticky=sticky, drain_timeout=0) as app:
        await app.start(loops.options(instance_id="a"), acts=True)
        await app.start(waits.options(instance_id="b"))
        await status_is(app, "b", Status.WAITING)
        if how == "cancel":
            await app.cancel("b")
            await status_is(app, "b", Status.CANCELLED)
        elif how == "terminate":
            for name in ("a", "b"):
                await app.terminate(name)
                await status_is(app, name, Status.CANCELLED)
        elif how == "not sticky":
            await app.signal("b", "next")
            await status_is(app, "b", Status.WAITING)
        gc.collect()


if __name__ == "__main__":
    warnings.simplefilter("always")
    asyncio.run(main(sys.argv[1], sys.argv[2]))
    gc.collect()
