"""An answer is read to its end or its connection is closed: no caller ever reads another caller's answer."""

from __future__ import annotations

import asyncio
import random
import warnings
from typing import TYPE_CHECKING, Any

import aiomysql
import pytest

from romancy.errors import InternalError, StorageError
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import Actor, append, change, delivery, step, unique
from romancy_mysql._errors import LockWaitError, MismatchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.records import Append
    from romancy_mysql._connection import Wire
    from romancy_mysql._store import MySQLStore

    Open = Callable[..., Awaitable[MySQLStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]

LARGE = 300_000


FAILING = [
    "select * from missing",
    "select * from missing; select 1",
    "select 1; do 0; select * from missing",
    "do 0; select 1; select * from missing; select 2; select 3",
    "select repeat('x', 200000); select 1; selec 2; select 3",
    "select 1; select if(n < 3, n, (select 1 union all select 2)) from (select 1 as n union all select 3) v; do 0",
    "select 1; set @a = (select 1 union all select 2); select 2",
    "start transaction; select repeat('x', 200000); insert into romancy_workers values (1); commit",
]
"""Packets of several statements, one of which the server refuses."""


@pytest.mark.usefixtures("store")
async def test_after_an_error_amid_answers_the_next_one_is_its_own(wire: Wire) -> None:
    for packet in FAILING:
        for number in range(20):
            with pytest.raises((StorageError, InternalError, MismatchError)):
                await wire.run(packet.encode(), "test")
            answers = await wire.run(b"rollback; select %d; select %d" % (number, -number), "test")

            assert [answer.rows for answer in answers] == [(), ((number,),), ((-number,),)], packet


async def test_after_a_lock_wait_amid_answers_the_next_one_is_its_own(
    wire: Wire, open_store: Open, theirs: Callable[..., Awaitable[aiomysql.Connection]]
) -> None:
    actor = await Actor(await open_store(), workflows={unique("flow"): "c1"}).register()
    begun = await actor.begin()
    holder = await (await theirs()).cursor()
    await holder.execute("start transaction")
    await holder.execute("select * from romancy_instances where instance_id = %s for update", (begun.instance_id,))
    locking = b"select 1; select * from romancy_instances where instance_id = '%b' for update; select 2"

    with pytest.raises(LockWaitError):
        await wire.run(locking % begun.instance_id.encode(), "test")

    (answer,) = await wire.run(b"select 3", "test")
    assert answer.rows == ((3,),)
    await holder.execute("rollback")


@pytest.mark.long
async def test_whoever_is_cancelled_or_killed_leaves_nothing_to_read_for_others(open_store: Open, wire: Wire) -> None:
    """One connection for all: amid cancelled, interrupted and killed large answers, each reader gets its own."""
    store = await open_store("pool_size=3")
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    begun = [await actor.begin() for _ in range(4)]
    for number, one in enumerate(begun):
        body = b'["%b"]' % (b"%d" % number * (LARGE + number))
        assert await actor.write(step(one, 2, body)) is Outcome.ACCEPTED
    chance = random.Random(17)

    async def read(number: int) -> tuple[str, int]:
        history = await store.read(begun[number].instance_id)
        assert history is not None
        return history.instance.instance_id, len(history.rows[-1].body)

    for attempt in range(120):
        numbers = [chance.randrange(4) for _ in range(5)]
        calls = [asyncio.create_task(read(number)) for number in numbers]
        for _ in range(chance.randrange(60)):
            await asyncio.sleep(0)
        chance.choice(calls).cancel()
        if attempt % 10 == 0:
            await _disturb(wire, "kill query" if attempt % 20 else "kill")
        answers = await asyncio.gather(*calls, return_exceptions=True)

        expected = [(begun[number].instance_id, LARGE + number + 4) for number in numbers]
        fates = [answer if isinstance(answer, tuple) else type(answer) for answer in answers]
        assert [one for one in zip(fates, expected, strict=True) if not _own(*one)] == []


def _own(fate: object, expected: tuple[str, int]) -> bool:
    return fate == expected or (isinstance(fate, type) and issubclass(fate, asyncio.CancelledError | StorageError))


async def _disturb(wire: Wire, how: str) -> None:
    """Interrupt or end what the other connections to this database do."""
    others = "select id from information_schema.processlist where db = database() and id <> connection_id()"
    (answer,) = await wire.run(others.encode(), "test")
    for (one,) in answer.rows:
        try:
            await wire.run(f"{how} {one}".encode(), "test")
        except (StorageError, InternalError):  # it has ended by itself
            continue


async def test_crosswise_batches_under_fire_come_through(open_store: Open) -> None:
    """Batches lock each other's rows, some cancelled, some waiting: each outcome belongs to its own item."""
    stores = [await open_store("pool_size=3") for _ in range(2)]
    actors = [await Actor(store, workflows={unique("flow"): "c1"}).register() for store in stores]
    chance = random.Random(23)
    for _ in range(25):
        pairs = [(await actors[0].begin(), await actors[1].begin()) for _ in range(3)]
        items = [
            [append(one, 2, change=change(), deliveries=(delivery(two),)) for one, two in pairs],
            [append(two, 2, change=change(), deliveries=(delivery(one),)) for one, two in pairs[::-1]],
        ]
        calls: list[asyncio.Task[Any]] = [
            asyncio.create_task(actor.store.commit(batch, worker=actor.token))
            for actor, batch in zip(actors, items, strict=True)
            for _ in range(2)
        ]
        for _ in range(chance.randrange(40)):
            await asyncio.sleep(0)
        chance.choice(calls).cancel()
        await asyncio.wait(calls)
        assert {call.exception() for call in calls if not call.cancelled()} == {None}

        for actor, batch in zip(actors, items, strict=True):
            assert await actor.store.commit(batch, worker=actor.token) == [Outcome.ACCEPTED] * 3
            assert [await _head(actor, item) for item in batch] == [2, 2, 2]


async def _head(actor: Actor, item: Append | Any) -> int:
    history = await actor.store.read(item.instance_id)
    assert history is not None
    return history.rows[-1].seq


async def test_what_a_cursor_left_unread_is_not_the_next_sessions(open_store: Open) -> None:
    store = await open_store("pool_size=3")  # one connection for sessions
    with warnings.catch_warnings():  # from the driver, about the abandoned cursor
        warnings.simplefilter("ignore")
        async with store.services.sessions.begin() as session:
            native = session.native
            assert isinstance(native, aiomysql.Connection)
            cursor = await native.cursor(aiomysql.SSCursor)
            await cursor.execute("select repeat('x', 100000) from (select 1 as n union all select 2) v")

    async with store.services.sessions.begin() as session:
        (row,) = await session.fetch_all("select 7 as seven")

    assert row == {"seven": 7}
