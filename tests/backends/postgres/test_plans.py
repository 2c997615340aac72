"""Plans: with many rows, and statistics that do not show them, no statement of the engine reads a whole table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.storage.query import Position, Query, build_query
from romancy.storage.sqlkit.searches import Known
from romancy.storage.url import parse_url
from romancy_conformance.contract.plans import watch_for
from romancy_postgres import create_store
from romancy_postgres._find import compose

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg

    from romancy_postgres._store import PostgresStore

    Open = Callable[..., Awaitable[PostgresStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]

_MIDDLE = 10_000
_COMPLETED = build_query(status="completed").statuses
_FILL = """
insert into romancy_index_sets (workflow_name, paths, members)
select 'flow' || g, 'customer', '{customer}' from generate_series(0, 4) g;
insert into romancy_instances
    (life, created_at, updated_at, wake_at, instance_id, workflow_name, status, code, index_paths, input, projection,
     parent)
select 1, g, g, case when g % 10 = 0 then g end, 'i' || g, 'flow' || g % 5,
       case when g % 10 = 0 then 'waiting' when g <= 30 then 'failed' else 'completed' end, 'c1', 'customer',
       '\\x', jsonb_build_object('customer', 's:c' || g % 4000), case when g <= 30 then 'old' end
from generate_series(1, 20000) g;
insert into romancy_index (path, value, created_at, instance_id)
select 'customer', 's:c' || g % 4000, g, 'i' || g from generate_series(1, 20000) g;
insert into romancy_log (life, seq, at, instance_id, writer, body)
select 1, s, g, 'i' || g, 'w', '\\x' from generate_series(1, 20000) g, generate_series(1, 2) s;
insert into romancy_seen (at, life, unit, dedupe)
select g, g % 2, 'i' || g % 100, 'k' || g from generate_series(1, 20000) g;
insert into romancy_inbox (at, counted, instance_id, delivery_id, body)
select g, true, 'i' || g, 'd', '\\x' from generate_series(1, 20000) g;
insert into romancy_outbox (at, outbox_id, topic, body)
select g, 'o' || g, 't', '\\x' from generate_series(1, 20000) g;
insert into romancy_messages (at, message_id, address, spread, body)
select g, 'm' || g, 'k/' || g, 'one', '\\x' from generate_series(1, 20000) g;
insert into romancy_interests (at, life, owner, interest_id, address, kind)
select g, 1, 'i' || g, 'w', 'k/' || -g, 'take' from generate_series(1, 20000) g;
insert into romancy_letters (at, subscriber, letter_id, address, body)
select g, 's', 'l' || g, 'c', '\\x' from generate_series(1, 20000) g;
"""

_UNDECLARED = """
insert into romancy_index_sets (workflow_name, paths, members) values ('other', '', '{}');
insert into romancy_instances
    (life, created_at, updated_at, instance_id, workflow_name, status, code, index_paths, input, projection)
select 1, g, g, 'other' || g, 'other', 'completed', 'c1', '', '\\x', '{}' from generate_series(1, 15000) g;
"""

_LARGE = (
    "romancy_instances", "romancy_log", "romancy_inbox", "romancy_index ", "romancy_seen", "romancy_outbox",
    "romancy_messages", "romancy_interests", "romancy_letters",
)  # fmt: skip
_NOT_FOR_A_PLAN = {
    "schema_table", "find_in_group", "find_any", "find_some", "find_branch", "find_by_end", "find_by_ids",
    "find_by_index", "count_any", "count_by_ids", "count_by_index",
}  # fmt: skip
_FOR_A_PERSON = {"outbox_entries"}
"""Of `romancy outbox`, which may take its time. No worker and no relay sends them."""


@pytest.fixture
async def filled(store: PostgresStore, connection: asyncpg.Connection) -> PostgresStore:
    """A store with some rows of every kind."""
    await connection.execute(_FILL)
    return store


def scans(plan: list[asyncpg.Record]) -> list[str]:
    """Return the lines of a plan that read a whole large table."""
    return [row[0] for row in plan if "Seq Scan" in row[0] and any(table in row[0] + " " for table in _LARGE)]


async def plans_of_statements(store: PostgresStore) -> dict[str, list[str]]:
    """Return the lines that read a whole large table, by the names of the engine's statements."""
    queries = store.database.queries
    found: dict[str, list[str]] = {}
    borrowed = await store.database.work.take()
    for name in queries.keys() - _NOT_FOR_A_PLAN - _FOR_A_PERSON:
        prepared = await borrowed.prepare(queries[name])
        nothing = [None] * len(prepared.get_parameters())
        await borrowed.execute(f"prepare planned as {queries[name]}")
        arguments = f"({', '.join('null' for _ in nothing)})" if nothing else ""
        found[name] = scans(await borrowed.fetch(f"explain execute planned{arguments}"))
        await borrowed.execute("deallocate planned")
    store.database.work.give_back(borrowed)
    return found


