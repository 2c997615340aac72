"""A process is stopped while its session holds the file: the others wait, and continue by themselves."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from romancy.errors import StorageUnavailableError
from romancy.storage.query import build_query
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import full_log, start, step
from romancy_conformance.contract.fire.program import insist

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

    from romancy_conformance.contract.building import Actor
    from romancy_sqlite import SqliteStore

    Open = Callable[..., Awaitable[SqliteStore]]

pytestmark = pytest.mark.anyio

PATIENCE = 0.5
LIMIT = 3.0
_HOLDER = """
import asyncio, sys
from romancy.errors import RomancyError
from romancy.storage.backends import create_store
from romancy_conformance.contract.building import start

async def use(store, row):
    async with store.services.sessions.begin() as session:
        await session.execute("insert into mine values (?)", row)
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await session.execute("insert into mine values (0)")
        return await session.commit(start())

async def main():
    store = create_store(f"sqlite:///{sys.argv[1]}?session_limit={sys.argv[2]}")
    await store.open()
    for attempt in (1, 2):
        try:
            print(await use(store, attempt), flush=True)
            break
        except RomancyError as error:
            print(type(error).__name__, error, flush=True)
    await store.close()

asyncio.run(main())
"""


@asynccontextmanager
async def holding(path: Path) -> AsyncGenerator[Process]:
    """Another process with an open session."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLDER, str(path), str(LIMIT), env=environment,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert "held" == await said(process)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said(process: Process) -> str:
    """Return the next line of its output."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


def go_on(process: Process) -> None:
    """Let it leave its session."""
    assert process.stdin is not None
    process.stdin.write(b"\n")


@pytest.fixture
async def store(open_store: Open) -> SqliteStore:
    """A store with a user's table, and short waits."""
    store = await open_store(lock_timeout=PATIENCE)
    async with store.services.sessions.begin() as session:
        await session.execute("create table mine (k)")
        assert await session.commit(start()) is Outcome.ACCEPTED
    return store


async def test_others_are_told_in_time_and_go_on_when_it_is_killed(
    store: SqliteStore, actor: Actor, path: Path
) -> None:
    begun = await actor.begin()
    item = step(begun, 2)
    async with holding(path) as process:
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        for _ in range(3):
            with pytest.raises(StorageUnavailableError, match="other processes kept it locked for too long"):
                await store.commit([item], worker=actor.token)
        waited = time.monotonic() - began
        with pytest.raises(StorageUnavailableError, match="other processes kept it locked"):
            async with store.services.sessions.begin():
                pass
        seen = await store.services.reading.find(build_query())
        # The machine decides how soon a killed process is gone: repeat, as every caller does.
        waiting = asyncio.create_task(insist(lambda: store.commit([item], worker=actor.token)))
        process.kill()

        assert await waiting == [Outcome.ACCEPTED]

    assert 3 * PATIENCE <= waited < 100 * PATIENCE
    assert 2 == len(seen.rows)
    assert [1, 2] == [row.seq for row in await full_log(store, begun.instance_id)]
    async with store.services.sessions.begin() as session:
        assert [] == await session.fetch_all("select k from mine")


async def test_it_loses_its_session_by_no_fault_of_its_own_when_it_goes_on(
    store: SqliteStore, actor: Actor, path: Path
) -> None:
    """If it had been slow by itself, that would be the program's fault, and final."""
    begun = await actor.begin()
    async with holding(path) as process:
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(LIMIT + 2)
        process.send_signal(signal.SIGCONT)
        item = step(begun, 2)
        assert await insist(lambda: store.commit([item], worker=actor.token)) == [Outcome.ACCEPTED]
        go_on(process)
        lost = await said(process)
        held = await said(process)
        go_on(process)
        committed = await said(process)

    assert lost.startswith("StorageUnavailableError session: its process was stopped for")
    assert ["held", "accepted"] == [held, committed]
    async with store.services.sessions.begin() as session:
        assert [{"k": 2}, {"k": 0}] == await session.fetch_all("select k from mine")
