"""A commit has one time, which is read after its locks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.outbox import OutboxRow
from romancy_conformance.contract.building import append, change, delivery, unique
from romancy_conformance.contract.routing.scenes import posting, take

if TYPE_CHECKING:
    import asyncpg

    from romancy_conformance.contract.building import Actor

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]

_TIMES = """
select at from romancy_log where instance_id = $1 and seq = 2
union all select updated_at from romancy_instances where instance_id = $1
union all select at from romancy_outbox where instance_id = $1
union all select queued_at from romancy_outbox where instance_id = $1
union all select at from romancy_interests where owner = $1
union all select at from romancy_messages where address = $2
union all select at from romancy_seen where unit in ($2, $3)
union all select at from romancy_inbox where instance_id = $3
"""


async def test_all_rows_of_an_append_have_one_time(actor: Actor, connection: asyncpg.Connection) -> None:
    one, other, key = await actor.begin(), await actor.begin(), unique("k/")
    item = append(
        one,
        2,
        change=change(Status.RUNNING),
        outbox=(OutboxRow(outbox_id=unique("o"), topic="t", body=b"1", instance_id=one.instance_id),),
        interests=(take(unique("k/")),),
        postings=(posting(key, dedupe=unique()),),
        deliveries=(delivery(other, dedupe=unique()),),
    )

    assert await actor.write(item) == "accepted"

    times = [row[0] for row in await connection.fetch(_TIMES, one.instance_id, key, other.instance_id)]
    assert len(times) == 9
    assert len(set(times)) == 1


async def test_the_time_of_an_append_is_later_than_its_wait_for_the_row(
    actor: Actor, connection: asyncpg.Connection
) -> None:
    one = await actor.begin()
    held = connection.transaction()
    await held.start()
    await connection.fetch("select from romancy_instances where instance_id = $1 for update", one.instance_id)
    writing = asyncio.create_task(actor.write(append(one, 2, change=change(Status.RUNNING))))
    while not await connection.fetchval("select count(*) from pg_locks where not granted"):
        pass
    waited = await connection.fetchval("select romancy_now()")
    await held.rollback()

    assert await writing == "accepted"
    assert waited < await connection.fetchval(
        "select updated_at from romancy_instances where instance_id = $1", one.instance_id
    )
