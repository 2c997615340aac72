"""Mail that is read again while the append that removes it is in flight is removed once, and none is left over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Status, WorkflowContext, activity, workflow
from romancy.core import ActivityCancelled, Parent
from romancy.engine.messages import CancelMessage, encode_message
from romancy.storage.records import Append, Delivery, Outcome
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import ClaimRequest, Item, Work
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

calls: list[str] = []
gates: dict[str, asyncio.Event] = {}
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


@activity
async def stops_slowly() -> None:
    calls.append("begins")
    try:
        await asyncio.Event().wait()
    finally:
        calls.append("stops")
        await gates["stop"].wait()


@workflow
async def acts_on_mail(ctx: WorkflowContext) -> str:
    go = await ctx.wait_event("go", model=str)
    return await once(go.data)


calls_until_told = calling(until_told)
calls_stops_slowly = calling(stops_slowly)


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


class RefusesAnEnd(WrappedStore):
    """A store that refuses the first end of an instance, because mail came that a claim has read meanwhile.

    The worker hears of that before a claim answers that began before, and that has no mail for the instance.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.brought: set[str] = set()
        """The ids of the instance's messages that claims have brought."""
        self.ending, self.claiming, self.refused = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.instance_id = ""
        self.holds_claims = False

    async def commit(self, batch: Sequence[Item], /, **options: Any) -> list[Outcome]:
        ends = any(isinstance(one, Append) and one.change and one.change.status is Status.CANCELLED for one in batch)
        if not ends or self.ending.is_set():
            return await self._store.commit(batch, **options)
        self.ending.set()
        async with asyncio.timeout(60):
            await self.claiming.wait()
        outcomes = await self._store.commit(batch, **options)
        assert outcomes == [Outcome.UNSEEN]
        self.refused.set()
        return outcomes

    async def claim(self, request: ClaimRequest, /) -> Work:
        work = await self._store.claim(request)
        mail = [row for box in work.mail if box.instance_id == self.instance_id for row in box.rows]
        self.brought |= {row.delivery_id for row in mail}
        if self.holds_claims and not mail and not self.refused.is_set():
            self.claiming.set()
            async with asyncio.timeout(60):
                await self.refused.wait()
            await asyncio.sleep(0)  # the worker hears of the refusal first
            await asyncio.sleep(0)
        return work


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    calls.clear()
    gates.clear()


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
    handle = await app.start(calls_until_told)
    await until(lambda: "begins" in calls)
    await stores[0].deliver([useless(handle.instance_id, "useless")])
    await handle.cancel()
    await status_is(app, handle.instance_id, Status.CANCELLED)

    ends = [event for event in await handle.history() if isinstance(event, ActivityCancelled)]
    assert stores[0].read_again.is_set()
    assert [False] == [event.unknown for event in ends]


async def test_a_request_to_cancel_that_was_passed_over_does_not_cancel_the_retry(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates["stop"] = asyncio.Event()
    stores = wrap_stores(monkeypatch, RefusesAnEnd)
    app = await open_app()
    store = stores[0]
    handle, other = await app.start(calls_stops_slowly), await app.start(acts_on_mail)
    store.instance_id = handle.instance_id
    await until(lambda: "begins" in calls)
    await handle.cancel("first")
    await until(lambda: "stops" in calls)
    await handle.cancel("again")
    await until(lambda: len(store.brought) == 2)
    gates["stop"].set()
    await store.ending.wait()
    await handle.cancel("late")
    await until(lambda: len(store.brought) == 3)
    store.holds_claims = True
    await other.signal("go", "on")
    await status_is(app, handle.instance_id, Status.CANCELLED)
    assert store.refused.is_set()

    await app.retry(handle.instance_id)
    await until(lambda: calls.count("begins") == 2)
    await handle.cancel("in its second run")
    await status_is(app, handle.instance_id, Status.CANCELLED)


async def test_a_request_to_terminate_is_not_forgotten_when_its_append_is_refused(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = wrap_stores(monkeypatch, RefusesAnEnd)
    app, client = await open_app(), await open_app(worker=False)
    store = stores[0]
    handle, other = await app.start(calls_until_told), await app.start(acts_on_mail)
    store.instance_id = handle.instance_id
    await until(lambda: "begins" in calls)
    terminated = asyncio.create_task(client.terminate(handle.instance_id))
    await store.ending.wait()
    await handle.cancel("late")
    await until(lambda: len(store.brought) == 2)
    store.holds_claims = True
    await other.signal("go", "on")
    await terminated
    assert store.refused.is_set()
    assert calls.count("begins") == 1

    await app.retry(handle.instance_id, unsure="undone")
    await until(lambda: calls.count("begins") == 2)
    await handle.cancel("in its second run")
    await status_is(app, handle.instance_id, Status.CANCELLED)
