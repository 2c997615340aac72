"""A heartbeat of a dead worker that the database carries out late, when another worker bears its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, UsageError
from romancy.storage.records import Host, Worker
from romancy_conformance.behaviour.cast import returns
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

ELSEWHERE = Host(boot_id="another machine", pid_namespace="1", pid=1, pid_start=1)
ELDER = Worker(token="elder", worker_id="the-one", lease=60_000_000, host=ELSEWHERE)
LEASE = 1.5


async def _beats(store: Store) -> int:
    """Return how often the newcomer's heart has beaten."""
    census = await store.services.reading.census()
    return sum(peer.beat for peer in census.workers if peer.worker_id == "the-one" and peer.token != "elder")


async def test_the_last_heartbeat_of_a_dead_worker_makes_no_rival(store: Store, storage_url: str) -> None:
    """The newcomer has registered before the database carries it out."""
    await store.heartbeat(ELDER)
    async with Romancy(storage_url, workflows=[returns], worker_id="the-one", lease=LEASE) as newcomer:
        await store.heartbeat(ELDER)
        before = await _beats(store)

        async def has_looked_again() -> bool:
            return await _beats(store) > before + 1

        await until(has_looked_again)
        handle = await newcomer.start(returns, 1)
        assert 1 == await handle.result(timeout=60)


async def test_a_living_worker_of_that_name_is_a_rival(store: Store, storage_url: str) -> None:
    await store.heartbeat(ELDER)

    async def elder_beats_too() -> bool:
        await store.heartbeat(ELDER)
        census = await store.services.reading.census()
        return all(peer.dead for peer in census.workers if peer.worker_id == "the-one" and peer.token != "elder")

    async with Romancy(storage_url, workflows=[returns], worker_id="the-one", lease=LEASE) as newcomer:
        await until(elder_beats_too)
        with pytest.raises(UsageError, match="a worker with the id 'the-one' is already at work"):
            await newcomer.serve()
