"""A primary that is killed, and its replica that takes its place: apps with both hosts in their URL go on."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from romancy.core import TERMINAL, ActivityCompleted, WorkflowCompleted
from romancy.errors import StorageUnavailableError
from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.records import Outcome
from romancy_conformance.behaviour.faults.field import Field
from romancy_conformance.contract.building import start
from romancy_conformance.servers import Kind, ServerUnavailableError
from romancy_conformance.servers.plugin import do_without
from tests.backends.mysql.replicas import Replicas

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterable
    from pathlib import Path

    from romancy.storage.protocol import Store
    from romancy.storage.records import LogRow
    from romancy_conformance.servers.mysql import MySQLServer

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(300)]

COUNT, STEPS = 60, 4


@pytest.fixture(params=[Kind.MYSQL, Kind.MARIADB])
def replicas(request: pytest.FixtureRequest) -> Generator[Replicas]:
    try:
        both = Replicas(request.param)
    except ServerUnavailableError as error:
        do_without(request.param, error)
    yield both
    both.close()


@asynccontextmanager
async def opened(url: str, folder: Path) -> AsyncGenerator[Field]:
    field = Field(url, folder)
    await field.open()
    try:
        yield field
    finally:
        await field.close()


async def test_a_primary_killed_under_load_that_comes_back_beside_its_successor(
    replicas: Replicas, tmp_path: Path
) -> None:
    """The replica has every acknowledged commit: no step is lost, none is repeated without need."""
    url = await replicas.start(synchronous=True)
    async with opened(url, tmp_path) as field:
        workers = [await field.worker("--lease", "60") for _ in range(2)]
        first, later = ([f"{when}-{number}" for number in range(COUNT)] for when in ("first", "later"))
        await field.start(first, STEPS, 0.2)
        await field.begun(COUNT * STEPS // 2)
        await asyncio.to_thread(replicas.primary.kill)
        await replicas.promote()
        workers.append(await field.worker("--lease", "60"))
        await field.all_ended()
        assert all(worker.alive for worker in workers)
        await field.check(first, STEPS, interrupted=COUNT, by=[])
        assert {owner for one in first for owner in await field.owners(one)} <= {""}

        await asyncio.to_thread(replicas.primary.start)
        await _writes_to(replicas.replica, url)  # read_only in its configuration fences the other one
        await replicas.tell(replicas.primary, "set global read_only = 0")
        await field.start(later, STEPS, 0.2)
        await field.begun(_begun(field) + COUNT)
        await asyncio.to_thread(replicas.replica.kill)
        refused = await _refusal(field.store)
        await asyncio.to_thread(replicas.replica.start)
        await replicas.tell(replicas.replica, "set global read_only = 0")
        await field.all_ended()

        assert f"127.0.0.1:{replicas.primary.port}: it is behind 127.0.0.1:{replicas.replica.port}" in refused
        assert all(worker.alive for worker in workers)
        await field.check([*first, *later], STEPS, interrupted=2 * COUNT, by=[])
        lost = await _logs(replicas.url(url, replicas.primary), later)
        assert not any(lost.values()), "somebody has written to the lost primary"


async def test_what_an_asynchronous_replica_lacks_is_lost_whole_and_told(
    replicas: Replicas, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each log is a prefix of the lost one. Whoever knows more is refused the server, or told what is not there."""
    url = await replicas.start(synchronous=False)
    async with opened(url, tmp_path) as field:
        workers = [await field.worker("--lease", "60") for _ in range(2)]
        ids = [f"lost-{number}" for number in range(COUNT)]
        await field.start(ids, STEPS, 0.1)
        await field.begun(COUNT)
        await replicas.fall_behind()
        await field.begun(_begun(field) + 2 * COUNT)
        newest = create_store(url)
        await newest.open()
        await asyncio.to_thread(replicas.primary.kill)
        killed_at = await asyncio.to_thread(replicas.replica.access.fetch, _NOW)
        await replicas.promote()

        refused = await _refusal(newest)
        await newest.close()
        assert f"127.0.0.1:{replicas.replica.port}: it is behind 127.0.0.1:{replicas.primary.port}" in refused
        assert "If they are lost for good, start this process again" in refused

        await _told(capfd, "any more, which it had accepted", "it is behind")
        for worker in workers:
            worker.kill()
        workers = [await field.worker("--lease", "60") for _ in range(2)]
        await field.all_ended()
        await _complete_once(field, ids)

        await asyncio.to_thread(replicas.primary.start)
        former = await _logs(replicas.url(url, replicas.primary), ids)
        present = await _logs(replicas.url(url, replicas.replica), ids)
        assert sum(_cut_off(former[one], present[one], killed_at) for one in ids) > COUNT


_NOW = "select cast(unix_timestamp(utc_timestamp(6)) * 1000000 as signed)"


async def _told(capfd: pytest.CaptureFixture[str], *words: str) -> None:
    """Wait until a worker has logged one of these."""
    said = ""
    async with asyncio.timeout(60):
        while not any(one in said for one in words):
            await asyncio.sleep(0.1)
            said += capfd.readouterr().err


def _cut_off(former: list[LogRow], present: list[LogRow], at: int) -> int:
    """How many commits of the former log are lost. What the present one has of it comes first, and is whole."""
    common = 0
    for old, new in zip(former, present, strict=False):
        if old != new:
            break
        common += 1
    assert all(row.at > at for row in present[common:])
    assert [row.seq for row in present] == list(range(1, len(present) + 1))
    return len(former) - common


async def _complete_once(field: Field, ids: Iterable[str]) -> None:
    """Each instance has ended once, with every step once in its log and every row once in the table."""
    line = [f"{name}:{number + 1}" for number in range(STEPS) for name in ("faulty_step", "faulty_write")]
    for one in ids:
        log = await field.log(one)
        assert [type(event) for event in log if isinstance(event, TERMINAL)] == [WorkflowCompleted], one
        assert [event.id for event in log if isinstance(event, ActivityCompleted)] == line, one
    async with field.store.services.sessions.begin() as session:
        rows = await session.fetch_all("select instance, activity from effects")
    table = Counter((row["instance"], row["activity"]) for row in rows)
    assert table == Counter((one, id) for one in ids for id in line if id.startswith("faulty_write"))


async def _logs(url: str, ids: Iterable[str]) -> dict[str, list[LogRow]]:
    """The logs of these instances in one of the databases. Without a row, the list is empty."""
    store = create_store(url)
    await store.open()
    try:
        histories = {one: await store.read(one) for one in ids}
    finally:
        await store.close()
    return {one: [] if history is None else list(history.rows) for one, history in histories.items()}


async def _refusal(store: Store) -> str:
    """The error of an open store that reaches no server which it may use."""
    said = ""
    while "it is behind" not in said:  # connections that were lost are noticed first
        with pytest.raises(StorageUnavailableError) as caught:
            await store.commit([start()])
        said = str(caught.value)
    return said


def _begun(field: Field) -> int:
    return sum(entry.what == "begin" for entry in field.ledger.read())


async def _writes_to(server: MySQLServer, url: str) -> None:
    """A process that has seen nothing yet writes to this one."""
    anew, item = create_store(url), start(status=Status.COMPLETED, delay=None)
    await anew.open()
    try:
        assert await anew.commit([item]) == [Outcome.ACCEPTED]
    finally:
        await anew.close()
    assert len((await _logs(Replicas.url(url, server), [item.instance_id]))[item.instance_id]) == 1
