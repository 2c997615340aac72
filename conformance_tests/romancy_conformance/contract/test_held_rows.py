"""A transaction of somebody else holds the row of an instance: what is about other instances goes on at once."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import Status
from romancy.storage.outbox import OutboxRow
from romancy.storage.records import Delivered, Outcome
from romancy_conformance.contract.building import append, change, delivery, start, unique
from romancy_conformance.contract.fire.contention import has_row_locks
from romancy_conformance.contract.routing.scenes import Receiver, drained, post, take

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor

    Open = Callable[[], Awaitable[Store]]

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def held(actor: Actor, open_store: Open) -> AsyncGenerator[Append]:
    """Hold the row of an instance with a message in its inbox, on another connection."""
    store = actor.store
    if not has_row_locks(store):
        pytest.skip(f"capability: {store.capabilities.name} locks no rows")
    begun = await actor.begin()
    assert await store.deliver([delivery(begun)]) == [Delivered.ACCEPTED]
    async with (await open_store()).services.sessions.begin() as session:
        for table in ("romancy_instances", "romancy_inbox"):
            sql = f"select instance_id from {table} where instance_id = '{begun.instance_id}' for update"  # noqa: S608 - an id of this suite's
            assert len(await session.fetch_all(sql)) == 1
        yield begun


def sent(by: Append) -> tuple[OutboxRow, ...]:
    return (OutboxRow(outbox_id=unique("o"), topic="t", body=b"{}", instance_id=by.instance_id),)


@pytest.mark.parametrize("road", ["changes", "takes mail", "sends", "starts and sends", "ends"])
async def test_an_append_waits_for_no_other_instance(actor: Actor, open_store: Open, road: str) -> None:
    mine, target, mail = await actor.begin(), await actor.begin(), unique("d")
    assert await actor.store.deliver([delivery(mine, delivery_id=mail)]) == [Delivered.ACCEPTED]
    roads: dict[str, Append] = {
        "changes": append(mine, 2, change=change(seen=1)),
        "takes mail": append(mine, 2, consumed=(mail,)),
        "sends": append(mine, 2, deliveries=(delivery(target),), outbox=sent(mine)),
        "starts and sends": start(deliveries=(delivery(target),), starts=(start(),)),
        "ends": append(mine, 2, change=change(Status.COMPLETED, seen=1), starts=(start(),)),
    }

    async with held(actor, open_store):
        assert await actor.store.commit([roads[road]], worker=actor.token) == [Outcome.ACCEPTED]


async def test_a_message_waits_for_no_other_instance(actor: Actor, open_store: Open) -> None:
    mine = await actor.begin()

    async with held(actor, open_store):
        assert await actor.store.deliver([delivery(mine)]) == [Delivered.ACCEPTED]


async def test_a_session_that_sends_waits_for_no_other_instance(actor: Actor, open_store: Open) -> None:
    mine, target = await actor.begin(), await actor.begin()

    async with held(actor, open_store), actor.store.services.sessions.begin() as session:
        item = append(mine, 2, after=mine.writer, deliveries=(delivery(target),))
        assert await session.commit(item, worker=actor.token) is Outcome.ACCEPTED


async def test_a_message_comes_back_whoever_holds_other_rows(actor: Actor, open_store: Open) -> None:
    receiver, address = Receiver(actor, await actor.begin()), unique("k")
    await receiver.want(take(address))
    (message,) = await post(actor.store, address)
    assert await drained(actor.store, address) == 1

    async with held(actor, open_store):
        assert await actor.store.services.router.give_back(receiver.owner, [message.message_id]) == 1


async def test_a_dispatch_counts_the_mail_of_others_at_once(actor: Actor, open_store: Open) -> None:
    receiver, address = Receiver(actor, await actor.begin()), unique("k")
    await receiver.want(take(address))
    await post(actor.store, address)

    async with held(actor, open_store):
        done: Any = await actor.store.services.router.dispatch([address])
        assert done.delivered == 1
        assert await receiver.signals() == 1
