"""Behind a pooler in transaction mode: everything works that needs no state in a server session."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy.errors import StorageConfigurationError
from romancy.status import Status
from romancy.storage.query import build_query
from romancy.storage.records import ClaimRequest, Delivered, Outcome
from romancy_conformance.behaviour.waiting import until
from romancy_conformance.contract.building import Actor, append, change, delivery, full_log, settle, start, step, unique
from tests.backends.postgres.pooler import Pooler

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy.storage.records import Item
    from romancy_postgres._store import PostgresStore

    Open = Callable[..., Awaitable[PostgresStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]


@pytest.fixture
async def pooler(storage_url: str) -> AsyncGenerator[Pooler]:
    """A pooler before this test's database."""
    async with Pooler(storage_url) as running:
        yield running


async def test_without_the_option_the_error_names_it(pooler: Pooler, open_store: Open) -> None:
    with pytest.raises(StorageConfigurationError, match="pooler=transaction"):
        await open_store(url=pooler.url)


async def test_an_instance_lives_its_whole_life_behind_a_pooler(pooler: Pooler, open_store: Open) -> None:
    store = await open_store("pooler=transaction", url=pooler.url)
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    assert not store.capabilities.push

    async def live(number: int) -> None:
        begun = await actor.begin(input=b'{"n":%d}' % number)
        for seq in range(2, 6):
            assert await actor.write(step(begun, seq)) is Outcome.ACCEPTED
        assert await store.deliver([delivery(begun)]) == [Delivered.ACCEPTED]
        async with store.services.sessions.begin() as session:
            assert await session.fetch_all("select $1::int as n", number) == [{"n": number}]
            assert await session.commit(step(begun, 6), worker=actor.token) is Outcome.ACCEPTED
        last = append(begun, 7, change=change(Status.COMPLETED, seen=1), starts=(start(),))
        assert await actor.write(last) is Outcome.ACCEPTED
        assert [row.seq for row in await full_log(store, begun.instance_id)] == list(range(1, 8))

    await asyncio.gather(*map(live, range(20)))

    work = await store.claim(ClaimRequest(worker=actor.token, codes={"flow": "c1"}, limit=50, sweep=True))
    assert len(work.claimed) == 20
    assert len((await store.services.reading.find(build_query(status="completed"))).rows) == 20
    assert pooler.transactions > 200


async def test_a_commit_of_many_kinds_is_decided_item_by_item(pooler: Pooler, open_store: Open) -> None:
    store = await open_store("pooler=transaction", url=pooler.url)
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    *begun, taken = [await actor.begin() for _ in range(5)]
    await actor.write(step(begun[1], 2))
    batch: list[Item] = [
        step(begun[0], 2),
        step(begun[1], 2),
        append(begun[2], 2, change=change(Status.WAITING, release=True)),
        append(begun[3], 2, deliveries=(delivery(begun[2]),), starts=(start(taken.instance_id),)),
        start(),
    ]

    outcomes = await store.commit(batch, worker=actor.token)

    expected = [Outcome.ACCEPTED, Outcome.TAKEN, Outcome.ACCEPTED, Outcome.EXISTS, Outcome.ACCEPTED]
    assert outcomes == expected


async def test_changes_are_found_by_looking(pooler: Pooler, open_store: Open) -> None:
    """A store cannot listen through a pooler; it looks once a second instead."""
    store = await open_store("pooler=transaction", url=pooler.url)
    direct = await open_store()
    await settle(store, 0.1)
    await direct.commit([start()])

    assert await asyncio.wait_for(store.wait_for_work(30), 28) is None


async def test_those_who_can_listen_hear_those_behind_the_pooler(pooler: Pooler, open_store: Open) -> None:
    store = await open_store("pooler=transaction", url=pooler.url)
    direct = await open_store()
    await settle(direct, 0.1)
    item = start()
    await store.commit([item])

    assert await asyncio.wait_for(direct.wait_for_work(30), 18) == frozenset({item.instance_id})


async def test_cancelled_statements_leave_nothing_behind(pooler: Pooler, open_store: Open) -> None:
    store = await open_store("pooler=transaction&pool_size=3", url=pooler.url)
    direct = await open_store()

    async def sleep() -> None:
        async with store.services.sessions.begin() as session:
            await session.execute("select pg_sleep(30)")

    async def asleep() -> int:
        async with direct.services.sessions.begin() as session:
            rows = await session.fetch_all(
                "select query from pg_stat_activity "
                "where query like '%pg_sleep%' and state = 'active' and pid <> pg_backend_pid() "
                "and datname = current_database()"
            )
        return len(rows)

    async def awake() -> bool:
        return await asleep() == 0

    async with asyncio.timeout(20):  # they sleep for 30 seconds
        for _ in range(4):
            sleeping = asyncio.create_task(sleep())
            await until(asleep)
            sleeping.cancel()
            await asyncio.wait({sleeping})
            assert sleeping.cancelled()
            await until(awake)
