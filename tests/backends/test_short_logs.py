"""The contract leaves it open, but all adapters of this tree return a short log with the claim."""

from __future__ import annotations

import pytest

from romancy.storage.backends import create_store
from romancy_conformance.contract.building import Actor, append, change, unique

pytestmark = [pytest.mark.anyio, pytest.mark.backends("memory", "sqlite", "postgres", "mysql", "mariadb")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_short_log_comes_along(storage_url: str) -> None:
    store = create_store(storage_url)
    await store.open()
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    begun = await actor.begin(body=b"[1]")
    await actor.write(append(begun, 2, b"[2]", change=change(release=True, wake_at=0)))

    (claimed,) = await actor.claim()
    await store.close()

    assert claimed.log == (b"[1]", b"[2]")
