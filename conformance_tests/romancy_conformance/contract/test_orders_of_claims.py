"""What a claim takes first, an index has first: no claim reads and sorts everything that is due.

The plans are those of the statements that the adapter sends. Whoever adds a column to the order of a claim needs an
index that has it, or many due instances make every claim slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.storage.backends import create_store
from romancy_conformance.contract.building import Actor, start, unique
from romancy_conformance.contract.plans import watch_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.plans import Watch

pytestmark = pytest.mark.anyio


@pytest.fixture
def watch(storage_url: str) -> Watch:
    watch = watch_for(storage_url)
    watch.sorts_in_need = True
    return watch


@pytest.fixture
async def watched(storage_url: str, watch: Watch) -> AsyncIterator[Store]:
    """A store whose statements are heard."""
    with watch.on():
        store = create_store(storage_url)
        await store.open()
        yield store
        await store.close()


async def test_a_claim_reads_what_is_due_in_the_order_of_an_index(watched: Store, watch: Watch) -> None:
    worker = await Actor(watched, workflows={unique("flow"): "c1", unique("flow"): "c2"}).register()
    items = [start(workflow_name=name) for name in worker.workflows for _ in range(3)]
    assert {"accepted"} == set(await watched.commit(items))

    orders = await watch.orders(watched, worker.claim(limit=4))

    assert not orders.sorts, "no index has the order of:\n" + "\n\n".join(orders.sorts)
    assert orders.in_order, "no statement reads what is due from an index"
