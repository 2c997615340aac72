"""What a plain step costs the network and the log: round trips, bytes on the wire and bytes stored, all counted.

The slope between two lengths of one workflow excludes its start and its end. A heartbeat, a claim or a sweep may fall
into a run, so it is enough if one of a few slopes is within the bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from romancy import Romancy
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.cast import adds_up
from romancy_conformance.proxy import Direction, Fault, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.anyio, pytest.mark.long]

FEW, MANY = 50, 250
ROUNDS = 3
ROUND_TRIPS = 1.2
"""One, and what a worker does from time to time."""
WIRE = 520
"""Bytes in both directions."""
STORED = 190
"""Bytes of the log: the end of a step and the beginning of the next one, as they are written."""


class Traffic:
    """Counts what passes a proxy, and lets it pass."""

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = 0

    def sees(self, direction: Direction, data: bytes) -> bool:
        self.requests += direction is Direction.TO_SERVER
        self.bytes += len(data)
        return False


@pytest.fixture
def network(backend: str, has_server: Callable[[str], bool]) -> None:
    """Skip where there is no network."""
    if not has_server(backend):
        pytest.skip("capability: there is no network between a worker and its database")


@pytest.mark.backends("postgres", "mysql", "mariadb")
@pytest.mark.usefixtures("network")
async def test_a_step_is_one_round_trip(storage_url: str) -> None:
    parts = urlsplit(storage_url)
    traffic = Traffic()
    with Proxy(parts.hostname or "", parts.port or 0) as proxy:
        proxy.when(traffic.sees, Fault.CUT)
        async with Romancy(proxy.url(storage_url), workflows=[adds_up]) as app:

            async def of(steps: int) -> tuple[int, int]:
                before = traffic.requests, traffic.bytes
                assert await app.run(adds_up, steps) == sum(range(steps))
                return traffic.requests - before[0], traffic.bytes - before[1]

            await of(FEW)  # one-time work is done here
            slopes: list[tuple[float, float]] = []
            for _ in range(ROUNDS):
                (fewer, less), (more, heavier) = await of(FEW), await of(MANY)
                slopes.append(((more - fewer) / (MANY - FEW), (heavier - less) / (MANY - FEW)))
            print(f"round trips and bytes of a step: {slopes}")

    assert 0.9 <= min(trips for trips, _ in slopes) <= ROUND_TRIPS
    assert min(weight for _, weight in slopes) <= WIRE


@pytest.mark.backends("sqlite")
async def test_the_log_of_a_step(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[adds_up]) as app:
        few, many = [await app.start(adds_up, steps) for steps in (FEW, MANY)]
        await few.result()
        await many.result()
        weights = [await log_bytes(storage_url, handle.instance_id) for handle in (few, many)]
    each = (weights[1] - weights[0]) / (MANY - FEW)
    print(f"bytes of a step in the log: {each}")

    assert each <= STORED


async def log_bytes(url: str, instance_id: str) -> int:
    """Return the size of a log."""
    store = create_store(url)
    await store.open()
    try:
        size, seq, more = 0, 0, True
        while more:
            page = await store.read(instance_id, after=seq)
            assert page is not None
            size += sum(len(row.body) for row in page.rows)
            seq, more = page.rows[-1].seq, page.more
        return size
    finally:
        await store.close()
