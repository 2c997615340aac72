"""More mail than one answer of the database brings: everybody gets theirs, in order, and nobody goes on without."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

Page = EventType("page", str)


@workflow
async def reads(ctx: WorkflowContext, pages: int) -> list[int]:
    return [len((await ctx.wait_event(Page)).data) for _ in range(pages)]


async def test_large_messages_reach_everybody(open_app: Open) -> None:
    sender = await open_app(worker=False)
    handles = [await sender.start(reads, 2) for _ in range(COUNT)]
    for handle in handles:
        await handle.signal(Page, "x" * LARGE)
        await handle.signal(Page, "y" * 10)

    await open_app()

    assert [await handle.result(timeout=60) for handle in handles] == [[LARGE, 10]] * COUNT
