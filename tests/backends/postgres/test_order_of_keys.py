"""New rows are inserted in the order of their keys, however they were given.

Two transactions that insert the same keys then never wait for each other crosswise. The server would end one of them
after a second, and the store would make its call again, so no answer tells the order. The place of the rows does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import Status
from romancy.storage.outbox import OutboxRow
from romancy.storage.records import Append, Outcome, PruneRequest
from romancy.storage.routing import OUTSIDE, Owner, Place, Posting, Spread
from romancy_conformance.contract.building import append, change, delivery, start, unique
from romancy_conformance.contract.routing.scenes import Receiver, drained, posting, take

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from romancy.storage.records import Delivery
    from romancy_conformance.contract.building import Actor
    from romancy_postgres._store import PostgresStore

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]

MIXED = ("b", "A", "_", "a", "Z", "B")
"""Neither in the order of their bytes, nor in that of a language, nor in the reverse of either."""


async def in_order(
    connection: asyncpg.Connection, table: str, keys: str, kind: str = "", count: int = len(MIXED)
) -> None:
    """The newest rows of a table whose first key is of this kind lie in the order of their keys."""
    rows = await connection.fetch(f"select {keys} from romancy_{table} order by ctid")  # noqa: S608 - names of ours
    found = [row for row in map(tuple, rows) if row[0].startswith(kind)][-count:]
    assert len(found) == count
    assert found == sorted(found), table


def named(kind: str) -> list[str]:
    """Several ids, mixed."""
    common = unique(kind)
    return [f"{common}-{one}" for one in MIXED]


def outgoing() -> tuple[OutboxRow, ...]:
    return tuple(OutboxRow(outbox_id=one, topic="t", body=b"{}", instance_id=None) for one in named("o"))


def posts() -> list[Posting]:
    return [
        posting(address, places=(Place(address, Spread.ONE),), message_id=message, dedupe=unique("k"))
        for address, message in zip(named("a"), named("m"), strict=True)
    ]


async def mail(actor: Actor) -> list[Delivery]:
    """Messages for several instances."""
    return [delivery(await actor.begin(one), dedupe=unique("k")) for one in named("i")]


async def carrying(actor: Actor) -> dict[str, Any]:
    """What an append can carry, with several of each."""
    return {
        "starts": tuple(start(one, delay=None) for one in named("c")),
        "outbox": outgoing(),
        "deliveries": tuple(await mail(actor)),
        "postings": tuple(posts()),
    }


async def carried_in_order(connection: asyncpg.Connection) -> None:
    for table, keys, kind in (
        ("instances", "instance_id", "c-"),
        ("outbox", "outbox_id", "o-"),
        ("inbox", "instance_id, delivery_id", "i-"),
        ("messages", "message_id, address", "m-"),
        ("seen", "unit, dedupe", "i-"),
        ("seen", "unit, dedupe", "a-"),
    ):
        await in_order(connection, table, keys, kind)


@pytest.mark.parametrize("way", ["an append", "a first append", "a session", "a joined session"])
async def test_what_an_append_carries(actor: Actor, connection: asyncpg.Connection, way: str) -> None:
    mine, carried, sessions = await actor.begin(), await carrying(actor), actor.store.services.sessions
    if way == "an append":
        assert await actor.write(append(mine, 2, **carried)) is Outcome.ACCEPTED
    elif way == "a first append":
        assert await actor.write(start("0", delay=None, **carried)) is Outcome.ACCEPTED
    elif way == "a session":
        async with sessions.begin() as session:
            item = append(mine, 2, after=mine.writer, **carried)
            assert await session.commit(item, worker=actor.token) is Outcome.ACCEPTED
    else:
        async with sessions.begin() as outer:
            async with sessions.join(outer.native) as joined:
                assert await joined.commit(start("0", delay=None, **carried)) is Outcome.ACCEPTED
            assert await outer.commit(append(mine, 2), worker=actor.token) is Outcome.ACCEPTED

    await carried_in_order(connection)


async def test_messages(actor: Actor, connection: asyncpg.Connection) -> None:
    messages = await mail(actor)
    assert set(await actor.store.deliver(messages)) == {"accepted"}
    assert set(await actor.store.services.router.post(posts())) == {"accepted"}

    await in_order(connection, "inbox", "instance_id, delivery_id")
    await in_order(connection, "messages", "message_id, address")
    await in_order(connection, "seen", "unit")


async def test_messages_of_a_joined_session(actor: Actor, connection: asyncpg.Connection) -> None:
    mine, messages, sessions = await actor.begin(), await mail(actor), actor.store.services.sessions
    async with sessions.begin() as outer:
        async with sessions.join(outer.native) as joined:
            assert set(await joined.send(messages, outgoing())) == {"accepted"}
        assert await outer.commit(append(mine, 2), worker=actor.token) is Outcome.ACCEPTED

    await in_order(connection, "inbox", "instance_id, delivery_id")
    await in_order(connection, "seen", "unit")
    await in_order(connection, "outbox", "outbox_id")


async def test_sets_of_declared_paths(actor: Actor, connection: asyncpg.Connection) -> None:
    begun: list[Append] = []
    for one in named("flow"):
        index = (("a", "1"), (unique("b"), "2"))
        begun.append(start(workflow_name=one, owner=actor.token, status=Status.RUNNING, index=index))
    assert set(await actor.store.commit(begun, worker=actor.token)) == {Outcome.ACCEPTED}
    await in_order(connection, "index_sets", "workflow_name, paths")

    anew = [
        append(one, 2, change=change(run_from=2, input=b"1", index=((unique("c"), "1"),)), starts=(start(delay=None),))
        for one in begun
    ]
    assert set(await actor.store.commit(anew, worker=actor.token)) == {Outcome.ACCEPTED}
    await in_order(connection, "index_sets", "workflow_name, paths")


async def taken(receiver: Receiver, store: PostgresStore, ids: Sequence[str], address: str) -> None:
    """Take messages one by one, the way they are named."""
    for one in ids:
        await receiver.want(take(address))
        assert await store.services.router.post([posting(address, message_id=one)]) == ["accepted"]
        assert await drained(store, address) == 1


@pytest.mark.parametrize("way", ["given back", "pruned", "swept"])
async def test_messages_that_return(
    actor: Actor, store: PostgresStore, connection: asyncpg.Connection, way: str
) -> None:
    receiver, ids = Receiver(actor, await actor.begin()), named("m")
    await taken(receiver, store, ids, unique("a"))
    if way == "given back":
        assert await store.services.router.give_back(receiver.owner, ids) == len(ids)
    else:
        await receiver.change(change(Status.COMPLETED, seen=len(ids)))
        if way == "pruned":
            assert await store.services.upkeep.prune(PruneRequest(instance_ids=(receiver.instance_id,))) == 1
        else:
            await drained(store)

    await in_order(connection, "messages", "message_id, address")


async def test_letters_that_return(store: PostgresStore, connection: asyncpg.Connection) -> None:
    owner, ids, address = Owner(unique("s"), OUTSIDE), named("m"), unique("a")
    for one in ids:
        await store.services.router.register(owner, take(address))
        assert await store.services.router.post([posting(address, message_id=one)]) == ["accepted"]
        assert await drained(store, address) == 1
    letters = [one.letter_id for one in await store.services.router.letters(owner.name, limit=100)]
    assert await store.services.router.give_back(owner, letters) == len(ids)

    await in_order(connection, "messages", "message_id, address")
