"""An end that was refused because of mail that the worker had not read, and that it can read no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, Status, WorkflowContext, workflow
from romancy.engine.messages import CancelMessage, encode_message
from romancy.storage.records import Append, Delivered, Delivery
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import ClaimRequest, Item, Outcome, Work
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

LONG = 20.0


@workflow
async def unread_line(ctx: WorkflowContext, number: int) -> int:
    await ctx.sleep(0.01)
    return number


class Unread(WrappedStore):
    """A store on which a message comes just before an instance ends, and whose claims then wait."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.refused = asyncio.Event()
        self.passing = asyncio.Event()
        self.passing.set()

    async def claim(self, request: ClaimRequest, /) -> Work:
        await self.passing.wait()
        return await self._store.claim(request)

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        ends = [
            one for one in batch if isinstance(one, Append) and one.change and one.change.status is Status.COMPLETED
        ]
        if ends and not self.refused.is_set():
            self.passing.clear()
            message = Delivery(instance_id="one", delivery_id="unread", body=encode_message(CancelMessage(life=1)))
            assert [Delivered.ACCEPTED] == await self._store.deliver([message])
            self.refused.set()
        return await self._store.commit(batch, worker=worker)


async def test_the_next_life_is_taken_up_when_another_has_ended_the_one_that_waits_for_its_mail(
    open_app: Open, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = await open_app(worker=False)
    made = wrap_stores(monkeypatch, Unread)
    async with Romancy(storage_url, workflows=[unread_line]):
        (store,) = made
        await front.start(unread_line.options(instance_id="one"), 1)
        await asyncio.wait_for(store.refused.wait(), LONG)
        assert await front.terminate("one")
        assert 1 == await front.purge("one")
        two = await front.start(unread_line.options(instance_id="one"), 2)
        store.passing.set()

        assert 2 == await two.result(timeout=LONG)
