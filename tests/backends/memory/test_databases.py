"""Databases in memory: who shares one, how long it lives, whose time it has, and loops in several threads."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from weakref import ref

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.storage.backends import create_store
from romancy.storage.records import Outcome
from romancy.storage.url import parse_url
from romancy_conformance.contract.building import start, unique
from romancy_sqlite import MemoryStore, memory_store

pytestmark = pytest.mark.anyio


async def is_there(store: MemoryStore, instance_id: str) -> bool:
    return await store.read(instance_id) is not None


async def test_one_without_a_name_is_its_stores_alone() -> None:
    one, other = memory_store(parse_url("memory://")), memory_store(parse_url("memory://"))
    for store in (one, other):
        await store.open()
    item = start()
    assert await one.commit([item]) == [Outcome.ACCEPTED]
    assert (True, False) == (await is_there(one, item.instance_id), await is_there(other, item.instance_id))
    for store in (one, other):
        await store.close()


async def test_one_with_a_name_lives_as_long_as_a_store_of_it() -> None:
    url, item = parse_url(f"memory://{unique()}"), start()
    kept, store = memory_store(url), memory_store(url)
    await store.open()
    await store.commit([item])
    await store.close()

    again = memory_store(url)
    await again.open()
    assert await is_there(again, item.instance_id)
    await again.close()

    there = ref(kept.database)
    del kept, store, again
    gc.collect()
    assert there() is None
    anew = memory_store(url)
    await anew.open()
    assert not await is_there(anew, item.instance_id)
    await anew.close()


async def test_its_time_is_that_of_the_given_clock_and_never_goes_back() -> None:
    moments = iter([-5, -5, 7, 3])
    store = create_store("memory://", clock=lambda: next(moments))
    await store.open()
    assert [-5, 7, 7] == [(await store.services.reading.census()).now for _ in range(3)]
    await store.close()


@pytest.mark.parametrize("call", ["read", "write", "step"])
async def test_a_caller_that_comes_again_and_again_lets_others_run(call: str) -> None:
    """No call waits for anything, so a loop of calls would keep the event loop for itself."""
    store, ended = memory_store(parse_url("memory://")), asyncio.Event()
    await store.open()
    asyncio.get_running_loop().call_soon(ended.set)
    made = 0
    while not ended.is_set() and made < 100:
        made += 1
        match call:
            case "read":
                await store.read("x")
            case "write":
                await store.commit([start(), start()])
            case _:
                await store.commit([start()])
    assert made < 100
    await store.close()


@workflow
async def collects(ctx: WorkflowContext, count: int) -> list[int]:
    return [(await ctx.wait_event("number")).data for _ in range(count)]


@pytest.mark.parametrize("in_a_turn", [1, 7, 50])
async def test_a_later_call_does_not_overtake_an_earlier_one(in_a_turn: int) -> None:
    """Many tasks call, some of them in each turn of the event loop."""
    async with Romancy("memory://", workflows=[collects]) as app:
        handle = await app.start(collects, 200)
        async with asyncio.TaskGroup() as tasks:
            for number in range(200):
                tasks.create_task(handle.signal("number", number))
                if number % in_a_turn == 0:
                    await asyncio.sleep(0)
        assert list(range(200)) == await handle.result(timeout=60)


async def test_other_adapters_have_a_clock_of_their_own() -> None:
    with pytest.raises(TypeError, match="clock"):
        create_store("sqlite:///x.db", clock=lambda: 0)


def test_loops_in_several_threads_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else keeps two threads from meeting between `begin` and `commit`."""
    url, each, threads = parse_url(f"memory://{unique()}"), 60, 3
    kept = memory_store(url)
    outcomes: list[Outcome] = []
    interval = sys.getswitchinterval()
    monkeypatch.setattr(threading, "excepthook", sys.excepthook)

    async def work() -> None:
        store = memory_store(url)
        await store.open()
        for number in range(each):
            if number % 3:
                outcomes.extend(await store.commit([start(), start()]))
            else:
                async with store.services.sessions.begin() as session:
                    await asyncio.sleep(0)
                    outcomes.append(await session.commit(start()))
            await store.services.reading.census()
        await store.close()

    running = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(threads)]
    sys.setswitchinterval(0.00001)
    try:
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert [Outcome.ACCEPTED] * (threads * (20 + 2 * 40)) == outcomes
    assert not kept.database.floor.taken
