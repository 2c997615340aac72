"""Detecting what other processes write, at little cost while they write nothing."""

# Which thread commits is not visible from outside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from romancy.storage.records import Outcome
from romancy_conformance.contract.building import settle, start, step
from romancy_sqlite._watch import Watch

if TYPE_CHECKING:
    from pathlib import Path

    from romancy_conformance.contract.building import Actor
    from romancy_sqlite import SqliteStore

pytestmark = pytest.mark.anyio

_COMMIT = """
import asyncio, sys
from romancy.storage.backends import create_store
from romancy_conformance.contract.building import start
async def main():
    store = create_store(sys.argv[1])
    await store.open()
    await store.commit([start()])
    await store.close()
asyncio.run(main())
"""


async def test_a_commit_of_another_process_is_heard(store: SqliteStore, path: Path) -> None:
    await settle(store)
    waiting = asyncio.create_task(store.wait_for_work(250))

    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", _COMMIT, f"sqlite:///{path}"], check=True, timeout=200
    )

    assert await asyncio.wait_for(waiting, 240) is None


async def test_a_commit_of_another_process_between_two_calls_is_heard(store: SqliteStore, path: Path) -> None:
    await settle(store)

    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", _COMMIT, f"sqlite:///{path}"], check=True, timeout=200
    )

    assert await store.wait_for_work(60) is None


async def test_silence_costs_at_most_five_looks_a_second(store: SqliteStore) -> None:
    await settle(store)
    assert await store.wait_for_work(1.5) == frozenset()
    statements: list[str] = []
    store.file.writer._connection.set_trace_callback(statements.append)

    assert await store.wait_for_work(2.0) == frozenset()

    assert 1 <= len(statements) <= 10
    assert {"pragma data_version"} == set(statements)


async def test_what_follows_on_news_is_heard_soon_however_long_nothing_had_happened() -> None:
    """Two processes that answer each other would wait for a third of a second again and again."""
    loop = asyncio.get_running_loop()
    looks: list[float] = []
    gaps: list[float] = []

    def look() -> None:
        looks.append(loop.time())
        if len(looks) % 10 == 0:
            watch.tell(None)  # another process has written, after nobody had for long

    watch = Watch(look)
    for _ in range(2):  # of which one is not held up by what else the machine does
        while await watch.wait(60) is not None:
            pass
        before = looks[-1]
        while looks[-1] == before:
            assert await watch.wait(0.1) == frozenset()
        gaps.append(looks[-1] - before)
    watch.end()

    assert min(gaps) < 0.2


async def test_everybody_who_waits_gets_the_same_news(store: SqliteStore) -> None:
    await settle(store)
    waiting = [asyncio.create_task(store.wait_for_work(60)) for _ in range(3)]
    await asyncio.sleep(0)
    item = start()

    await store.commit([item])

    assert [frozenset({item.instance_id})] * 3 == await asyncio.gather(*waiting)
    assert await store.wait_for_work(0.05) == frozenset()


async def test_too_many_ids_become_a_look_everywhere(store: SqliteStore) -> None:
    await settle(store)
    for _ in range(3):
        assert await store.commit([start() for _ in range(600)]) == [Outcome.ACCEPTED] * 600

    assert await store.wait_for_work(60) is None


async def test_our_own_plain_steps_are_no_news_even_to_the_look(store: SqliteStore, actor: Actor) -> None:
    """The look uses the writer's connection, on which only other connections' commits count as changes."""
    begun = await actor.begin()
    await settle(store)
    for seq in range(2, 52):
        await actor.write(step(begun, seq))

    assert await store.wait_for_work(0.5) == frozenset()
