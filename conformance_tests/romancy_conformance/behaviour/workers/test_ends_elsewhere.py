"""A worker that hears that an instance has ended asks the database for nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, activity
from romancy.engine.worker import claims
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores

if TYPE_CHECKING:
    from romancy.storage.records import ClaimRequest, Work

pytestmark = pytest.mark.anyio

gates: list[asyncio.Event] = []


@activity
async def passes_gate(number: int) -> int:
    await gates[number].wait()
    return number


calls_passes_gate = calling(passes_gate)


class CountedClaims(WrappedStore):
    count = 0

    async def claim(self, request: ClaimRequest) -> Work:
        self.count += 1
        return await self._store.claim(request)


@pytest.mark.backends("postgres")
async def test_an_idle_worker_does_not_claim_when_another_one_ends_instances(
    storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_IN_VAIN", 0.0)  # a worker that heard of work would ask at once, each time
    gates[:] = [asyncio.Event() for _ in range(10)]
    stores = wrap_stores(monkeypatch, CountedClaims)
    options: dict[str, Any] = {"workflows": [calls_passes_gate]}
    async with Romancy(storage_url, **options) as idle, Romancy(storage_url, **options) as busy:
        handles = [await busy.start(calls_passes_gate, number) for number in range(len(gates))]
        before = await _quiet(stores[0])
        for gate, handle in zip(gates, handles, strict=True):
            heard = asyncio.create_task(idle.handle(handle.instance_id).result())
            gate.set()
            await heard

        assert stores[0].count - before <= 1  # the sweep of each half minute


async def _quiet(store: CountedClaims) -> int:
    """The number of claims, once no further one was made for a moment."""
    count = -1
    while count != store.count:
        count = store.count
        await asyncio.sleep(0.3)
    return count
