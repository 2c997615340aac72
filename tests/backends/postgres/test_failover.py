"""A primary that is killed, and its standby that takes its place: apps with both hosts in their URL go on."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.errors import StorageUnavailableError
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.faults.field import Field
from romancy_conformance.servers import private_server
from romancy_conformance.servers.postgres import PostgresServer
from tests.backends.postgres.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(300)]

COUNT, STEPS = 60, 4


@workflow
async def seven(ctx: WorkflowContext) -> int:
    return 7


@pytest.fixture
async def cluster(postgres_server: PostgresServer) -> AsyncGenerator[Cluster]:
    standby = private_server("postgres")
    assert isinstance(standby, PostgresServer)
    yield Cluster(postgres_server, standby)
    standby.close()


async def test_the_primary_is_found_behind_a_dead_host_and_a_standby(cluster: Cluster) -> None:
    url = await cluster.start()
    standby_first = cluster.url(url, cluster.standby, cluster.primary)

    for one in (url, standby_first, f"{standby_first}?target_session_attrs=read-write"):
        async with Romancy(one, workflows=[seven]) as app:
            assert await (await app.start(seven)).result() == 7


async def test_the_error_names_every_host_and_why(cluster: Cluster) -> None:
    url = await cluster.start()
    cluster.primary.kill()

    with pytest.raises(StorageUnavailableError) as caught:
        await create_store(url).open()

    assert f"(1) 127.0.0.1:{cluster.primary.port}: [Errno 111]" in str(caught.value)
    assert f"(2) 127.0.0.1:{cluster.standby.port}: it is a standby" in str(caught.value)
    assert cluster.primary.access.password not in str(caught.value)


async def test_a_primary_killed_under_load(cluster: Cluster, tmp_path: Path) -> None:
    """The standby has every acknowledged commit: no step is lost, none is repeated without need."""
    field = Field(await cluster.start(), tmp_path)
    await field.open()
    try:
        workers = [await field.worker("--lease", "60") for _ in range(3)]
        ids = [f"load-{number}" for number in range(COUNT)]
        await field.start(ids, STEPS, 0.3)
        await field.begun(COUNT * STEPS // 2)
        await asyncio.to_thread(cluster.primary.kill)
        await asyncio.sleep(1)
        await cluster.promote()
        late = await field.worker("--lease", "60")
        await field.all_ended()

        assert all(worker.alive for worker in (*workers, late))
        await field.check(ids, STEPS, interrupted=COUNT, by=[])
        assert {owner for one in ids for owner in await field.owners(one)} <= {""}
    finally:
        await field.close()


async def test_an_app_that_starts_while_the_primary_is_away(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = await cluster.start()
    field = Field(url, tmp_path)
    await field.open()
    try:
        ids = [f"late-{number}" for number in range(10)]
        await field.start(ids, 2, 0.05)
        await asyncio.to_thread(cluster.primary.kill)
        with caplog.at_level(logging.WARNING, "romancy.engine"):
            starting = asyncio.create_task(field.worker())
            waiting = asyncio.create_task(_opened(url))
            async with asyncio.timeout(30):
                while "is a standby" not in caplog.text:  # noqa: ASYNC110 - a log line is awaited
                    await asyncio.sleep(0.05)
            assert not starting.done()
            await cluster.promote()
            await asyncio.gather(starting, waiting)
        await field.all_ended()

        await field.check(ids, 2, interrupted=0, by=[])
    finally:
        await field.close()


async def _opened(url: str) -> None:
    async with Romancy(url, workflows=[], lease=5):
        pass
