"""Mail that is read once more while the append that removes it is in flight is not removed a second time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Status, WorkflowContext, activity, workflow
from romancy.core import ActivityCancelled, Parent
from romancy.engine.messages import CancelMessage, encode_message
from romancy.storage.records import Append, Delivery
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import ClaimRequest, Item, Outcome, Work
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

calls: list[str] = []
MESSAGE_OF_ANOTHER = encode_message(CancelMessage(parent=Parent("another", "child:1")))
"""No run of an instance without a parent can use it."""


@activity
async def once(what: str) -> str:
    calls.append(what)
    return what


@activity
async def until_told() -> None:
    calls.append("begins")
    await asyncio.Event().wait()


@workflow
async def acts_on_mail(ctx: WorkflowContext) -> str:
    go = await ctx.wait_event("go", model=str)
    return await once(go.data)


@workflow
async def is_told_to_stop(ctx: WorkflowContext) -> None:
    await until_told()


def useless(instance_id: str, name: str) -> Delivery:
    return Delivery(instance_id=instance_id, delivery_id=name, body=MESSAGE_OF_ANOTHER)


class ReadsAgain(WrappedStore):
    """A store on which one more message comes while an append removes two, and the worker reads all of them again."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.read_again = asyncio.Event()
        self.waits_for = ""

    async def commit(self, batch: Sequence[Item], /, **options: Any) -> list[Outcome]:
        for item in batch:
            if isinstance(item, Append) and "useless" in item.consumed and not self.waits_for:
                self.waits_for = item.instance_id
                await self._store.deliver([useless(item.instance_id, "useless too")])
                async with asyncio.timeout(60):
                    await self.read_again.wait()
        return await self._store.commit(batch, **options)

    async def claim(self, request: ClaimRequest, /) -> Work:
        work = await self._store.claim(request)
        if any(box.instance_id == self.waits_for for box in work.mail):
            self.read_again.set()
        return work


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    calls.clear()


async def test_what_was_done_since_is_not_done_again(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = wrap_stores(monkeypatch, ReadsAgain)
    app = await open_app()
    handle = await app.start(acts_on_mail)
    await status_is(app, handle.instance_id, Status.WAITING)
    await stores[0].deliver([useless(handle.instance_id, "useless")])
    await handle.signal("go", "on")

    assert await handle.result(timeout=60) == "on"
    assert stores[0].read_again.is_set()
    assert calls == ["on"]


async def test_how_a_stopped_activity_ended_is_not_forgotten(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = wrap_stores(monkeypatch, ReadsAgain)
    app = await open_app()
    handle = await app.start(is_told_to_stop)
    await until(lambda: "begins" in calls)
    await stores[0].deliver([useless(handle.instance_id, "useless")])
    await handle.cancel()
    await status_is(app, handle.instance_id, Status.CANCELLED)

    ends = [event for event in await handle.history() if isinstance(event, ActivityCancelled)]
    assert stores[0].read_again.is_set()
    assert [False] == [event.unknown for event in ends]
