"""A database that is a file: its disk fills up, or a process is stopped while it holds it. Workers wait and go on."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy
from romancy.core import ActivityAttemptFailed, ActivityFailed, WorkflowCompleted
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.faults.disks import mounted
from romancy_conformance.behaviour.faults.field import ENVIRONMENT, Field
from romancy_conformance.behaviour.faults.holder import LEASE, calls_faulty_hold
from romancy_conformance.behaviour.waiting import until
from romancy_conformance.process_control import freeze, freezes, resources, thaw

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from pathlib import Path

    from romancy_conformance.behaviour.faults.disks import Disk

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite")]

STEPS = 4
FULL = 5.0
"""Seconds without room."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk with little more room than the test needs."""
    with mounted(tmp_path / "disk", "size=32m") as disk:
        yield disk


@pytest.fixture
async def on_disk(disk: Disk, tmp_path: Path) -> AsyncIterator[Field]:
    """A field on that disk; its ledger is elsewhere."""
    field = Field(f"sqlite:///{disk.folder}/romancy.db", tmp_path)
    await field.open()
    yield field
    await field.close()


def fill_database(disk: Disk) -> None:
    """Fill the disk, and then the room that the database has within its own files: its log is written over in turns."""
    disk.fill()
    with closing(sqlite3.connect(disk.folder / "romancy.db", timeout=60, isolation_level=None)) as connection:
        size = 1 << 16
        while size:
            try:
                connection.execute("create table if not exists ballast (data)")
                connection.execute("insert into ballast values (zeroblob(?))", (size,))
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                    raise
                size //= 2


def noted(field: Field, what: str, activity: str = "") -> int:
    """Return how many attempts have begun, or ended."""
    return sum(entry.what == what and entry.activity_id.startswith(activity) for entry in field.ledger.read())


async def charged(field: Field, ids: list[str]) -> int:
    """Return how many attempts the logs record as failed."""
    logs = [await field.log(instance_id) for instance_id in ids]
    return sum(isinstance(event, (ActivityAttemptFailed, ActivityFailed)) for log in logs for event in log)


@resources
@pytest.mark.timeout(300)
async def test_a_disk_that_fills_up_under_load(on_disk: Field, disk: Disk) -> None:
    field = on_disk
    workers = [await field.worker("--lease", "90") for _ in range(2)]
    ids = [f"load-{number}" for number in range(40)]
    await field.start(ids, STEPS, 0.2)
    before = [worker.memory() for worker in workers]
    again = 0
    for turn in (1, 2):
        await field.begun(turn * len(ids))
        await asyncio.to_thread(fill_database, disk)
        began = time.monotonic()
        ids.append(f"late-{turn}")
        starting = asyncio.create_task(field.start(ids[-1:], STEPS, 0.2))
        ended = noted(field, "end")
        await asyncio.sleep(began + FULL - time.monotonic())
        again += noted(field, "end") - ended
        assert not starting.done()
        disk.free()
        await asyncio.wait_for(starting, 60)
    await field.all_ended()

    assert all(worker.alive for worker in workers)
    assert again <= 10 * len(ids)  # now and then; without a pause it would be some thousands
    await field.check(ids, STEPS, interrupted=again + 4 * len(ids), by=[])
    assert 0 == await charged(field, ids)
    assert max(after - was for after, was in zip([w.memory() for w in workers], before, strict=True)) < 50 << 20


async def test_a_session_that_meets_a_full_disk_is_tried_again_now_and_then(on_disk: Field, disk: Disk) -> None:
    field = on_disk
    ids = ["a", "b"]
    worker = await field.worker()
    await field.start(ids, 1, 2.0)  # time enough to fill the disk meanwhile
    await until(lambda: noted(field, "begin", "faulty_write") == 2)
    disk.fill()
    await until(lambda: noted(field, "end", "faulty_write") == 2)
    await asyncio.sleep(FULL)
    tries = noted(field, "begin", "faulty_write")
    disk.free()
    await field.all_ended()

    assert worker.alive
    assert tries <= 20, "while there is no room, now and then; the end shows that it is tried at all"
    await field.check(ids, 1, interrupted=30, by=[])
    assert 0 == await charged(field, ids)


@asynccontextmanager
async def holder(field: Field, ledger: Path) -> AsyncGenerator[Process]:
    """A worker that holds the file in a session, once there is an instance for it."""
    module = "romancy_conformance.behaviour.faults.holder"
    worker = await asyncio.create_subprocess_exec(sys.executable, "-m", module, field.url, str(ledger), env=ENVIRONMENT)
    try:
        yield worker
    finally:
        if worker.returncode is None:
            worker.kill()
        await worker.wait()


@pytest.mark.timeout(300)
@freezes
@pytest.mark.parametrize("ending", ["killed", "going on"])
async def test_a_worker_that_stops_inside_its_session_is_outlived(
    storage_url: str, tmp_path: Path, ending: str
) -> None:
    """No other process can write while it holds the file, so none can declare it dead either."""
    field = Field(f"{storage_url}?lock_timeout=1&session_limit=3", tmp_path)
    ledger, ids = tmp_path / "ledger", [f"other-{number}" for number in range(5)]
    async with AsyncExitStack() as stack:
        await field.open()
        stack.push_async_callback(field.close)
        app = await stack.enter_async_context(Romancy(field.url, worker=False, workflows=[calls_faulty_hold]))
        worker = await field.worker("--lease", str(LEASE))
        await app.start(calls_faulty_hold.options(instance_id="held"), 2.0)
        stopped = await stack.enter_async_context(holder(field, ledger))
        await until(lambda: noted(field, "begin", "faulty_hold") == 1)
        freeze(stopped)
        starting = asyncio.create_task(field.start(ids, 1, 0.05))
        await asyncio.sleep(LEASE + 2)
        waited = not starting.done()
        if ending == "going on":
            thaw(stopped)
        else:
            stopped.kill()
            await stack.enter_async_context(holder(field, ledger))
        await starting
        await field.all_ended()

        assert waited
        assert worker.alive
        assert 1 == sum(isinstance(event, WorkflowCompleted) for event in await field.log("held"))
        assert 0 == await charged(field, ["held", *ids])
        patient = create_store(storage_url)
        await patient.open()
        stack.push_async_callback(patient.close)
        async with patient.services.sessions.begin() as session:
            rows = await session.fetch_all("select activity from effects where instance = 'held'")
        assert [{"activity": "faulty_hold:1"}] == rows
