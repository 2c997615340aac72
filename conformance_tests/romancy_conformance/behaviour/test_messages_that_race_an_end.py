"""Messages are received in order, also if the append that receives one is refused because of newer mail."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import InstanceEndedError, Status, WorkflowContext, activity, workflow
from romancy.storage.records import Append, Outcome
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
        ends = any(isinstance(one, Append) and one.change and one.change.status is Status.COMPLETED for one in batch)
        if ends and self.holds:
            assert Outcome.UNSEEN in outcomes or self.refused.is_set()
            self.refused.set()
        return outcomes

    async def claim(self, request: ClaimRequest, /) -> Work:
        work = await self._store.claim(request)
        if self.holds:
            await self.refused.wait()
        return work


async def _send(instance_id: str, *numbers: int) -> None:
    for number in numbers:
        await senders[-1].channel("numbers").send_to(instance_id, number)


@activity
async def another_comes(instance_id: str, number: int) -> None:
    """It is in the database, and the worker does not know of it."""
    holding[-1].holds = True
    await _send(instance_id, number)


@activity
async def time_goes_by() -> None:
    """What is received after this is dated later than the message that has come."""
    await asyncio.sleep(0.1)


@workflow
async def receives_in_turn(ctx: WorkflowContext) -> list[int]:
    numbers = ctx.channel("numbers", model=int)
    first = (await numbers.receive(direct=True)).data
    await another_comes(ctx.instance_id, 3)
    await time_goes_by()
    return [first, (await numbers.receive(direct=True)).data]


@workflow
async def receives_beside(ctx: WorkflowContext) -> list[int]:
    """Two receivers wait, and the first message ends both."""
    numbers = ctx.channel("numbers", model=int)
    first = (await numbers.receive(direct=True)).data
    await another_comes(ctx.instance_id, 3)
    await time_goes_by()
    both = [asyncio.ensure_future(numbers.receive(direct=True)) for _ in range(2)]
    done, left = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    for one in left:
        one.cancel()
    return [first, *(one.result().data for one in both if one in done)]


@workflow
async def receives_many(ctx: WorkflowContext, count: int) -> list[int]:
    numbers = ctx.channel("numbers", model=int)
    return [(await numbers.receive(direct=True)).data for _ in range(count)]


@pytest.mark.parametrize("receives", [receives_in_turn, receives_beside])
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
                await _send(handle.instance_id, *range(2 * count))
            except InstanceEndedError:
                return

        sending = asyncio.ensure_future(send())
        received = await handle.result(timeout=60)
        await sending
        return received

    for _ in range(3):
        counts = [2 + number % 6 for number in range(_RECEIVERS)]
        assert await asyncio.gather(*map(exchange, counts)) == [list(range(count)) for count in counts]
