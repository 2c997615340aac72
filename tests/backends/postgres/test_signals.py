"""Wake-ups by NOTIFY: ids only, few, after the commit; no worker sleeps on after a lost listener."""

from __future__ import annotations

import asyncio
import json
from importlib.resources import files
from itertools import chain
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from romancy.status import Status
from romancy.storage.journal import NewLine
from romancy.storage.marks import STREAM_NEWS, TAKEN_NEWS
from romancy.storage.records import ClaimRequest
from romancy.storage.sql import load_queries
from romancy_conformance.contract import interleaving
from romancy_conformance.contract.building import append, change, delivery, settle, start, step
from romancy_postgres import _signals
from romancy_postgres._signals import channel_of, payloads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg

    from romancy_conformance.contract.building import Actor
    from romancy_postgres._store import PostgresStore

    Open = Callable[..., Awaitable[PostgresStore]]

_LARGEST_PAYLOAD = 8000
LONG = 30.0
_LISTENERS = (
    "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() "
    # On a slow machine, a listener has meanwhile checked its connection.
    "and (query like 'LISTEN%' or query = 'select 1')"
)


@given(
    st.sets(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=255), max_size=300)
)
def test_every_id_arrives_in_texts_the_server_takes(ids: set[str]) -> None:
    texts = payloads("origin", ids)

    assert max(len(text.encode()) for text in texts) < _LARGEST_PAYLOAD
    assert all(json.loads(text)[0] == "origin" for text in texts)
    assert sorted(one for text in texts for one in json.loads(text)[1:]) == sorted(ids)


def test_too_many_ids_mean_everywhere() -> None:
    assert payloads("origin", {str(number) for number in range(5000)}) == ['["origin"]']


@given(st.text("abc_", min_size=1, max_size=63) | st.none(), st.text("abc_", min_size=1, max_size=32))
def test_a_channel_has_a_name_the_server_takes(schema: str | None, prefix: str) -> None:
    assert 0 < len(channel_of(schema, prefix)) <= 63


async def listen(connection: asyncpg.Connection) -> list[list[str]]:
    """Collect the notifications from now on: the ids of each."""
    heard: list[list[str]] = []

    def hear(_: object, __: int, ___: str, payload: object) -> None:
        heard.append(json.loads(str(payload))[1:])

    await connection.add_listener("romancy_work", hear)
    return heard


@pytest.mark.anyio
@pytest.mark.backends("postgres")
async def test_a_lost_listener_comes_back_and_everybody_looks(
    store: PostgresStore, open_store: Open, connection: asyncpg.Connection
) -> None:
    """F15: again and again; a store notices what was committed while it did not listen."""
    other = await open_store()
    for _ in range(10):
        await settle(store, 0.1)
        async with asyncio.timeout(60):
            # A listener that has lost its connection makes a new one after a while.
            while await connection.fetchval(f"select count(*) {_LISTENERS}") < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        gone = await connection.fetch(f"select pg_terminate_backend(pid) {_LISTENERS}")
        item = start()
        await other.commit([item])

        changed = await asyncio.wait_for(store.wait_for_work(LONG), 18)

        assert len(gone) == 2
        assert changed is None or item.instance_id in changed
        await settle(other, 0.1)


@pytest.mark.anyio
@pytest.mark.backends("postgres")
async def test_an_announcement_does_not_wait_for_the_disk(connection: asyncpg.Connection) -> None:
    notify = load_queries(files("romancy_postgres") / "upkeep.sql", "romancy_", None)["notify"]
    heard = await listen(connection)

    async with connection.transaction():
        await connection.execute("set local synchronous_commit = on")
        await connection.fetch(notify, "romancy_work", ['["origin", "one"]'])
        within = await connection.fetchval("show synchronous_commit")
    await connection.execute("select 1")  # what it has notified itself about has arrived

    assert ("off", [["one"]]) == (within, heard)
    assert "off" != await connection.fetchval("show synchronous_commit")


@pytest.mark.anyio
@pytest.mark.backends("postgres")
async def test_what_nobody_waits_for_is_not_announced(
    actor: Actor, open_store: Open, connection: asyncpg.Connection
) -> None:
    """Other workers need not know a run's steps: no notification, so no lock that all notifying commits share."""
    begun = await actor.begin()
    heard = await listen(connection)
    for seq in range(2, 30):
        await actor.write(step(begun, seq))
    last = start()
    await actor.store.commit([last])

    while not heard:
        await connection.execute("select 1")
        await asyncio.sleep(0.01)

    assert heard == [[last.instance_id]]


@pytest.mark.anyio
@pytest.mark.backends("postgres")
async def test_followers_of_a_stream_are_told_where_it_was_quiet(actor: Actor, connection: asyncpg.Connection) -> None:
    begun = await actor.begin()
    heard = await listen(connection)
    for number in range(5):
        line = NewLine(begun.instance_id, begun.life, f"w-{number}", 1, b"x", actor.token)
        assert [] == (await actor.store.services.journal.write([line])).refused
    last = start()
    await actor.store.commit([last])
    async with asyncio.timeout(LONG):
        while last.instance_id not in chain(*heard):
            await connection.execute("select 1")
    told = [one for one in chain(*heard) if one.startswith(STREAM_NEWS)]
    assert 1 <= len(told) < 5, "who was told just now looks often"
    assert {STREAM_NEWS + begun.instance_id} == {*told}


