"""Deadlocks and serialisation failures of the store's own calls: the store repeats them, and callers see none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy.storage.records import ClaimRequest, Delivered, OutboxRow, Outcome
from romancy_conformance.contract.building import Actor, append, change, delivery, full_log, start, step, unique
from romancy_conformance.contract.interleaving import listen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg

    from romancy_postgres._store import PostgresStore

    Open = Callable[..., Awaitable[PostgresStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]

_WAITS = "select count(*) from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'"
_DEADLOCKS = "select deadlocks from pg_stat_database where datname = current_database()"


@pytest.fixture
async def short_of_patience(connection: asyncpg.Connection, open_store: Open) -> PostgresStore:
    """A store whose transactions detect a deadlock first, and so are rolled back."""
    name = await connection.fetchval("select current_database()")
    await connection.execute(f"alter database \"{name}\" set deadlock_timeout = '30ms'")
    await connection.execute("set deadlock_timeout = '100s'")
    return await open_store()


class Holding:
    """Holds a transaction of the store before one of its statements, the first time that it is sent."""

    def __init__(self, statement: str) -> None:
        self._statement = statement
        self.reached = asyncio.Event()
        self.go = asyncio.Event()
        self.times = 0

    async def __call__(self, statement: str, /) -> None:
        if statement == self._statement:
            self.times += 1
            self.reached.set()
            await self.go.wait()


async def test_a_commit_that_loses_a_deadlock_is_tried_again(
    short_of_patience: PostgresStore, connection: asyncpg.Connection
) -> None:
    """A7: it holds the instance and asks for the outbox row; another transaction does the reverse."""
    store = short_of_patience
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    begun, outbox_id, child = await actor.begin(), unique("out"), start()
    outgoing = OutboxRow(outbox_id=outbox_id, topic="t", body=b"{}")
    # A message to its own child makes it a transaction of several statements.
    item = append(begun, 2, change=change(), outbox=(outgoing,), starts=(child,), deliveries=(delivery(child),))
    before = await connection.fetchval(_DEADLOCKS)
    theirs = connection.transaction()
    await theirs.start()
    await connection.execute(
        "insert into romancy_outbox (at, outbox_id, topic, body) values (1, $1, 'x', 'x')", outbox_id
    )

    holding = Holding("outbox_add")
    listen(store, holding)
    committing = asyncio.create_task(store.commit([item], worker=actor.token))
    await holding.reached.wait()
    lock = "select from romancy_instances where instance_id = $1 for update"
    crossing = asyncio.create_task(connection.execute(lock, begun.instance_id))
    async with asyncio.timeout(60), store.services.sessions.begin() as session:
        while (await session.fetch_all(_WAITS, connection.get_server_pid()))[0]["count"] == 0:
            await session.execute("select pg_sleep(0.01), pg_stat_clear_snapshot()")
    holding.go.set()
    await crossing
    await theirs.rollback()

    assert [Outcome.ACCEPTED] == await committing
    assert holding.times >= 2, "the commit is tried again; it may overtake the other, and meet it once more"
    assert 2 == len(await full_log(store, begun.instance_id))
    await store.close()  # an idle connection reports what it counted after ten seconds, one that ends at once
    async with asyncio.timeout(60):
        while await connection.fetchval(_DEADLOCKS) <= before:
            await connection.execute("select pg_sleep(0.05)")


_FAILS = """
create sequence failures;
create function fail() returns trigger language plpgsql as $$
begin
    if nextval('failures') <= 3 then
        raise exception 'could not serialize access' using errcode = '{state}';
    end if;
    return new;
end
$$;
create trigger fails before insert or update on {table} for each row execute function fail();
"""


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_every_call_is_tried_again_whatever_the_server_calls_it(
    store: PostgresStore, actor: Actor, connection: asyncpg.Connection, state: str
) -> None:
    """READ COMMITTED never raises these by itself, but a fork of PostgreSQL or a user's trigger may."""
    begun, fresh = [await actor.begin() for _ in range(2)], start()
    due = start(workflow_name=next(iter(actor.workflows)))
    await store.commit([due])
    first, second = begun
    row = OutboxRow(outbox_id=unique("out"), topic="t", body=b"{}")
    claim = ClaimRequest(worker=actor.token, codes=actor.workflows, limit=5)
    calls: list[tuple[str, Callable[[], Awaitable[object]], object]] = [
        ("log", lambda: store.commit([step(first, 2)], worker=actor.token), [Outcome.ACCEPTED]),
        (
            "log",
            lambda: store.commit([step(first, 3), step(second, 2)], worker=actor.token),
            [Outcome.ACCEPTED] * 2,
        ),
        (
            "instances",
            lambda: store.commit([append(second, 3, change=change())], worker=actor.token),
            [Outcome.ACCEPTED],
        ),
        ("outbox", lambda: store.commit([append(second, 4, outbox=(row,))], worker=actor.token), [Outcome.ACCEPTED]),
        ("instances", lambda: store.commit([fresh]), [Outcome.ACCEPTED]),
        ("inbox", lambda: store.deliver([delivery(first)]), [Delivered.ACCEPTED]),
        ("workers", lambda: store.heartbeat(actor.worker), True),
        ("instances", lambda: store.claim(claim), [due.instance_id]),
    ]
    for table, call, expected in calls:
        await connection.execute(_FAILS.format(state=state, table=f"romancy_{table}"))
        answer = await call()
        failed = await connection.fetchval("select last_value from failures")
        await connection.execute("drop function fail cascade; drop sequence failures")

        assert expected == getattr(
            answer, "alive", [one.instance_id for one in getattr(answer, "claimed", ())] or answer
        )
        assert failed > 3
