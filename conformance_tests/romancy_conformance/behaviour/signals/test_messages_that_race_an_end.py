"""Messages are received in order, also if the append that receives one is refused because of newer mail."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import InstanceEndedError, WorkflowContext, activity, workflow
from romancy.storage.records import Outcome
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy import Romancy, Workflow
    from romancy.storage.protocol import Store
    from romancy.storage.records import ClaimRequest, Item, Work
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

_RECEIVERS = 20

senders: list[Romancy] = []
holding: list[HoldsMail] = []


class HoldsMail(WrappedStore):
    """A store whose claims answer only after an end was refused, from when it is told to hold them."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        holding.append(self)
        self.holds = False
        self.refused = asyncio.Event()

    async def commit(self, batch: Sequence[Item], /, **options: Any) -> list[Outcome]:
        outcomes = await self._store.commit(batch, **options)
        if self.holds and Outcome.UNSEEN in outcomes:
            self.refused.set()
        return outcomes

    async def claim(self, request: ClaimRequest, /) -> Work:
        work = await self._store.claim(request)
        if self.holds:
            await self.refused.wait()
        return work


async def _send(instance_id: str, *numbers: int) -> None:
    """Send each number as a direct message and as a signal."""
    for number in numbers:
        await senders[-1].channel("numbers").send_to(instance_id, number)
        await senders[-1].signal(instance_id, "number", number)


@activity
async def another_comes(instance_id: str) -> None:
    """It is in the database, and the worker does not know of it."""
    holding[-1].holds = True
    await _send(instance_id, 3)


@activity
async def time_goes_by() -> None:
    """What is received after this is dated later than the message that has come."""
    await asyncio.sleep(0.1)


async def _received(ctx: WorkflowContext) -> int:
    return (await ctx.channel("numbers", model=int).receive(direct=True)).data


@workflow
async def receives_in_turn(ctx: WorkflowContext) -> list[int]:
    first = await _received(ctx)
    await another_comes(ctx.instance_id)
    await time_goes_by()
    return [first, await _received(ctx)]


@workflow
async def receives_beside(ctx: WorkflowContext) -> list[int]:
    """Two receivers wait, and the first message ends both."""
    first = await _received(ctx)
    await another_comes(ctx.instance_id)
    await time_goes_by()
    both = [asyncio.ensure_future(_received(ctx)) for _ in range(2)]
    done, left = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    for one in left:
        one.cancel()
    return [first, *(one.result() for one in both if one in done)]


@workflow
async def receives_signals(ctx: WorkflowContext) -> list[int]:
    first = (await ctx.wait_event("number", model=int)).data
    await another_comes(ctx.instance_id)
    await time_goes_by()
    return [first, (await ctx.wait_event("number", model=int)).data]


@workflow
async def receives_many(ctx: WorkflowContext, count: int) -> list[int]:
    return [await _received(ctx) for _ in range(count)]


@pytest.mark.parametrize("receives", [receives_in_turn, receives_beside, receives_signals])
async def test_the_last_message_is_not_the_one_that_came_after_it(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, receives: Workflow[[], list[int]]
) -> None:
    """The append that receives it is refused and made again, with the newer message."""
    senders[:] = [await open_app(worker=False)]
    handle = await senders[-1].start(receives)
    await _send(handle.instance_id, 1, 2)
    wrap_stores(monkeypatch, HoldsMail)

    await open_app()

    assert await handle.result(timeout=60) == [1, 2]
    assert holding[-1].refused.is_set()


async def test_messages_keep_their_order_while_more_of_them_come(open_app: Open) -> None:
    """Each end races with messages that nobody waits for any more."""
    app = await open_app()
    senders[:] = [await open_app(worker=False)]

    async def exchange(count: int) -> list[int]:
        handle = await app.start(receives_many, count)

        async def send() -> None:
            try:
                for number in range(2 * count):
                    await senders[-1].channel("numbers").send_to(handle.instance_id, number)
            except InstanceEndedError:
                return

        sending = asyncio.ensure_future(send())
        received = await handle.result(timeout=60)
        await sending
        return received

    for _ in range(3):
        counts = [2 + number % 6 for number in range(_RECEIVERS)]
        assert await asyncio.gather(*map(exchange, counts)) == [list(range(count)) for count in counts]
