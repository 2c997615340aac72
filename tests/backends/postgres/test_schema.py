"""Where the tables are: under a prefix, in a schema, beside other tables; and how they are created."""

from __future__ import annotations

import asyncio
from secrets import token_hex
from typing import TYPE_CHECKING

import pytest

from romancy.errors import SchemaVersionError, StorageConfigurationError
from romancy.storage.query import build_query
from romancy.storage.records import ClaimRequest, Delivered, Outcome
from romancy.storage.url import parse_url
from romancy_conformance.contract.building import Actor, delivery, start, step
from romancy_postgres import create_store
from romancy_postgres._migrations import known_migrations

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg

    from romancy_postgres._store import PostgresStore

    Open = Callable[..., Awaitable[PostgresStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres"), pytest.mark.usefixtures("empty_url")]


async def use(store: PostgresStore) -> None:
    """Use a store: every kind of statement, on one instance."""
    actor = await Actor(store, workflows={"flow": "c1"}).register()
    item = start(owner=actor.token, index=(("a", "s:x"),), projection=b'{"a":"s:x"}')
    assert await store.commit([item], worker=actor.token) == [Outcome.ACCEPTED]
    assert await actor.write(step(item, 2)) is Outcome.ACCEPTED
    assert await store.deliver([delivery(item)]) == [Delivered.ACCEPTED]
    work = await store.claim(ClaimRequest(worker=actor.token, codes={"flow": "c1"}, limit=1, sweep=True, recover=True))
    assert [box.instance_id for box in work.mail] == [item.instance_id]
    async with store.services.sessions.begin() as session:
        assert await session.commit(step(item, 3), worker=actor.token) is Outcome.ACCEPTED
    found = await store.services.reading.find(build_query({"a": "x"}, workflow_name="low"))
    assert [row.instance_id for row in found.rows] == [item.instance_id]


async def test_prefixes_and_schemas_stand_side_by_side(open_store: Open, connection: asyncpg.Connection) -> None:
    """One instance in each, so each store finds only its own; `order` is an SQL keyword and still a valid name."""
    places = ["", "prefix=mine_", "schema=order", "schema=order&prefix=mine_"]
    for place in places:
        await use(await open_store(place))

    rows = await connection.fetch(
        "select table_schema, table_name from information_schema.tables where table_name like '%instances'"
    )
    expected = [(schema, f"{prefix}instances") for schema in ("order", "public") for prefix in ("mine_", "romancy_")]
    assert sorted(map(tuple, rows)) == expected


async def test_a_schema_needs_no_search_path(open_store: Open, connection: asyncpg.Connection) -> None:
    name = await connection.fetchval("select current_database()")
    await connection.execute(f'alter database "{name}" set search_path to pg_catalog')

    await use(await open_store("schema=apart"))


async def test_ten_at_once_make_a_schema_once(open_store: Open, connection: asyncpg.Connection) -> None:
    stores = await asyncio.gather(*(open_store("schema=apart") for _ in range(10)))

    rows = await connection.fetch("select version, name from apart.romancy_schema")
    assert [tuple(row) for row in rows] == [(one.version, one.name) for one in known_migrations()]
    await use(stores[-1])


async def test_a_migration_that_fails_leaves_nothing(open_store: Open, connection: asyncpg.Connection) -> None:
    """DDL is transactional here: half a schema is never seen."""
    await connection.execute("create view romancy_events as select 1 as one")

    with pytest.raises(Exception, match="romancy_events"):
        await open_store()

    assert await connection.fetch("select tablename from pg_tables where schemaname = 'public'") == []


async def test_a_role_that_may_not_create_is_told_so(
    open_store: Open, connection: asyncpg.Connection, storage_url: str
) -> None:
    _, url = await poor_role(connection, storage_url)

    for options in ("", "schema=apart"):
        with pytest.raises(StorageConfigurationError, match="privilege"):
            await open_store(options, url=url)
    with pytest.raises(SchemaVersionError, match="migrate"):
        await create_store(parse_url(url)).open(migrate=False)


async def test_a_role_needs_no_more_than_the_rows(
    open_store: Open, connection: asyncpg.Connection, storage_url: str
) -> None:
    """One role migrates, another works: the latter neither owns nor changes any table, also of a newer schema."""
    await open_store()
    await connection.execute(
        "insert into romancy_schema (version, name, applied_at, additive) values (9998, '9998_future', 0, true)"
    )
    role, url = await poor_role(connection, storage_url)
    await connection.execute(f"grant select, insert, update, delete on all tables in schema public to {role}")

    await use(await open_store(url=url))


async def poor_role(connection: asyncpg.Connection, url: str) -> tuple[str, str]:
    """A role without privileges, and the URL under which it comes."""
    role = f"poor_{token_hex(6)}"
    await connection.execute(f"create role {role} login password 'poor'; grant usage on schema public to {role}")
    return role, f"postgresql://{role}:poor@{url.partition('@')[2]}"