@pytest.mark.anyio
@pytest.mark.backends("postgres")
async def test_a_claim_tells_what_it_brings_if_it_is_asked_to(actor: Actor, connection: asyncpg.Connection) -> None:
    """Among many workers: the others need not claim then. The first claim here is that of one of few."""
    mine = await actor.begin()
    heard = await listen(connection)
    quiet, told, last = (start(workflow_name=next(iter(actor.workflows))) for _ in range(3))
    for item in (quiet, told):
        await actor.store.commit([item])
        await actor.store.deliver([delivery(mine)])
        assert [one.instance_id for one in await actor.claim(announce=item is told)] == [item.instance_id]
    await actor.store.commit([last])

    async with asyncio.timeout(LONG):
        while last.instance_id not in chain(*heard):
            await connection.execute("select 1")

    taken = {one for one in chain(*heard) if one.startswith(TAKEN_NEWS)}
    assert taken == {TAKEN_NEWS + told.instance_id, TAKEN_NEWS + mine.instance_id}
    own = await actor.store.wait_for_work(LONG)
    assert own is not None
    assert not [one for one in own if one.startswith(TAKEN_NEWS)], (
        "its next claim may be needed: more mail may have come"
    )


@pytest.mark.anyio
@pytest.mark.backends("postgres")
async def test_no_commit_announces_by_itself(
    actor: Actor, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B5: a transaction that notifies delays all others that notify until its commit. Closing waits for no company."""
    begun, other = await actor.begin(), await actor.begin()
    monkeypatch.setattr(_signals, "_GATHER", LONG)
    heard = await listen(connection)
    sleep = change(Status.WAITING, seen=0, release=True)
    first, item = start(), start()

    async def announcements(count: int) -> None:
        while len(heard) < count:
            await connection.execute("select 1")
            await asyncio.sleep(0.05)

    await actor.store.commit([first])
    await announcements(1)
    await actor.store.commit([item])
    await actor.write(append(begun, 2, change=sleep))
    await actor.store.deliver([delivery(begun)])
    async with actor.store.services.sessions.begin() as session:
        await session.commit(append(other, 2, change=sleep), worker=actor.token)
    await connection.execute("select 1")
    assert heard == [[first.instance_id]], "the first is announced at once, and all others together after it"
    async with asyncio.timeout(LONG / 2):
        await actor.store.close()
        await announcements(2)

    assert sorted(heard[1]) == sorted([item.instance_id, begun.instance_id])


@pytest.mark.anyio
@pytest.mark.backends("postgres")
async def test_many_commits_are_announced_together(store: PostgresStore, connection: asyncpg.Connection) -> None:
    """B5: notifying takes a lock that the whole database shares."""
    heard = await listen(connection)
    items = [start() for _ in range(300)]
    statements: list[str] = []

    async def note(statement: str, /) -> None:
        statements.append(statement)

    interleaving.listen(store, note)
    await store.commit(items)
    interleaving.leave(store)

    def told() -> list[str]:
        return sorted(one for ids in heard for one in ids)

    while len(told()) < len(items):
        await connection.execute("select 1")
        await asyncio.sleep(0.01)
    assert told() == sorted(item.instance_id for item in items)
    assert len(heard) <= 3
    assert "begin" not in statements, "a lone statement is its own transaction, and NOTIFY is none of its parts"


@pytest.mark.anyio
@pytest.mark.backends("postgres")
@pytest.mark.parametrize("options", ["", "listen=off"])
async def test_a_store_at_rest_asks_next_to_nothing(
    open_store: Open, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most two statements a second, claims included; here without claims, and after the first seconds."""
    monkeypatch.setattr(_signals, "_AT_FIRST", 0)
    store = await open_store(options)
    await settle(store, 0.1)
    statements: list[str] = []

    async def note(statement: str, /) -> None:
        statements.append(statement)

    interleaving.listen(store, note)
    looks = 0
    async with asyncio.timeout(60):
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - began < 2.5:
            looks += await store.wait_for_work(0.5) is None

    assert statements == []
    assert looks <= 3
    assert looks >= 1 or options == ""


@pytest.mark.anyio
@pytest.mark.backends("postgres")
async def test_without_notifications_a_store_looks_often_at_first(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may be about to hand over to a worker that has just come."""
    monkeypatch.setattr(_signals, "_LOOK_WITHOUT_PUSH", 3600.0)
    store = await open_store("listen=off")

    assert await store.wait_for_work(LONG) is None
    monkeypatch.setattr(_signals, "_AT_FIRST", 0)
    other = await open_store("listen=off")
    assert await other.wait_for_work(0.5) == frozenset()


@pytest.mark.anyio
@pytest.mark.backends("postgres")
async def test_without_notifications_a_claim_that_brought_something_is_followed_by_a_look(
    actor: Actor, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had something to hand over often has more."""
    monkeypatch.setattr(_signals, "_LOOK_WITHOUT_PUSH", 3600.0)
    monkeypatch.setattr(_signals, "_AT_FIRST", 0)
    store = await open_store("listen=off")
    await actor.store.commit([start(workflow_name=next(iter(actor.workflows)))])
    request = ClaimRequest(worker=actor.token, codes=actor.workflows, limit=5)

    assert (await store.claim(request)).claimed
    assert await store.wait_for_work(LONG) is None
    assert not (await store.claim(request)).claimed
    assert await store.wait_for_work(0.5) == frozenset()


@pytest.mark.anyio
@pytest.mark.backends("postgres")
async def test_every_call_that_waits_learns_of_a_start(store: PostgresStore, open_store: Open) -> None:
    await settle(store, 0.1)
    waiting = [asyncio.create_task(store.wait_for_work(LONG)) for _ in range(3)]
    await asyncio.sleep(0)
    item = start()
    await store.commit([item])

    assert await asyncio.wait_for(asyncio.gather(*waiting), 60) == [frozenset({item.instance_id})] * 3
