"""Asking which ids have instances: byte for byte, of open and ended ones, all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.any_store import taken_ids_of
from romancy.storage.records import PruneRequest
from romancy.storage.services import Service
from romancy_conformance.contract.building import start, unique
from romancy_conformance.contract.interleaving import statements
from romancy_conformance.services import services_with

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio


async def test_open_and_ended_instances_take_their_ids(store: Store) -> None:
    base = unique("é'\\%")
    taken = [f"{base}open", f"{base}ended", f"{base}gone", f"{base}Case", f"{base}e\u0301"]
    items = [
        start(one, status=Status.COMPLETED if one.endswith(("ended", "gone")) else Status.PENDING) for one in taken
    ]
    assert {"accepted"} == set(await store.commit(items))
    assert 1 == await store.services.upkeep.prune(PruneRequest(instance_ids=(f"{base}gone",)))
    taken.remove(f"{base}gone")

    free = [f"{base}gone", f"{base}case", f"{base}é", f"{base}", f"{base}open ", f"{base}%", unique("never")]
    assert set(taken) == await taken_ids_of(store, [*free, *taken])
    assert set() == await taken_ids_of(store, free)


@pytest.mark.parametrize("count", [1, 1000])
async def test_all_are_one_statement(store: Store, count: int) -> None:
    services_with(Service.LOOKUPS, store)
    known = unique("known")
    await store.commit([start(known)])
    ids = [known, *(unique("free") for _ in range(count - 1))]

    assert [] == await statements(store, taken_ids_of(store, []))
    sent = await statements(store, taken_ids_of(store, ids))

    assert {known} == await taken_ids_of(store, ids)
    assert 1 == sum("taken_ids" in one for one in sent), sent
