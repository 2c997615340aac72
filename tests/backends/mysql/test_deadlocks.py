"""Deadlocks of the store's own calls: the store repeats the call, and its own transactions cause none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy.storage.records import OutboxRow, Outcome
from romancy_conformance.contract.building import Actor, append, change, delivery, full_log, unique
from romancy_conformance.contract.interleaving import listen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.records import Append
    from romancy_mysql._connection import Wire
    from romancy_mysql._store import MySQLStore

    Open = Callable[..., Awaitable[MySQLStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]


class Holding:
    """Records a store's statements, and holds the first of one name until it is released."""

    def __init__(self, held: str = "", told: tuple[str, ...] = ()) -> None:
        self._held = held
        self._told = told
        self.said: list[str] = []
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, statement: str, /) -> None:
        self.said.append(statement)
        if statement in (self._held, *self._told):
            self.reached.set()
        if statement == self._held:
            await self.go.wait()

    @property
    def tries(self) -> int:
        return self.said.count("append_log")


async def test_a_commit_that_loses_a_deadlock_is_tried_again(store: MySQLStore, actor: Actor, wire: Wire) -> None:
    """A7: it holds the instance and asks for the outbox row; another transaction does the reverse."""
    begun, outbox_id = await actor.begin(), unique("out")
    item = append(begun, 2, change=change(), outbox=(OutboxRow(outbox_id=outbox_id, topic="t", body=b"{}"),))
    await wire.run(b"create table heavy (n integer)", "test")
    await wire.run(b"set innodb_lock_wait_timeout = 100; start transaction", "test")
    # The server rolls back the transaction that has changed less.
    await wire.run(b"insert into heavy values " + b", ".join([b"(1)"] * 300), "test")
    await wire.run(
        b"insert into romancy_outbox (outbox_id, topic, body, at) values ('%b', '', '', 1)" % outbox_id.encode(), "test"
    )

    holding = Holding("add_outbox")
    listen(store, holding)
    committing = asyncio.create_task(store.commit([item], worker=actor.token))
    await holding.reached.wait()
    lock = b"select 1 from romancy_instances where instance_id = '%b' for update" % begun.instance_id.encode()
    crossing = asyncio.create_task(wire.run(lock, "test"))
    holding.go.set()
    await crossing
    await wire.run(b"rollback", "test")

    assert [Outcome.ACCEPTED] == await committing
    assert holding.tries == 2
    assert 2 == len(await full_log(store, begun.instance_id))


async def test_commits_to_each_others_instances_make_no_deadlock(open_store: Open) -> None:
    """A7: each changes its own row and sends to the other's instance; all rows are locked in one order."""
    stores = [await open_store() for _ in range(2)]
    actors = [await Actor(store, workflows={unique("flow"): "c1"}).register() for store in stores]
    mine, yours = [await actor.begin() for actor in actors]
    first, second = Holding("signal_instances"), Holding(told=("lock_instances", "signal_instances"))

    def crossing(number: int) -> Append:
        own, other = ((mine, yours), (yours, mine))[number]
        return append(own, 2, change=change(), deliveries=(delivery(other),))

    listen(stores[0], first)
    listen(stores[1], second)
    one = asyncio.create_task(stores[0].commit([crossing(0)], worker=actors[0].token))
    await first.reached.wait()
    other = asyncio.create_task(stores[1].commit([crossing(1)], worker=actors[1].token))
    await second.reached.wait()
    first.go.set()

    assert [[Outcome.ACCEPTED], [Outcome.ACCEPTED]] == [await one, await other]
    assert (first.tries, second.tries) == (1, 1)
