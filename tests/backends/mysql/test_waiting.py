"""Waiting without notifications: a store soon sees what other processes did, at little cost while idle."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.waiting import until
from romancy_conformance.contract.building import Actor, append, change, delivery, settle, start
from romancy_conformance.contract.interleaving import listen
from romancy_mysql import _wakeups

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_conformance.proxy import Proxy
    from romancy_mysql._connection import Wire
    from romancy_mysql._store import MySQLStore

    Open = Callable[..., Awaitable[MySQLStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]


@pytest.fixture
async def far(open_store: Open, storage_url: str) -> MySQLStore:
    """A store that uses another name for the server, so the other stores of this process do not notify it."""
    return await open_store(url=storage_url.replace("127.0.0.1", "localhost"))


async def hears(store: MySQLStore, act: Awaitable[object]) -> tuple[frozenset[str] | None, float]:
    """Return what a waiting store reports of a call elsewhere, and after how long."""
    await settle(store, 0.5)
    waiting = asyncio.create_task(store.wait_for_work(20))
    await asyncio.sleep(0)  # it waits
    await act
    done = time.monotonic()
    return await waiting, time.monotonic() - done


async def test_a_start_elsewhere_is_seen(far: MySQLStore, store: MySQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_wakeups, "_EVERYTHING_EVERY", 3600)  # no complete look meanwhile finds it first
    item = start()

    changed, after = await hears(far, store.commit([item]))

    assert changed is not None
    assert item.instance_id in changed
    assert after < 15


async def test_mail_and_an_end_elsewhere_are_seen(
    far: MySQLStore, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_wakeups, "_EVERYTHING_EVERY", 3600)
    begun = await actor.begin()

    mail, _ = await hears(far, actor.store.deliver([delivery(begun)]))
    end, _ = await hears(far, actor.write(append(begun, 2, change=change(Status.COMPLETED, seen=1))))

    assert mail is not None
    assert begun.instance_id in mail
    assert end is not None
    assert begun.instance_id in end


async def test_steps_of_others_wake_nobody(far: MySQLStore, actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_wakeups, "_EVERYTHING_EVERY", 3600)  # a complete look wakes everybody
    begun = await actor.begin()
    await settle(far, 0.5)
    waiting = asyncio.create_task(far.wait_for_work(1.5))
    for seq in range(2, 6):
        await actor.write(append(begun, seq, change=change() if seq % 2 else None))

    assert await waiting == frozenset()


async def test_what_commits_late_is_still_seen(
    far: MySQLStore, store: MySQLStore, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time lies before the last look, and it became visible after it."""
    monkeypatch.setattr(_wakeups, "_EVERYTHING_EVERY", 3600)
    early, late = start(), start()
    await store.commit([late])
    await settle(far, 0.5)
    await wire.run(b"start transaction", "test")
    touch = b"update romancy_instances set touched_at = touched_at + 1000 where instance_id = '%b'"
    await wire.run(touch % late.instance_id.encode(), "test")
    changed, _ = await hears(far, store.commit([early]))
    assert changed == frozenset({early.instance_id})

    changed, _ = await hears(far, wire.run(b"commit", "test"))

    assert changed is not None
    assert late.instance_id in changed


async def test_waiting_costs_little_at_rest(store: MySQLStore) -> None:
    """B6: at most three statements a second, and none while no caller waits."""
    await settle(store, 0.5)
    names: list[str] = []

    async def gate(statement: str, /) -> None:
        names.append(statement)

    listen(store, gate)
    await asyncio.sleep(1)
    assert names == []
    await asyncio.gather(*(store.wait_for_work(2) for _ in range(5)))

    assert set(names) == {"touched", "came", "await_change"}
    assert len(names) <= 2 * 3


async def test_a_look_that_finds_much_is_not_followed_soon(
    far: MySQLStore, store: MySQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among busy workers, the next look would find the same again: the number of results sets the pause."""
    await settle(far, 0.5)
    monkeypatch.setattr(_wakeups, "_PER_ROW", 3600.0)
    await hears(far, store.commit([start()]))
    names: list[str] = []

    async def gate(statement: str, /) -> None:
        names.append(statement)

    listen(far, gate)
    await store.commit([start()])

    assert await far.wait_for_work(1.5) == frozenset()
    assert names == []


async def test_a_lost_server_is_looked_for_again(
    open_store: Open, proxy_for: Callable[[str], Proxy], storage_url: str, store: MySQLStore
) -> None:
    proxy = proxy_for(storage_url)
    far = await open_store(url=proxy.url(storage_url))
    await settle(far, 0.5)
    waiting = asyncio.create_task(far.wait_for_work(30))
    await asyncio.sleep(0)  # it waits
    proxy.refuses = True
    proxy.cut()
    await until(lambda: proxy.refused)
    item = start()
    await store.commit([item])
    proxy.refuses = False

    changed = await asyncio.wait_for(waiting, 28)

    assert changed is None or item.instance_id in changed


async def test_stores_on_other_loops_are_told(store: MySQLStore, open_store: Open, storage_url: str) -> None:
    """Two threads with one loop each, such as a web server and a worker in one process."""
    ready, heard = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    item = start()
    found: list[frozenset[str] | None] = []

    async def other() -> None:
        there = create_store(storage_url)
        await there.open()
        await settle(there, 0.3)
        loop.call_soon_threadsafe(ready.set)
        found.append(await there.wait_for_work(20))
        await there.close()
        loop.call_soon_threadsafe(heard.set)

    running = asyncio.create_task(asyncio.to_thread(asyncio.run, other()))
    await ready.wait()
    await store.commit([item])
    await asyncio.wait_for(heard.wait(), 60)
    await running

    assert found == [None] or item.instance_id in (found[0] or ())


async def test_every_call_that_waits_learns_of_a_start(store: MySQLStore) -> None:
    await settle(store, 0.5)
    waiting = [asyncio.create_task(store.wait_for_work(20)) for _ in range(3)]
    await asyncio.sleep(0)  # they wait
    item = start()

    await store.commit([item])

    for changed in await asyncio.gather(*waiting):
        assert changed is None or item.instance_id in changed
