"""More mail than one answer of the database brings: each instance gets its mail, in order, before it continues."""

from __future__ import annotations

import asyncio
import heapq
import os
from typing import TYPE_CHECKING, Any

import pytest

from romancy import EventType, WorkflowContext, activity, workflow
from romancy.storage.mail import MAX_MAIL_BYTES
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import ClaimRequest, Work
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

LARGE = 1_500_000
COUNT = 2 * MAX_MAIL_BYTES // LARGE + 1
"""Messages of which a third fits into one answer."""

SOAK = bool(os.environ.get("ROMANCY_SOAK"))
SIGNALS = 20_000 if SOAK else 1_000
ONE_BY_ONE = 20_000 if SOAK else 96
AT_ONCE = 500
TIMES = 8
"""How often each message is returned at most; if all were returned with each, it would be 48 times."""

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


@workflow
async def hears_at_once(ctx: WorkflowContext, numbers: int) -> int:
    return len(await asyncio.gather(*(ctx.wait_event(Number) for _ in range(numbers))))


async def test_small_messages_with_many_headers_come_in_several_commits(open_app: Open) -> None:
    sender = await open_app(worker=False)
    handle = await sender.start(hears_at_once, 400)
    for number in range(400):
        await sender.send(Number, number, to=handle.instance_id, headers={"note": "x" * 15_000})

    await open_app()

    assert await handle.result(timeout=60) == 400


@pytest.mark.soak
@pytest.mark.timeout(1800 if SOAK else 300)
async def test_many_messages_are_not_looked_at_again_and_again(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    looked = 0
    at_once = 100 if backend == "citus" else AT_ONCE  # a caller waits 10 s for its turn at one instance

    def counted(heap: list[Any]) -> Any:
        nonlocal looked
        looked += 1
        return heapq.heappop(heap)

    monkeypatch.setattr("romancy.engine.inbox.heappop", counted)
    sender = await open_app(worker=False)
    handle = await sender.start(adds_up, SIGNALS)
    for first in range(0, SIGNALS, at_once):  # a caller waits 30 s for a connection at most
        await asyncio.gather(*(handle.signal(Number, number) for number in range(first, first + at_once)))

    await open_app()

    assert await handle.result(timeout=600) == sum(range(SIGNALS))
    assert SIGNALS <= looked <= 10 * SIGNALS


gates: list[asyncio.Event] = []


@activity
async def waits_at_the_gate() -> None:
    await gates[0].wait()


@workflow
async def adds_up_later(ctx: WorkflowContext, numbers: int) -> int:
    await waits_at_the_gate()
    return sum([(await ctx.wait_event(Number)).data for _ in range(numbers)])


class Bringing(WrappedStore):
    """A store that counts the messages that its claims return."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.rows = 0
        self.covered = 0
        """The highest counter of a mailbox."""
        self.brought = asyncio.Condition()

    async def claim(self, request: ClaimRequest, /) -> Work:
        work = await self._store.claim(request)
        self.rows += sum(len(box.rows) for box in work.mail)
        async with self.brought:
            self.covered = max([self.covered, *(box.signals for box in work.mail)])
            self.brought.notify_all()
        return work

    async def until(self, covered: int) -> None:
        """Return when claims have returned so many messages."""
        async with self.brought:
            await self.brought.wait_for(lambda: self.covered >= covered)


@pytest.mark.soak
@pytest.mark.timeout(1800 if SOAK else 300)
async def test_messages_that_are_kept_are_not_brought_again_and_again(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages arrive one at a time for a busy workflow; a claim returns each before the next is sent."""
    gates[:] = [asyncio.Event()]
    made = wrap_stores(monkeypatch, Bringing)
    app = await open_app()
    (store,) = made
    handle = await app.start(adds_up_later, ONE_BY_ONE)
    for number in range(ONE_BY_ONE):
        await handle.signal(Number, number)
        await store.until(number + 1)
    gates[0].set()

    assert await handle.result(timeout=600) == sum(range(ONE_BY_ONE))
    assert ONE_BY_ONE <= store.rows <= TIMES * ONE_BY_ONE
