"""A primary that is killed, and its standby that takes its place: apps with both hosts in their URL go on."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import asyncpg
import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.errors import StorageUnavailableError
from romancy.storage.backends import create_store
from romancy.storage.records import Outcome
from romancy_conformance.behaviour.faults.field import Field
from romancy_conformance.contract.building import start
from romancy_conformance.servers import private_server
from romancy_conformance.servers.postgres import PostgresServer
from romancy_postgres._lineage import Lineage
from tests.backends.postgres.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from romancy.storage.protocol import Store

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
        await asyncio.sleep(1)  # as long as the outage lasts: the workers try both hosts in vain
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


async def test_a_lost_primary_that_comes_back_is_refused(cluster: Cluster) -> None:
    """The lost one still takes writes. Whoever has seen the new one does not go back."""
    url = await cluster.start()
    store = create_store(url)
    await store.open()
    try:
        await asyncio.to_thread(cluster.primary.kill)
        await cluster.promote()
        await _committed(store)
        await asyncio.to_thread(cluster.standby.kill)
        await asyncio.to_thread(cluster.primary.start)

        refusals: list[str] = []
        for _ in range(3):  # connections that were lost are noticed first
            with pytest.raises(StorageUnavailableError) as caught:
                await _committed(store, tries=1)
            refusals.append(str(caught.value))
        assert re.search(r"behind the newest server.*timeline 1 after .*timeline 2", refusals[-1])

        await asyncio.to_thread(cluster.standby.start)
        await _committed(store)
    finally:
        await store.close()


async def test_a_new_timeline_ends_the_connections_to_the_older_one(cluster: Cluster) -> None:
    await cluster.start()
    lineage = Lineage()
    old = await _plain(cluster.primary)
    await lineage.admit(old, "old")
    await cluster.promote()
    new = await _plain(cluster.standby)

    await lineage.admit(new, "new")

    assert (old.is_closed(), new.is_closed()) == (True, False)
    late = await _plain(cluster.primary)
    with pytest.raises(StorageUnavailableError, match="late: it is behind"):
        await lineage.admit(late, "late")
    await late.close()
    await new.close()


async def test_a_server_that_does_not_tell_its_timeline_is_used(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    url = await cluster.start()
    for statement in ("create role app login password 'secret'", "grant create, usage on schema public to app"):
        await asyncio.to_thread(cluster.primary.access.fetch, statement, database=url.rpartition("/")[2])
    hidden = "revoke execute on function pg_control_system() from public"
    await asyncio.to_thread(cluster.primary.access.fetch, hidden, database=url.rpartition("/")[2])
    parts = urlsplit(url)
    plain = parts._replace(netloc=f"app:secret@{parts.netloc.rpartition('@')[2]}").geturl()

    async with Romancy(plain, workflows=[seven]) as app:
        assert await (await app.start(seven)).result() == 7

    assert caplog.text.count("does not tell its timeline") == 1


async def _committed(store: Store, tries: int = 20) -> None:
    """Write something, although connections to a lost server are still in the pool."""
    for left in range(tries, 0, -1):
        try:
            assert await store.commit([start()]) == [Outcome.ACCEPTED]
            return
        except StorageUnavailableError:
            if left == 1:
                raise


async def _plain(server: PostgresServer) -> asyncpg.Connection:
    return await asyncpg.connect(server.url("postgres"))


class Answering:
    """A connection to a server at this position, which answers when it is told to."""

    def __init__(
        self, timeline: int, written: int, *, cluster: int = 1, error: asyncpg.PostgresError | None = None
    ) -> None:
        self._error = error
        self._row = (cluster, f"{timeline:08X}0000000000000001", written)
        self.open = asyncio.Event()

    async def fetch(self, *_: object, **__: object) -> list[object]:
        await self.open.wait()
        if self._error is not None:
            raise self._error
        return [self._row]


async def test_an_answer_that_is_overtaken_by_a_later_one_is_not_behind() -> None:
    lineage = Lineage()
    first, early, later, behind = (Answering(1, written) for written in (50, 100, 200, 150))
    for one in (first, later, behind):
        one.open.set()
    await lineage.admit(cast("asyncpg.Connection", first), "first")
    admitted = asyncio.create_task(lineage.admit(cast("asyncpg.Connection", early), "early"))
    await asyncio.sleep(0)
    await lineage.admit(cast("asyncpg.Connection", later), "later")

    early.open.set()
    await admitted

    with pytest.raises(StorageUnavailableError, match="position 150 of timeline 1 after position 200 of timeline 1"):
        await lineage.admit(cast("asyncpg.Connection", behind), "behind")


async def test_a_server_that_is_lost_while_it_is_asked_is_not_admitted() -> None:
    """It did not say that it does not tell its timeline: it said nothing."""
    lost = Answering(1, 100, error=asyncpg.ConnectionDoesNotExistError("connection was closed in the middle"))
    lost.open.set()

    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await Lineage().admit(cast("asyncpg.Connection", lost), "lost")


async def test_a_server_that_has_become_a_standby_is_not_admitted() -> None:
    standby = Answering(1, 100, error=asyncpg.ObjectNotInPrerequisiteStateError("recovery is in progress"))
    standby.open.set()

    with pytest.raises(StorageUnavailableError, match="one: it is a standby now"):
        await Lineage().admit(cast("asyncpg.Connection", standby), "one")


async def test_another_cluster_is_refused() -> None:
    lineage = Lineage()
    one, other = Answering(1, 100), Answering(1, 200, cluster=2)
    for each in (one, other):
        each.open.set()
    await lineage.admit(cast("asyncpg.Connection", one), "one")

    with pytest.raises(
        StorageUnavailableError, match=r"another cluster .*identifier 2\) than the server before it \(1\)"
    ):
        await lineage.admit(cast("asyncpg.Connection", other), "other")
