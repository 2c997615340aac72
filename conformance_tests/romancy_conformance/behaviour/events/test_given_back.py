"""An event that came after its wait had ended goes back, and is handed out again while that call is on its way."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from romancy import EventType, StorageUnavailableError, WorkflowContext, workflow
from romancy.storage.routing import address_of_key
from romancy_conformance.behaviour.slow_stores import SOON, Slow
from romancy_conformance.behaviour.stores import wrap_stores
from romancy_conformance.behaviour.waiting import until
from romancy_conformance.changing import changed

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import ClaimRequest, Work
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Paid = EventType("paid", int)


@workflow
async def changes_its_mind(ctx: WorkflowContext, key: str) -> int:
    """Give up waiting for a payment, and wait for it once more."""
    payment = asyncio.ensure_future(ctx.wait_event(Paid, key=key))
    await ctx.wait_event("enough")
    payment.cancel()
    await ctx.wait_event("again")
    return (await ctx.wait_event(Paid, key=key)).data


class Returning(Slow):
    """A store that carries out what is given back at once, and answers when it is told to: with success, or not."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.back = asyncio.Event()
        self.answers = asyncio.Event()
        self.fails = False
        self.calls = 0
        self.stands = False
        """Whether the clock of the database stands: what is handed out anew has the time of the first time."""
        self._first: dict[str, int] = {}
        self.services = self.services.wrapped(router=lambda router: changed(router, give_back=self._give_back))

    async def claim(self, request: ClaimRequest, /) -> Work:
        work = await super().claim(request)
        for box in work.mail if self.stands else ():
            box.rows[:] = [replace(row, at=self._first.setdefault(row.delivery_id, row.at)) for row in box.rows]
        return work

    async def _give_back(self, *given: Any, **options: Any) -> int:
        self.calls += 1
        count = await self._store.services.router.give_back(*given, **options)
        self.back.set()
        await self.answers.wait()
        if self.fails:
            self.fails = False
            raise StorageUnavailableError("the answer was lost")
        return count


@pytest.fixture(autouse=True)
def returning(monkeypatch: pytest.MonkeyPatch) -> list[Returning]:
    """The stores of the apps opened from here on."""
    return wrap_stores(monkeypatch, Returning)


@pytest.mark.parametrize(
    ("answer", "clock"),
    [
        ("is late", "goes"),
        ("comes when all is over", "goes"),
        ("is lost", "goes"),
        ("is late", "stands"),
    ],
)
async def test_an_event_is_handed_out_anew(open_app: Open, returning: list[Returning], answer: str, clock: str) -> None:
    await open_app()
    store, other = returning[0], await open_app(worker=False)
    store.stands = clock == "stands"
    router, place = other._access.opened().services.router, address_of_key("paid", "k")
    handle = await other.start(changes_its_mind, "k")

    async def waits() -> bool:
        return bool(await router.interests(place))

    await until(waits)
    store.free.clear()
    await other.signal(handle.instance_id, "enough")
    await asyncio.wait_for(store.waits.wait(), SOON)
    await other.send(Paid, 7, key="k")  # the database still knows the first wait
    await router.dispatch([place])
    store.free.set()
    await asyncio.wait_for(store.back.wait(), SOON)
    await other.signal(handle.instance_id, "again")
    await until(waits)
    store.brought.clear()
    await router.dispatch([place])
    store.fails = answer == "is lost"
    if clock == "stands":
        await asyncio.wait_for(store.brought.wait(), SOON)
    if answer != "comes when all is over":
        store.answers.set()

    assert await handle.result(timeout=SOON) == 7
    store.answers.set()
    await until(lambda: store.calls == (2 if answer == "is lost" else 1))
