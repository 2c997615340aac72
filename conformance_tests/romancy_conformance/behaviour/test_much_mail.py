"""More mail than one answer of the database brings: everybody gets theirs, in order, and nobody goes on without."""

from __future__ import annotations

import asyncio
import heapq
import os
from typing import TYPE_CHECKING, Any

import pytest

from romancy import EventType, Romancy, WorkflowContext, workflow
from romancy.storage.mail import MAX_MAIL_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Open = Callable[..., Awaitable[Romancy]]

pytestmark = pytest.mark.anyio

LARGE = 1_500_000
COUNT = 2 * MAX_MAIL_BYTES // LARGE + 1
"""Messages of which a third fits into one answer."""

SIGNALS = 20_000 if os.environ.get("ROMANCY_SOAK") else 1_000

Page = EventType("page", str)
Number = EventType("number", int)


@workflow
async def reads(ctx: WorkflowContext, pages: int) -> list[int]:
    return [len((await ctx.wait_event(Page)).data) for _ in range(pages)]


@workflow
async def adds_up(ctx: WorkflowContext, numbers: int) -> int:
    return sum([(await ctx.wait_event(Number)).data for _ in range(numbers)])


async def test_large_messages_reach_everybody(open_app: Open) -> None:
    sender = await open_app(worker=False)
    handles = [await sender.start(reads, 2) for _ in range(COUNT)]
    for handle in handles:
        await handle.signal(Page, "x" * LARGE)
        await handle.signal(Page, "y" * 10)

    await open_app()

    assert [await handle.result(timeout=60) for handle in handles] == [[LARGE, 10]] * COUNT


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_many_messages_are_not_looked_at_again_and_again(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0

    def counted(heap: list[Any]) -> Any:
        nonlocal looked
        looked += 1
        return heapq.heappop(heap)

    monkeypatch.setattr("romancy.engine._post.heappop", counted)
    sender = await open_app(worker=False)
    handle = await sender.start(adds_up, SIGNALS)
    await asyncio.gather(*(handle.signal(Number, number) for number in range(SIGNALS)))

    await open_app()

    assert await handle.result(timeout=600) == sum(range(SIGNALS))
    assert SIGNALS <= looked <= 10 * SIGNALS
