"""A claim that has failed, and is carried out afterwards: nobody tells the worker what it owns by it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, activity
from romancy.engine.worker import claims
from romancy.errors import StorageUnavailableError
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import ClaimRequest, Work
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

LONG = 60.0


@activity
async def late_step(number: int) -> int:
    return number


calls_late_step = calling(late_step)


class LateClaims(WrappedStore):
    """A store of which one claim fails, and waits on its way to the database. Later ones may have to wait as well."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.delays = False
        self.delayed: list[ClaimRequest] = []
        self.asked_for_own = False
        self.passing = asyncio.Event()
        self.passing.set()

    async def claim(self, request: ClaimRequest, /) -> Work:
        if self.delays and request.limit and not request.recover:
            self.delays = False
            self.delayed.append(request)
            raise StorageUnavailableError("no answer came")
        await self.passing.wait()
        work = await self._store.claim(request)
        self.asked_for_own = self.asked_for_own or (bool(self.delayed) and request.recover)
        return work

    async def carry_out(self) -> list[str]:
        """Carry the delayed claim out. Its answer goes nowhere."""
        work = await self._store.claim(self.delayed[0])
        return [claimed.instance_id for claimed in work.claimed]


async def test_what_a_late_claim_has_brought_goes_on(
    open_app: Open, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has asked for all that it owns, but before the database carried the claim out."""
    monkeypatch.setattr(claims, "_SWEEP_EVERY", 0.2)
    front = await open_app(worker=False)
    made = wrap_stores(monkeypatch, LateClaims)
    async with Romancy(storage_url, workflows=[calls_late_step]):
        (store,) = made
        store.delays = True
        one = await front.start(calls_late_step, 1)
        assert 1 == await one.result(timeout=LONG)
        await until(lambda: store.asked_for_own)

        store.passing.clear()
        two = await front.start(calls_late_step, 2)
        assert [two.instance_id] == await store.carry_out()
        store.passing.set()

        assert 2 == await two.result(timeout=LONG)
