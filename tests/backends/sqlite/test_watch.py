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
from romancy_conformance.contract.building import append, start

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


async def settle(store: SqliteStore) -> None:
    while await store.wait_for_work(0.05) != frozenset():
        pass


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
    store._use()[0].writer._connection.set_trace_callback(statements.append)

    assert await store.wait_for_work(2.0) == frozenset()

    assert 1 <= len(statements) <= 10
    assert {"pragma data_version"} == set(statements)


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
        await actor.write(append(begun, seq))

    assert await store.wait_for_work(0.5) == frozenset()
