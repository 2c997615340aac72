"""PostgreSQL under Patroni, with etcd and haproxy: the primary is killed, and Patroni promotes its standby."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest

from romancy_conformance.behaviour.faults.field import Field
from romancy_conformance.servers import ServerUnavailableError
from romancy_conformance.servers.patroni import PatroniCluster
from romancy_conformance.servers.plugin import do_without

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path

    from romancy_conformance.servers.patroni import Node

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]

COUNT, STEPS, WORKERS = 150, 4, 6
SEARCHES: Final = 6
"""The searches for a primary that a process makes in a second, at most. Each connects to each host once."""
POOL: Final = 11
"""The connections of one process: those of `pool_size`, and the one that listens."""
AFTER: Final = 5.0
"""The seconds after the promotion in which connections are counted."""


@pytest.fixture(scope="module")
def cluster() -> Generator[PatroniCluster]:
    try:
        made = PatroniCluster()
    except ServerUnavailableError as error:
        do_without("patroni", error)
    try:
        made.start()
        yield made
    finally:
        made.close()


@asynccontextmanager
async def opened(url: str, folder: Path) -> AsyncGenerator[Field]:
    field = Field(url, folder)
    await field.open()
    try:
        yield field
    finally:
        await field.close()


@pytest.mark.parametrize("way", ["haproxy", "hosts"])
async def test_a_primary_is_killed_under_load(cluster: PatroniCluster, tmp_path: Path, way: str) -> None:
    """With a synchronous standby nothing is lost, doubled or stuck. The one that comes back follows."""
    await asyncio.to_thread(cluster.until_synchronous)
    lost = cluster.primary
    name = f"drill_{way}"
    await asyncio.to_thread(lost.access.create_database, name)
    async with opened(cluster.url(name, haproxy=way == "haproxy"), tmp_path) as field:
        workers = [await field.worker("--lease", "60") for _ in range(WORKERS)]
        ids = [f"{way}-{number}" for number in range(COUNT)]
        await field.start(ids, STEPS, 0.3)
        await field.begun(COUNT * STEPS // 2)
        successor = cluster.other(lost)
        killed = time.time()
        await asyncio.to_thread(lost.kill)
        await asyncio.to_thread(cluster.until_primary, successor)
        promoted = time.time()
        await field.all_ended()
        ended = time.time()

        assert all(worker.alive for worker in workers)
        in_vain = await field.check(ids, STEPS, interrupted=COUNT, by=[])
        assert {owner for one in ids for owner in await field.owners(one)} <= {""}
    made = connections(successor, name)
    during, after = between(made, killed, promoted), between(made, promoted, promoted + AFTER)
    print(
        f"\n{way}: promoted after {promoted - killed:.1f} s, all ended {ended - promoted:.1f} s later, "
        f"{in_vain} attempts in vain, connections: {during} before and {after} in the {AFTER:g} s after the promotion, "
        f"at most {most_in_a_second(made, killed)} in a second, of {WORKERS} workers"
    )
    assert after <= (WORKERS + 2) * POOL
    assert during <= (WORKERS + 2) * SEARCHES * (promoted - killed)
    await asyncio.to_thread(cluster.start_node, lost)
    await asyncio.to_thread(cluster.until_synchronous)
    assert cluster.primary is successor


def connections(node: Node, database: str) -> list[float]:
    """When connections to this database were made, by the node's log."""
    line = re.compile(rf"(\d+\.\d+) LOG:  connection authorized: user=\w+ database={database}\b")
    return [float(found[1]) for found in line.finditer(node.log.read_text(encoding="utf-8", errors="replace"))]


def between(times: list[float], since: float, until: float) -> int:
    return sum(since <= one < until for one in times)


def most_in_a_second(times: list[float], since: float) -> int:
    return max((between(times, one, one + 1) for one in times if one >= since), default=0)