async def plan_of(store: PostgresStore, query: Query, others: list[tuple[str, str]]) -> list[asyncpg.Record]:
    """Return the plan of a search."""
    names = None if query.workflow_name is None else ["flow3"]
    text, values = compose(store.database.queries, query, Known(names, others))
    borrowed = await store.database.search.take()
    plan = await borrowed.fetch(f"explain {text}", *values)
    store.database.search.give_back(borrowed)
    return plan


async def test_no_statement_of_the_engines_reads_a_whole_table(
    filled: PostgresStore, connection: asyncpg.Connection
) -> None:
    without_statistics = await plans_of_statements(filled)
    await connection.execute("analyze")
    with_fresh_ones = await plans_of_statements(filled)

    assert len(without_statistics) == len(with_fresh_ones) > 30
    assert {name: lines for name, lines in without_statistics.items() if lines} == {}
    assert {name: lines for name, lines in with_fresh_ones.items() if lines} == {}


QUICK = {
    "all": build_query(),
    "status": build_query(status="failed"),
    "statuses": build_query(status=["failed", "stuck"]),
    "name": build_query(workflow_name="flow3"),
    "index": build_query({"customer": "c77"}),
    "index and more": build_query({"customer": "c77"}, status="failed", workflow_name="flow1"),
    "deep": Query(after=Position(_MIDDLE, "i5")),
    "deep status": Query(after=Position(_MIDDLE, "i5"), statuses=build_query(status="failed").statuses),
}


async def test_searches_that_should_be_fast_use_an_index(filled: PostgresStore, connection: asyncpg.Connection) -> None:
    await connection.execute("analyze")
    plans = {name: await plan_of(filled, query, []) for name, query in QUICK.items()}

    assert {name: scans(plan) for name, plan in plans.items() if scans(plan)} == {}
    assert [name for name, plan in plans.items() if not any("Index" in row[0] for row in plan)] == []


TEMPTING: list[tuple[Query, list[tuple[str, str]], str]] = [
    (build_query(status="failed", limit=5), [], "romancy_instances_status"),
    (build_query(status=["failed", "completed"], limit=5), [], "romancy_instances_status"),
    (Query(after=Position(_MIDDLE, "i5"), statuses=_COMPLETED), [], "romancy_instances_status"),
    (build_query(workflow_name="flow3", limit=5), [], "romancy_instances_name"),
    (build_query({"customer": "c77"}), [("flow3", "")], "romancy_instances_paths"),
    (build_query(parent="old", limit=5), [], "romancy_instances_parent"),
    (build_query(parent="old", limit=5, oldest_first=True), [], "romancy_instances_parent"),
    (build_query(parent="old", status="failed", workflow_name="flow3"), [], "romancy_instances_parent"),
    (build_query({"customer": "c7"}, parent="old"), [], "romancy_instances_parent"),
    (build_query(ids=["i7", "i8"], limit=1), [], "romancy_instances_pkey"),
    (build_query(ids=[f"i{number}" for number in range(900)], status="failed"), [], "romancy_instances_pkey"),
    (build_query(status="failed", limit=5, oldest_first=True), [], "romancy_instances_status"),
    (build_query(workflow_name="flow3", limit=5, oldest_first=True), [], "romancy_instances_name"),
]
"""Queries, what the other workflows declare, and the index to use."""


async def test_statistics_do_not_talk_a_search_into_walking_everything(
    filled: PostgresStore, connection: asyncpg.Connection
) -> None:
    """The matching rows may be the oldest of all; statistics do not show this, so the plan must not depend on it."""
    await connection.execute("analyze")
    for query, others, index in TEMPTING:
        plan = [row[0] for row in await plan_of(filled, query, others)]

        assert [line for line in plan if index in line] != [], plan
        assert [line for line in plan if "romancy_instances_new" in line] == [], plan
        if query.oldest_first:
            assert [line for line in plan if "Backward" in line] != [], plan


async def test_who_never_declared_a_path_is_in_the_way_of_nobody_elses_search(
    filled: PostgresStore, connection: asyncpg.Connection, storage_url: str
) -> None:
    await connection.execute(_UNDECLARED)
    watch = watch_for(storage_url)
    with watch.on():
        store = create_store(parse_url(storage_url))
        await store.open()
        named = await watch.cost(
            store, store.services.reading.find(build_query({"customer": "c77"}, workflow_name="flow1"))
        )
        unnamed = await watch.cost(store, store.services.reading.find(build_query({"customer": "c77"})))
        await store.close()

    assert named.rows < 100, named.plan
    assert unnamed.rows > _MIDDLE, "this one has to ask them all"
