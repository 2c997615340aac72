"""Many workers at once: killed at random, killed all together, and how they share what there is to do."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from romancy_conformance.behaviour.faults.account import in_flight, left_behind

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy_conformance.behaviour.faults.field import Field, Process
    from romancy_conformance.proxy import Proxy

pytestmark = pytest.mark.anyio

AT_ONCE = 20.0
"""Seconds until another worker looks, on a machine busy with something else."""
POOL = 5
BESIDE = 4
"""Connections of PostgreSQL beside its pool: for heartbeats, for listening, and up to two for searches."""
SOAK = bool(os.environ.get("ROMANCY_SOAK"))


@pytest.mark.soak
@pytest.mark.timeout(3600 if SOAK else 300)
async def test_every_worker_killed_at_once_with_many_instances(
    field: Field, proxy_for: Callable[[str], Proxy], capsys: pytest.CaptureFixture[str]
) -> None:
    """F32: their successors take everything over, each instance once, within their limit of connections."""
    count = 10_000 if SOAK else 120
    ids = [f"herd-{number:05}" for number in range(count)]
    lost = [await field.worker("--lease", "600") for _ in range(3)]
    await field.start(ids, 2, 0.5)
    await field.begun(min(count, 3_000))
    for one in lost:
        one.kill()
    killed = await field.now()
    proxy = None if field.store.capabilities.embedded else proxy_for(field.url)
    mark = "&" if "?" in field.url else "?"
    url = field.url if proxy is None else f"{proxy.url(field.url)}{mark}pool_size={POOL}"
    await asyncio.gather(*(field.worker("--lease", "600", url=url) for _ in range(3)))
    await field.all_ended(600)

    taken = [await field.taken_over(one) for one in ids]
    slowest = (max(at for times in taken for at in times) - killed) / 1_000_000
    left = left_behind(field.ledger.read(), {one.pid for one in lost})
    await field.check(ids, 2, interrupted=len(left), by=lost)
    with capsys.disabled():
        print(
            f"\n{field.url.partition(':')[0]}: {sum(map(len, taken))} of {count} instances taken over within "
            f"{slowest:.1f} s, {0 if proxy is None else proxy.most} connections at most"
        )
    assert {1} >= {len(times) for times in taken if times}
    assert slowest < (60 if SOAK else AT_ONCE)
    assert proxy is None or 3 < proxy.most <= 3 * (POOL + BESIDE)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_the_work_is_spread_over_those_who_live(field: Field) -> None:
    """Slots limit the workers here. Without a limit, one worker may do all of the short work alone."""
    workers, each = (8, 60) if SOAK else (3, 16)
    alive = await asyncio.gather(*(field.worker("--slots", "4", "--lease", "6") for _ in range(workers)))
    await field.acquainted(alive)
    ids = [f"spread-{number:04}" for number in range(workers * each)]
    await field.start(ids, 1, 0.2)
    await field.all_ended()

    ended = Counter(entry.pid for entry in field.ledger.read() if entry.what == "end")
    shares = sorted(ended[worker.pid] for worker in alive)
    print(f"shares: {shares}")
    assert shares[0] >= 0.4 * sum(shares) / workers
    await field.check(ids, 1, interrupted=0, by=alive)


@pytest.mark.soak
@pytest.mark.timeout(3600 if SOAK else 300)
async def test_many_workers_with_random_kills(field: Field, capsys: pytest.CaptureFixture[str]) -> None:
    workers, count, most_kills = (8, 5_000, 200) if SOAK else (3, 120, 4)
    ids = [f"many-{number:04}" for number in range(count)]
    alive = [await field.worker() for _ in range(workers)]
    killed: list[Process] = []
    seed = random.randrange(1 << 32)
    chance, begun = random.Random(seed), time.monotonic()
    await field.start(ids, 2, 0.2)
    await field.begun(count)
    ended = asyncio.create_task(field.all_ended(3000))
    while not ended.done() and len(killed) < most_kills:
        # The first to die is the busiest: where work passes quickly, one may have nearly all of it.
        busy = in_flight(field.ledger.read())
        victim = chance.choice(alive) if killed else max(alive, key=lambda process: busy[process.pid])
        victim.kill()
        alive.remove(victim)
        killed.append(victim)
        alive.append(await field.worker())
        await asyncio.wait({ended}, timeout=chance.uniform(0.2, 1.0))
    await ended

    took, entries = time.monotonic() - begun, field.ledger.read()
    left = left_behind(entries, {process.pid for process in killed})
    again = await field.check(ids, 2, interrupted=len(left), by=killed)
    with capsys.disabled():
        print(
            f"\n{field.url.partition(':')[0]}, seed {seed}: {count} workflows, {workers} workers, {len(killed)} kills "
            f"in {took:.1f} s: every one ended once, transactional effects once each, {len(left)} attempts were "
            f"interrupted, {again} at their very end; {len({entry.pid for entry in entries})} processes had a share"
        )
    assert all(worker.alive for worker in alive)
    assert left
