"""Databases that die and come back, and connections cut at the worst moment: workers wait, nothing is done twice."""

from __future__ import annotations

import asyncio
import os
import random
import re
from typing import TYPE_CHECKING

import pytest

from romancy_conformance.behaviour.faults.field import Field
from romancy_conformance.servers.proxy import Direction, Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from romancy_conformance.servers import Server
    from romancy_conformance.servers.proxy import Proxy, Trigger

pytestmark = pytest.mark.anyio

_ENDS_WITH_COMMIT = re.compile(rb"commit\s*;?\s*\0?$", re.IGNORECASE)
SOAK = bool(os.environ.get("ROMANCY_SOAK"))


def on_commit(proxy: Proxy, fault: Fault) -> Trigger:
    """Strike at the next request that ends in COMMIT; the whole transaction may be in it."""
    return proxy.when(
        lambda direction, data: direction is Direction.TO_SERVER and _ENDS_WITH_COMMIT.search(data) is not None, fault
    )


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_a_server_killed_under_load(server: Server, tmp_path: Path) -> None:
    deaths, count, steps = (10, 400, 4) if SOAK else (2, 40, 3)
    field = Field(server.fresh_database(), tmp_path)
    await field.open()
    try:
        workers = [await field.worker("--lease", "10") for _ in range(2)]
        ids = [f"load-{number}" for number in range(count)]
        await field.start(ids, steps, 0.3)
        before = [worker.memory() for worker in workers]
        for death in range(deaths):
            await field.begun((death + 1) * count // 2)
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(server.start)
        await field.all_ended()

        assert all(worker.alive for worker in workers)
        # What a session or an attempt lost by a death was made again, completed ones never.
        await field.check(ids, steps, interrupted=deaths * count)
        assert max(after - was for after, was in zip([w.memory() for w in workers], before, strict=True)) < 50 << 20
    finally:
        await field.close()


@pytest.mark.backends("postgres", "mysql", "mariadb")
@pytest.mark.parametrize("fault", [Fault.CUT, Fault.CUT_ANSWER], ids=["before the commit", "before its answer"])
async def test_connections_cut_around_a_commit(field: Field, fault: Fault, proxy_for: Callable[[str], Proxy]) -> None:
    proxy = proxy_for(field.url)
    worker = await field.worker(url=proxy.url(field.url))
    ids = [f"cut-{number}" for number in range(10)]
    triggers = [on_commit(proxy, fault)]
    await field.start(ids, 3, 0.05)
    for _ in range(4):
        await asyncio.to_thread(triggers[-1].wait, 20)
        triggers.append(on_commit(proxy, fault))
        await asyncio.sleep(0.02)
        if not (await field.app.list_instances(status=["pending", "running", "waiting"], limit=1)).instances:
            break
    await field.all_ended()

    assert worker.alive
    assert triggers[0].struck.is_set()
    await field.check(ids, 3, interrupted=50)


@pytest.mark.backends("postgres", "mysql", "mariadb")
async def test_every_connection_cut_again_and_again(field: Field, proxy_for: Callable[[str], Proxy]) -> None:
    proxy = proxy_for(field.url)
    workers = [await field.worker(url=proxy.url(field.url)) for _ in range(2)]
    ids = [f"line-{number}" for number in range(40)]
    await field.start(ids, 3, 0.1)
    chance = random.Random(11)
    for _ in range(10):
        await asyncio.sleep(chance.uniform(0.05, 0.25))
        proxy.cut()
    await field.all_ended()

    assert all(worker.alive for worker in workers)
    await field.check(ids, 3, interrupted=10 * len(ids))


async def test_an_app_closes_though_its_database_is_gone(server: Server, tmp_path: Path) -> None:
    url = server.fresh_database()
    field = Field(url, tmp_path)
    await field.open()
    worker = await field.worker()
    await field.start(["open"], 1, 5.0)
    await field.begun(1)
    await asyncio.to_thread(server.kill)
    try:
        assert await worker.stopped() == 0
    finally:
        await asyncio.to_thread(server.start)
    await field.worker()
    await field.all_ended()
    await field.check(["open"], 1, interrupted=1)
    await field.close()
