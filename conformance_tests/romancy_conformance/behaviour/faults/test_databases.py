"""Databases that die and come back, and connections cut at the worst moment: workers wait, nothing is done twice."""

from __future__ import annotations

import asyncio
import os
import random
import re
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from romancy_conformance.behaviour.faults.field import Field
from romancy_conformance.process_control import freeze, thaw
from romancy_conformance.proxy import Direction, Fault

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from romancy_conformance.proxy import Proxy, Trigger
    from romancy_conformance.servers import Server

pytestmark = pytest.mark.anyio

_ENDS_WITH_COMMIT = re.compile(rb"commit\s*;?\s*(set autocommit = 1)?\s*\0?$", re.IGNORECASE)
LEASE = 6.0
"""A machine that stands still for less makes no worker look dead."""
SOAK = bool(os.environ.get("ROMANCY_SOAK"))


def on_commit(proxy: Proxy, fault: Fault) -> Trigger:
    """Apply the fault to the next request that ends in COMMIT; the request may contain the whole transaction."""
    return proxy.when(
        lambda direction, data: direction is Direction.TO_SERVER and _ENDS_WITH_COMMIT.search(data) is not None, fault
    )


@pytest.mark.soak
@pytest.mark.timeout(900 if SOAK else 300)
async def test_a_server_killed_under_load(server: Server, tmp_path: Path) -> None:
    """The server is down for less than any lease: an attempt is lost only with its session."""
    deaths, count, steps = (10, 400, 4) if SOAK else (2, 40, 3)
    field = Field(server.fresh_database(), tmp_path)
    await field.open()
    try:
        workers = [await field.worker("--lease", "90") for _ in range(2)]
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
        await field.check(ids, steps, interrupted=deaths * count, by=[])
        assert {owner for one in ids for owner in await field.owners(one)} <= {""}
        assert max(after - was for after, was in zip([w.memory() for w in workers], before, strict=True)) < 50 << 20
    finally:
        await field.close()


async def outlive(field: Field, away: Callable[[], AbstractAsyncContextManager[None]]) -> None:
    """D1: when the database is back, every heartbeat is old, and no living worker may be declared dead.

    The first worker to come back was the last to look at the others, and these come back only after its next heartbeat.
    A worker that is stopped while it holds a file blocks all others, so on a file they all come back at once.
    """
    options = ["--lease", str(LEASE), "--elsewhere", "--slots", "5"]
    *late, first = [await field.worker(*options) for _ in range(8 if SOAK else 3)]
    await field.acquainted([*late, first])
    ids = [f"outlived-{number}" for number in range(200 if SOAK else 30)]
    await field.start(ids, 2, 0.5)
    await field.begun(len(ids))
    living = (await field.peers()).keys()
    await field.beaten(first)
    await asyncio.sleep(0.2)  # it has its answer
    async with away():
        await asyncio.sleep(LEASE + 2)
        frozen = [] if field.store.capabilities.embedded else late
        for worker in frozen:
            freeze(worker.process)
    await field.beaten(first)
    for worker in frozen:
        thaw(worker.process)
    await field.all_ended()

    assert first.alive
    assert all(worker.alive for worker in late)
    assert living == (await field.peers()).keys()  # nobody was declared dead
    assert {owner for one in ids for owner in await field.owners(one)} <= {""}
    await field.check(
        ids, 2, interrupted=len(ids), by=[*late, first]
    )  # running attempts stopped with the lease, and began again


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_a_server_that_is_down_for_longer_than_the_leases(server: Server, tmp_path: Path) -> None:
    @asynccontextmanager
    async def away() -> AsyncGenerator[None]:
        await asyncio.to_thread(server.kill)
        yield
        await asyncio.to_thread(server.start)

    field = Field(server.fresh_database(), tmp_path)
    await field.open()
    try:
        await outlive(field, away)
    finally:
        await field.close()


@pytest.mark.soak
@pytest.mark.backends("sqlite")
async def test_a_file_that_is_held_for_longer_than_the_leases(field: Field) -> None:
    @asynccontextmanager
    async def away() -> AsyncGenerator[None]:
        with closing(sqlite3.connect(urlsplit(field.url).path[1:], isolation_level=None, timeout=60)) as holder:
            holder.execute("begin exclusive")
            yield

    await outlive(field, away)


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
    # Whichever commit was cut, each trigger that applied cut one, of ten sessions at most.
    struck = sum(trigger.struck.is_set() for trigger in triggers)
    await field.check(ids, 3, interrupted=struck * len(ids), by=[])


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
    await field.check(ids, 3, interrupted=10 * len(ids), by=[])


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
    await field.check(["open"], 1, interrupted=1, by=[worker])
    await field.close()
