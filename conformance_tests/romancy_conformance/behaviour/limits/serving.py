"""Workflows under limits, whose tests hear who enters."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import EventType, Limit, Romancy, RomancyError, Status, WorkflowContext, activity, workflow
from romancy.core import PlaceAsked

if TYPE_CHECKING:
    from romancy import Handle

__all__ = [
    "GO", "PRINTER", "SOON", "cancel", "complete", "enter", "enters", "enters_next", "has_entered", "inside",
    "nobody_enters", "nobody_inside", "prints", "serve", "served", "terminate", "until_asked", "until_it_rests",
]  # fmt: skip

SOON = 30.0
GO = EventType("go", str)
inside: list[str] = []
"""Who is inside, in the order of entering."""
entered: asyncio.Queue[str]


@pytest.fixture(autouse=True)
def nobody_inside() -> None:
    global entered  # noqa: PLW0603 - the activities have no other way to it
    entered = asyncio.Queue()
    inside.clear()


async def enters(*names: str) -> None:
    """Wait until these have entered, and nobody else."""
    came = [await asyncio.wait_for(entered.get(), SOON) for _ in names]
    assert sorted(came) == sorted(names)
    assert entered.empty()


async def enters_next() -> str:
    """Return who enters next."""
    return await asyncio.wait_for(entered.get(), SOON)


def has_entered(name: str) -> None:
    """Tell the test."""
    entered.put_nowait(name)


def nobody_enters() -> bool:
    """Whether nobody has entered whom no test has awaited."""
    return entered.empty()


@activity
async def enter(name: str) -> None:
    inside.append(name)
    has_entered(name)


@workflow(limits=[Limit("per customer", key="customer", concurrency=2)])
async def serve(ctx: WorkflowContext, customer: str, name: str) -> str:
    await enter(name)
    return (await ctx.wait_event(GO)).data


PRINTER = Limit("printer", concurrency=1)


@workflow
async def prints(ctx: WorkflowContext, name: str) -> str:
    async with ctx.limit(PRINTER):
        await enter(name)
        await ctx.wait_event(GO)
    await ctx.wait_event(GO)
    return name


async def served(app: Romancy, customer: str, *names: str) -> dict[str, Handle[str]]:
    """Start these one after the other, so that they stand in this order."""
    handles: dict[str, Handle[str]] = {}
    for name in names:
        handles[name] = await app.start(serve.options(instance_id=name), customer, name)
        await until_asked(handles[name])
    return handles


async def until_asked(handle: Handle[str]) -> None:
    """Wait until the instance stands in line, or has its place."""
    while True:
        if any(isinstance(event, PlaceAsked) for event in await handle.history()):
            return
        await asyncio.sleep(0.005)


async def cancel(app: Romancy, handle: Handle[str]) -> None:
    await handle.cancel("enough")
    with pytest.raises(RomancyError):
        await handle.result(timeout=SOON)


async def terminate(app: Romancy, handle: Handle[str]) -> None:
    await app.terminate(handle.instance_id, reason="enough")


async def complete(app: Romancy, handle: Handle[str]) -> None:
    await handle.signal(GO, "done")
    await handle.result(timeout=SOON)


async def until_it_rests(app: Romancy, instance_id: str) -> None:
    while True:
        found = await app.get_instance(instance_id)
        assert found is not None
        if found.status is Status.WAITING:
            return
        await asyncio.sleep(0.01)
