"""Connections: bounded, with a limited wait, and clean however a call ended."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from romancy.errors import StorageUnavailableError
from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.records import ClaimRequest, Outcome, PruneRequest
from romancy_conformance.contract.building import Actor, append, change, delivery, full_log, start, step, unique
from romancy_postgres import _connection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.records import Item
    from romancy_conformance.proxy import Proxy
    from romancy_postgres._store import PostgresStore

    Open = Callable[..., Awaitable[PostgresStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]

_CANCELLATIONS = 300
_OPEN = "select count(*) from pg_stat_activity where state like 'idle in %' and datname = current_database()"
_END_ALL = (
    "select pg_terminate_backend(pid) from pg_stat_activity "
    "where datname = current_database() and pid <> pg_backend_pid()"
)
_OURS = "select count(*) from pg_stat_activity where application_name = 'romancy' and datname = current_database()"


async def persist(store: PostgresStore, item: Item, worker: str | None = None) -> Outcome:
    """Send an item until the server answers."""
    async with asyncio.timeout(60):
        while True:
            try:
                return (await store.commit([item], worker=worker))[0]
            except StorageUnavailableError:
                await asyncio.sleep(0.02)


async def test_cancelling_anywhere_leaves_nothing_open(open_store: Open, connection: asyncpg.Connection) -> None:
    """F8: no transaction stays open, no place in the pool is lost, and every instance can continue."""
    store = await open_store("pool_size=4")
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    begun = [await actor.begin() for _ in range(4)]
    chance = random.Random(7)

    async def in_session(number: int) -> None:
        async with store.services.sessions.begin() as session:
            await session.execute("select 1")
            await session.commit(step(begun[0], 1000 + number), worker=actor.token)

    for number in range(_CANCELLATIONS):
        calls: list[Callable[[int], Awaitable[object]]] = [
            in_session,
            lambda n: actor.write(step(begun[1], 2 + n)),
            lambda n: actor.write(append(begun[2], 2 + n, change=change(Status.RUNNING), starts=(start(),))),
            lambda _: store.deliver([delivery(begun[3])]),
            lambda _: store.claim(ClaimRequest(worker=actor.token, codes=actor.workflows, limit=5, sweep=True)),
            lambda _: store.read(begun[0].instance_id),
        ]
        call = asyncio.ensure_future(chance.choice(calls)(number))
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        if chance.random() < 0.3:
            await asyncio.sleep(chance.random() * 0.004)
        call.cancel()
        await asyncio.wait({call})

    async with asyncio.timeout(60):
        while await connection.fetchval(_OPEN):
            await connection.execute("select pg_sleep(0.02)")
        held = [await store.database.work.take() for _ in range(2)]
        others = [await store.database.sessions.take() for _ in range(2)]
    for work, session in zip(held, others, strict=True):
        store.database.work.give_back(work)
        store.database.sessions.give_back(session)
    for one in begun:
        rows = await full_log(store, one.instance_id)
        assert await actor.write(step(one, rows[-1].seq + 1)) is Outcome.ACCEPTED


async def test_many_sessions_on_few_connections(open_store: Open, connection: asyncpg.Connection) -> None:
    """F9: with the smallest pool sessions wait for each other, and neither commits nor heartbeats wait for them."""
    store = await open_store("pool_size=2")
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    begun = [await actor.begin() for _ in range(100)]

    async def activity(number: int) -> Outcome:
        async with store.services.sessions.begin() as session:
            await session.execute("select pg_sleep(0.001)")
            if number % 10 == 0:
                await store.commit([start()])
            return await session.commit(step(begun[number], 2), worker=actor.token)

    running = asyncio.gather(*map(activity, range(100)))
    beats = [(await asyncio.wait_for(store.heartbeat(actor.worker), 30)).alive for _ in range(5)]
    outcomes = await running

    assert outcomes == [Outcome.ACCEPTED] * 100
    assert beats == [True] * 5
    assert await connection.fetchval(_OURS) <= 2 + 2


async def test_a_pool_that_stays_empty_says_what_to_do(open_store: Open) -> None:
    store = await open_store("pool_size=2")
    store.database.sessions.patience = 0.2

    async with store.services.sessions.begin():
        with pytest.raises(StorageUnavailableError, match="pool_size"):
            async with store.services.sessions.begin():
                pass


async def test_a_full_server_is_waited_for(open_store: Open, connection: asyncpg.Connection, storage_url: str) -> None:
    """F10: a server without free connections is a temporary state."""
    await open_store()
    role = f"few_{await connection.fetchval('select pg_backend_pid()')}"
    await connection.execute(f"create role {role} login superuser password 'few'")
    store = await open_store("listen=off", url=f"postgresql://{role}:few@{storage_url.partition('@')[2]}")
    await connection.execute(f"alter role {role} nosuperuser connection limit 1")

    with pytest.raises(StorageUnavailableError, match="53300"):
        async with store.services.sessions.begin():
            pass
    await connection.execute(f"alter role {role} connection limit 5")
    async with store.services.sessions.begin() as session:
        assert await session.fetch_all("select 1 as one") == [{"one": 1}]
    await store.close()
    await connection.execute(f"drop role {role}")


async def test_a_read_only_database_is_unavailable_and_comes_back(
    open_store: Open, connection: asyncpg.Connection
) -> None:
    """F13: writes raise that error, reads work, and nothing needs a restart."""
    await open_store()
    name = await connection.fetchval("select current_database()")
    await connection.execute(f'alter database "{name}" set default_transaction_read_only = on')
    store = await open_store()
    item = start()

    with pytest.raises(StorageUnavailableError, match="25006"):
        await store.commit([item])
    assert await store.read(item.instance_id) is None
    await connection.execute(f'alter database "{name}" reset default_transaction_read_only')
    await connection.execute(_END_ALL)

    assert await persist(store, item) is Outcome.ACCEPTED


async def test_connections_ended_by_the_server_are_not_lent_again(
    store: PostgresStore, actor: Actor, connection: asyncpg.Connection
) -> None:
    begun = await actor.begin()
    for seq in range(2, 12):
        await connection.execute(_END_ALL)
        assert await persist(store, step(begun, seq), actor.token) is Outcome.ACCEPTED

    assert [row.seq for row in await full_log(store, begun.instance_id)] == list(range(1, 12))


async def test_an_answer_that_is_overdue_is_given_up(store: PostgresStore) -> None:
    """A statement of the engine fails as with a lost connection, and the next one gets another connection."""
    work = store.database.work
    first = await work.take()
    for _ in range(2):  # the timer of the first answer also covers the second
        assert await first.run_prepared("select 1", (), 3) == "SELECT 1"
    loop = asyncio.get_running_loop()
    began = loop.time()

    with pytest.raises(asyncpg.PostgresConnectionError):
        await first.run_prepared("select pg_sleep(60)", (), 0.3)

    assert 0.25 < loop.time() - began < 30
    assert first.is_closed()
    work.give_back(first)
    second = await work.take()
    assert second is not first
    assert await second.run_prepared("select 1", (), 30) == "SELECT 1"
    work.give_back(second)


async def test_connections_fallen_silent_cost_one_time_out_together(
    storage_url: str, proxy_for: Callable[[str], Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connection, "ANSWER_TIMEOUT", 5.0)
    proxy = proxy_for(storage_url)
    store = create_store(proxy.url(storage_url))
    await store.open()
    await asyncio.gather(*(store.read(f"nobody-{number}") for number in range(5)))  # five connections are idle now
    proxy.fall_silent()

    with pytest.raises(StorageUnavailableError, match="no answer in time"):
        await store.read("nobody")
    async with asyncio.timeout(4.5):
        assert await store.read("nobody") is None
    async with asyncio.timeout(10):
        await store.close()


async def test_a_connection_that_is_ended_between_two_messages_of_a_call_is_a_lost_one(
    store: PostgresStore, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver has no error of its own for it, and an unknown error would count as a refused commit."""
    begun = await actor.begin()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.read("x"),
        lambda: store.commit([step(begun, 2)], worker=actor.token),
        lambda: store.services.upkeep.prune(PruneRequest()),
    ]
    driver: Any = asyncpg.Connection
    gets = driver._get_statement

    async def ended(self: Any, *arguments: Any, **named: Any) -> Any:
        statement = await gets(self, *arguments, **named)
        driver.terminate(self)
        return statement

    for call in calls:
        with monkeypatch.context() as patch:
            patch.setattr(driver, "_get_statement", ended)
            with pytest.raises(StorageUnavailableError, match=r"ended while it was in use|connection is closed"):
                await call()

        assert await store.read("x") is None
