"""A network that is slow, and never equally slow: work takes longer by its round trips, and nothing else happens.

A worker keeps its lease as long as a renewal takes less than a third of it: no worker takes over, nothing begins twice.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from romancy_conformance.behaviour.faults.field import Field
    from romancy_conformance.proxy import Proxy

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

COUNT = 5
ROUND_TRIPS = 60
"""More than a line of two steps with sessions needs, with the connections that are opened for it."""


@dataclass(frozen=True)
class Slowness:
    """The average delay in one direction."""

    delay: float
    lease: float
    steps: int
    seconds: float
    """The duration of each activity, so that a line outlasts the lease."""


SLOW = {
    "50 ms": Slowness(0.05, lease=2.0, steps=2, seconds=0.8),
    "500 ms": Slowness(0.5, lease=9.0, steps=1, seconds=4.0),
}


@pytest.fixture
def network(backend: str, has_server: Callable[[str], bool]) -> None:
    """Skip where there is no network."""
    if not has_server(backend):
        pytest.skip("capability: there is no network between a worker and its database")


@asynccontextmanager
async def unsteady(proxy: Proxy, delay: float) -> AsyncGenerator[None]:
    """Delay everything, by half more or less."""
    chance = random.Random(17)

    async def change() -> None:
        while True:
            proxy.delay = chance.uniform(0.5, 1.5) * delay
            await asyncio.sleep(0.02)

    changing = asyncio.create_task(change())
    try:
        yield
    finally:
        changing.cancel()
        proxy.delay = 0.0


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW.keys())
async def test_a_slow_network_costs_time_and_nothing_else(
    field: Field, slow: Slowness, proxy_for: Callable[[str], Proxy], capsys: pytest.CaptureFixture[str]
) -> None:
    proxy = proxy_for(field.url)
    lease = ("--lease", str(slow.lease))
    far = await field.worker(*lease, "--elsewhere", url=proxy.url(field.url))
    ids = [f"slow-{number}" for number in range(COUNT)]
    async with unsteady(proxy, slow.delay):
        begun = time.monotonic()
        await field.start(ids, slow.steps, slow.seconds)
        await field.begun(COUNT)
        near = await field.worker(*lease)  # it would take over whatever the far one released
        await field.all_ended()
        took = time.monotonic() - begun

    with capsys.disabled():
        print(f"\n{field.url.partition(':')[0]}: {slow.delay * 1000:g} ms each way: {took:.1f} s")
    assert far.alive
    assert near.alive
    assert took > slow.lease
    assert took < 2 * slow.steps * slow.seconds + ROUND_TRIPS * 2 * slow.delay + 10
    assert sum(entry.what == "begin" for entry in field.ledger.read()) == COUNT * slow.steps * 2
    assert await field.check(ids, slow.steps, interrupted=0) == 0
    assert {owner for id in ids for owner in await field.owners(id)} <= {""}
