"""Statements that carry their settings: made first, in each statement that writes, and nowhere else."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

import asyncpg
import pytest

from romancy.errors import StorageConfigurationError
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import Actor, step, unique
from romancy_postgres._errors import translated
from romancy_postgres._pooling import carrying
from romancy_postgres._scripts import texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_postgres._store import PostgresStore

    Open = Callable[..., Awaitable[PostgresStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]


class Plain:
    def __init__(self) -> None:
        self.queries = texts()


PLAIN: Final = Plain().queries
LONE: Final = carrying(Plain(), durable=True).queries
CARRYING: Final = sorted(name for name, text in LONE.items() if text != PLAIN[name])


def test_every_statement_that_writes_carries_its_settings() -> None:
    for name, text in LONE.items():
        writes = re.search(r"\b(insert into|update|delete from)\b", text) is not None
        assert not writes or name in CARRYING, name
    assert {"append_one", "append_many", "start", "claim", "beat", "deliver"} <= set(CARRYING)
    assert not {"read", "mailboxes", "find_any", "server", "notify"} & set(CARRYING)


@pytest.mark.usefixtures("store")  # which has made the tables
async def test_the_settings_are_made_before_anything_else(connection: asyncpg.Connection) -> None:
    await connection.execute("set plan_cache_mode = force_generic_plan")
    for name in CARRYING:
        numbers = [int(found) for found in re.findall(r"\$(\d+)", LONE[name])]
        await connection.execute(f"prepare {name} as {LONE[name]}")
        nulls = ", ".join(["null"] * max(numbers, default=0))
        plan = [row[0] for row in await connection.fetch(f"explain execute {name}{nulls and f'({nulls})'}")]

        top = next(number for number, line in enumerate(plan) if "One-Time Filter" in line)
        assert plan[0].startswith("Result"), name
        assert top == 1, name
        found = re.search(r"\$\d+|InitPlan \d+", plan[top])
        assert found is not None, name


async def test_a_statement_alone_is_durable_and_waits_for_a_lock_like_the_engine(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    """Whatever is set in the session. A trigger that runs at the commit notes what the settings are there."""
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    begun = await actor.begin()
    await connection.execute(
        """
        create table noted (durable text, patience text);
        create function note() returns trigger language plpgsql as $$ begin
            insert into noted values (current_setting('synchronous_commit'), current_setting('lock_timeout'));
            return null;
        end $$;
        create constraint trigger at_commit after insert on romancy_log deferrable initially deferred
            for each row execute function note();
        set synchronous_commit = off; set lock_timeout = 0
        """
    )
    row = step(begun, 2)

    added = await connection.fetch(
        LONE["append_one"], actor.token, row.instance_id, row.life, row.seq, row.writer, row.body, row.behind
    )

    assert len(added) == 1
    assert [tuple(noted) for noted in await connection.fetch("select * from noted")] == [("on", "1s")]
    assert await connection.fetchval("show synchronous_commit") == "off"


async def test_a_lock_is_not_waited_for_longer_than_a_second(
    store: PostgresStore, connection: asyncpg.Connection, open_store: Open
) -> None:
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    begun = await actor.begin()
    holder = await open_store()
    async with holder.services.sessions.begin() as session:
        await session.execute("select from romancy_instances where instance_id = $1 for update", begun.instance_id)
        loop = asyncio.get_running_loop()
        since = loop.time()
        with pytest.raises(asyncpg.LockNotAvailableError):
            await connection.fetch(LONE["give_back"], begun.instance_id, begun.life, ["none"], None)
        assert 0.9 < loop.time() - since < 10
    assert await actor.write(step(begun, 2)) is Outcome.ACCEPTED


async def test_a_pooler_that_refuses_a_password_is_believed() -> None:
    """PgBouncer says it under the state of a refused setting."""
    error = translated(asyncpg.ProtocolViolationError("SASL authentication failed"), "there")

    assert isinstance(error, StorageConfigurationError)
    assert "the password is wrong" in str(error)
