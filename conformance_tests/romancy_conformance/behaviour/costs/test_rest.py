"""Rest costs next to nothing: a worker with nothing to do hardly asks its database anything.

With the default lease of 30 s, a worker sends a heartbeat every 10 s and sweeps every 30 s. The short form does not
wait for that: the worker's periodic work comes several times as often, and counts for so much less. Statements that
begin and end transactions count like all others where they are round trips; on SQLite, in this process, they are not.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.costs.counting import SqliteStatements, is_bracket
from romancy_conformance.behaviour.costs.hurried import hurried
from romancy_conformance.behaviour.faults.field import Process

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

    from romancy_conformance.behaviour.costs.counting import Statements

pytestmark = [pytest.mark.anyio, pytest.mark.soak, pytest.mark.timeout(300)]

SOAK = bool(os.environ.get("ROMANCY_SOAK"))
TIMES = 1 if SOAK else 6
WINDOW = 75.0 if SOAK else 7.0
"""Longer than the time between two sweeps."""
SETTLING = 1.0


@activity
async def rest_once(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


calls_rest_once = calling(rest_once)


@workflow
async def rest_awhile(ctx: WorkflowContext) -> float:
    await asyncio.sleep(3600)
    return await rest_once(0.0)


@pytest.fixture(autouse=True)
def lease() -> Iterator[float]:
    """Return the lease that gives this run its pace."""
    with hurried(TIMES) as lease:
        yield lease


@asynccontextmanager
async def idle(statements: Statements, lease: float) -> AsyncGenerator[None]:
    """An idle worker that has worked, beside waiting instances."""
    async with Romancy(statements.url, workflows=[rest_awhile, calls_rest_once], lease=lease) as app:
        await app.start_many([rest_awhile.bind() for _ in range(20)])
        await app.run(calls_rest_once, 0.0)
        yield


@asynccontextmanager
async def peer(statements: Statements, folder: Path, lease: float, *options: str) -> AsyncGenerator[None]:
    """Another worker, in its own process."""
    module = hurried.__module__
    options = (*options, "--lease", str(lease))
    process = Process(statements.url, folder / "ledger", *options, program=(module, str(TIMES)))
    try:
        await process.ready()
        yield
    finally:
        process.kill()


def weighed(statements: Statements, asked: list[str], seconds: float, *, beats: float) -> float:
    """Return the statements at the usual pace: heartbeats notify other workers, and notified workers look."""
    if isinstance(statements, SqliteStatements):
        asked = [text for text in asked if not is_bracket(text)]
    looks = sum(map(statements.is_look, asked))
    steady = min(looks, statements.looks * seconds)
    others = sum(beats if statements.is_beat(text) else 1 / TIMES for text in asked if not statements.is_look(text))
    return steady + (looks - steady) / TIMES + others


async def settle(statements: Statements, workers: int, *, beats: float) -> None:
    """Wait until the effects of a start have passed, on a slow machine for a minute at most."""
    for _ in range(60):
        statements.clear()
        await asyncio.sleep(SETTLING)
        rate = weighed(statements, statements.asked(), SETTLING, beats=beats) / SETTLING
        if rate <= statements.at_rest * workers:
            return


async def asked_a_second(
    statements: Statements, workers: int, *, seconds: float = WINDOW, beats: float = 1 / TIMES
) -> float:
    """Return statements a second of each worker, over a period with heartbeats and sweeps."""
    await settle(statements, workers, beats=beats)
    statements.clear()
    begun = time.monotonic()
    await asyncio.sleep(seconds)
    asked = statements.asked()
    elapsed = time.monotonic() - begun
    rate = weighed(statements, asked, elapsed, beats=beats) / elapsed / workers
    print(f"{rate:.2f} statements a second: {Counter(text[:60] for text in asked).most_common(8)}")
    others = [text for text in asked if not (statements.is_look(text) or statements.is_beat(text) or is_bracket(text))]
    assert any(statements.is_beat(text) for text in asked)
    assert others, "nobody swept"
    return rate


async def test_an_idle_worker_alone(statements: Statements, lease: float) -> None:
    async with idle(statements, lease):
        assert await asked_a_second(statements, 1) <= statements.at_rest


async def test_an_idle_worker_beside_another(statements: Statements, tmp_path: Path, lease: float) -> None:
    async with idle(statements, lease), peer(statements, tmp_path, lease):
        counted = 1 if isinstance(statements, SqliteStatements) else 2
        assert await asked_a_second(statements, counted) <= statements.at_rest


@pytest.mark.backends("postgres", "mysql", "mariadb")
async def test_an_idle_worker_with_another_out_of_sight(statements: Statements, tmp_path: Path) -> None:
    """A worker on another machine needs frequent heartbeats; workers that share a SQLite file share a machine."""
    lease = 7.0  # so they meet sooner; then they send heartbeats as by default
    async with idle(statements, lease), peer(statements, tmp_path, lease, "--elsewhere"):
        await asyncio.sleep(lease / 3)
        assert await asked_a_second(statements, 2, seconds=1.5 * WINDOW, beats=1) <= statements.at_rest
