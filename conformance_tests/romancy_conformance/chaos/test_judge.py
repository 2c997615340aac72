"""The judge finds the waits that an ended instance has left, and excuses a subscription that the next sweep removes."""

from __future__ import annotations

import pytest

from romancy import Status
from romancy.core import Topic
from romancy.engine.topics import interest_of_subscription
from romancy.storage.backends import create_store
from romancy.storage.routing import Interest, InterestKind, Owner, address_of_key
from romancy_conformance.chaos import ledger
from romancy_conformance.chaos.judge import Judge
from romancy_conformance.contract.building import Actor, append, change

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb", "tidb", "vitess")]


@pytest.fixture
def anyio_backend() -> str:
    """Stores run on asyncio."""
    return "asyncio"


async def test_a_wait_is_found_and_a_subscription_is_swept(storage_url: str) -> None:
    store = create_store(storage_url)
    await store.open()
    await ledger.begin(store)
    actor = await Actor(store, workflows={"judged": "c1"}).register()
    begun = await actor.begin()
    wait = Interest(interest_id="paid:1", address=address_of_key("paid", "k"), kind=InterestKind.TAKE)
    for interest in (wait, interest_of_subscription(Topic("orders", kind="channel"), "competing")):
        await store.services.router.register(Owner(begun.instance_id, begun.life), interest)
    await actor.write(append(begun, 2, change=change(Status.COMPLETED)))

    findings = await Judge(store, {}, ()).judge({begun.instance_id: Status.COMPLETED})

    assert ["it has ended, and paid:1 is still registered"] == [each.text for each in findings if each.kind == "left"]
    await store.close()
