"""A call that is given up leaves no operation and no transaction open."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy.storage.outbox import OutboxState
from romancy.storage.query import build_query
from romancy.storage.records import PruneRequest, Worker
from romancy.storage.routing import OUTSIDE, Owner, Spread
from romancy_conformance.contract.building import unique
from romancy_conformance.contract.interleaving import Hold, held_at, leave, listen, run
from romancy_conformance.contract.publishing import MINUTE, Publisher, ended, outgoing, take
from romancy_conformance.contract.routing.scenes import copy, post
from romancy_conformance.contract.routing.scenes import take as wish
from tests.backends.operations.scenes import Begun, dialect, ended_instances, receiver, victim_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store

    Call = Callable[[Store], Awaitable[Any]]


pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")]


class HoldOwn(Hold):
    """Holds a statement of the call, and not the report of changes that follows it."""

    async def __call__(self, statement: str, /) -> None:
        if statement != "notify":
            await super().__call__(statement)


async def given_up_at(store: Store, number: int, call: Awaitable[object], begun: Begun) -> bool:
    """Cancel the call before its statement of this number. False if it has fewer.

    On SQLite, a small call runs without an await: what is held at its COMMIT may be over before it is cancelled.
    """
    hold = HoldOwn(number)
    listen(store, hold)
    running = run(store, call)
    held = await held_at(hold, running)
    if held:
        running.cancel()
    await asyncio.wait({running})
    if begun.operations:
        await begun.over()
    leave(store)
    assert held == running.cancelled() or (held and dialect(store) == "sqlite")
    return held


async def _claim(publisher: Publisher, store: Store) -> Call:
    await publisher.publish_each(outgoing("k"), outgoing("k"), outgoing())
    return lambda held: held.services.outbox.claim(unique("c"), lease=MINUTE, limit=10)


async def _settle(publisher: Publisher, store: Store) -> Call:
    await publisher.publish_each(outgoing("k"), outgoing("k"), outgoing())
    settled = [ended(one) for one in await take(store)]
    return lambda held: held.services.outbox.settle(settled)


async def _remove(publisher: Publisher, store: Store) -> Call:
    sent = await publisher.publish_each(outgoing("k"), outgoing("k"), outgoing())
    await take(store)
    return lambda held: held.services.outbox.remove([sent[0], sent[2]])


async def _sweep(publisher: Publisher, store: Store) -> Call:
    await publisher.publish_each(outgoing("k"), outgoing("k"), outgoing())
    await take(store)
    return lambda held: held.services.outbox.sweep()


async def _requeue(publisher: Publisher, store: Store) -> Call:
    await publisher.publish_each(outgoing("k"), outgoing("k"), outgoing())
    await store.services.outbox.settle([ended(one, OutboxState.FAILED) for one in await take(store)])
    return lambda held: held.services.outbox.requeue([OutboxState.FAILED])


async def _heartbeat(publisher: Publisher, store: Store) -> Call:
    worker = Worker(token=unique("t"), worker_id="w", lease=MINUTE, codes=("a 1", "b 2"))
    return lambda held: held.heartbeat(worker)


async def _take_over(publisher: Publisher, store: Store) -> Call:
    survivor, peer, _ = await victim_of(store)
    return lambda held: held.takeover(survivor.token, peer, b"[]", unique("w"))


async def _prune(publisher: Publisher, store: Store) -> Call:
    over = await ended_instances(store)
    return lambda held: held.services.upkeep.prune(PruneRequest(instance_ids=over))


async def _register(publisher: Publisher, store: Store) -> Call:
    address = unique("c")
    await post(store, address, Spread.CHANNEL, 2)
    owner = Owner(unique("s"), OUTSIDE)
    return lambda held: held.services.router.register(owner, copy(address, interest_id="i"))


async def _dispatch(publisher: Publisher, store: Store) -> Call:
    key, kind = unique("k"), unique("e")
    one = await receiver(store)
    await one.want(wish(key), copy(kind))
    await store.services.router.register(Owner(unique("s"), OUTSIDE), copy(kind))
    await post(store, key)
    await post(store, kind, Spread.EVERY)
    return lambda held: held.services.router.dispatch([key, kind])


async def _give_back(publisher: Publisher, store: Store) -> Call:
    key = unique("k")
    one = await receiver(store)
    await one.want(wish(key), wish(key))
    messages = await post(store, key, count=2)
    assert (await store.services.router.dispatch([key])).delivered == len(messages)
    return lambda held: held.services.router.give_back(one.owner, [message.message_id for message in messages])


async def _expire(publisher: Publisher, store: Store) -> Call:
    await post(store, unique("k"), count=2)
    return lambda held: held.services.router.expire(2**60)


async def _find(publisher: Publisher, store: Store) -> Call:
    (row,) = (await store.services.reading.find(build_query(limit=1))).rows
    query = build_query({"a": 1}, workflow_name=row.workflow_name)
    return lambda held: held.services.reading.find(query)


@pytest.mark.parametrize(
    "prepare",
    [
        _claim,
        _settle,
        _remove,
        _sweep,
        _requeue,
        _heartbeat,
        _register,
        _dispatch,
        _give_back,
        _expire,
        _take_over,
        _prune,
        _find,
    ],
)
async def test_a_call_cancelled_at_any_statement_closes_its_operation_and_its_transaction(
    stores: tuple[Store, Store],
    publisher: Publisher,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[Publisher, Store], Awaitable[Call]],
) -> None:
    held, store = stores
    number, statement_was_held = 0, True
    while statement_was_held:
        number += 1
        call = await prepare(publisher, store)
        with monkeypatch.context() as patch:
            statement_was_held = await given_up_at(held, number, call(held), Begun(patch))
        async with asyncio.timeout(20):  # nothing is locked, and nothing is lost
            await call(store)
            await all_sent(store)
    assert number > 1


async def all_sent(store: Store) -> None:
    """End every message, also those of claims that nobody knows of."""
    while entries := await store.services.outbox.entries([OutboxState.PENDING]):
        await store.services.outbox.settle([ended(one) for one in entries if one.claim is not None])
        await store.services.outbox.sweep()
        await take(store)
