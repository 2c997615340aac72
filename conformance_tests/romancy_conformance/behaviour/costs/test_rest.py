"""Rest costs next to nothing: a worker with nothing to do hardly asks its database anything."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy_conformance.behaviour.costs.counting import SqliteStatements, is_bracket
from romancy_conformance.behaviour.faults.field import Process

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from romancy_conformance.behaviour.costs.counting import Statements

pytestmark = [pytest.mark.anyio, pytest.mark.soak, pytest.mark.timeout(300)]

SOAK = bool(os.environ.get("ROMANCY_SOAK"))
SETTLING = 1.0


@activity
async def rest_once(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@workflow
async def rest_awhile(ctx: WorkflowContext) -> float:
    await asyncio.sleep(3600)
    return await rest_once(0.0)


@workflow
async def rest_little(ctx: WorkflowContext) -> float:
    return await rest_once(0.0)


@asynccontextmanager
async def idle(statements: Statements, lease: float = 30.0) -> AsyncGenerator[None]:
    """A worker that has worked, and beside whom instances wait."""
    async with Romancy(statements.url, workflows=[rest_awhile, rest_little], lease=lease) as app:
        await app.start_many([rest_awhile.bind() for _ in range(20)])
        await app.run(rest_little)
        yield


@asynccontextmanager
async def peer(statements: Statements, folder: Path, *options: str) -> AsyncGenerator[None]:
    """Another worker, in a process of its own."""
    process = Process(statements.url, folder / "ledger", *options)
    try:
        await process.ready()
        yield
    finally:
        process.kill()


def plain(statements: Statements) -> list[str]:
    """What was asked, without what begins and ends transactions."""
    return [text for text in statements.asked() if not is_bracket(text)]


async def settle(statements: Statements, workers: int) -> None:
    """Let what a start brings with it pass, however slow the machine is, but not for more than a minute."""
    for _ in range(60):
        statements.clear()
        await asyncio.sleep(SETTLING)
        if len(plain(statements)) <= statements.at_rest * workers * SETTLING:
            return


async def asked_a_second(statements: Statements, workers: int, seconds: float) -> float:
    """Statements a second of each worker, over a while."""
    await settle(statements, workers)
    statements.clear()
    begun = time.monotonic()
    await asyncio.sleep(60 if SOAK else seconds)
    asked = plain(statements)
    elapsed = time.monotonic() - begun
    rate = len(asked) / elapsed / workers
    print(f"{rate:.2f} statements a second: {Counter(text[:60] for text in asked).most_common(8)}")
    return rate


async def test_an_idle_worker_alone(statements: Statements) -> None:
    async with idle(statements):
        assert await asked_a_second(statements, 1, 4) <= statements.at_rest


async def test_an_idle_worker_beside_another(statements: Statements, tmp_path: Path) -> None:
    async with idle(statements), peer(statements, tmp_path):
        counted = 1 if isinstance(statements, SqliteStatements) else 2
        assert await asked_a_second(statements, counted, 9) <= statements.at_rest


@pytest.mark.backends("postgres", "mysql", "mariadb")
async def test_an_idle_worker_with_another_out_of_sight(statements: Statements, tmp_path: Path) -> None:
    """Whoever is not on this machine must show often that it lives; those who share a SQLite file share a machine."""
    lease = 7.0  # alone they meet sooner; from then on they beat as often as with the default
    async with idle(statements, lease), peer(statements, tmp_path, "--elsewhere", "--lease", str(lease)):
        await asyncio.sleep(lease / 3)
        assert await asked_a_second(statements, 2, 6) <= statements.at_rest
