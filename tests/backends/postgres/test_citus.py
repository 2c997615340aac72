"""What a store does otherwise on Citus, without a Citus. `tests/engines/test_citus.py` has one."""

# Only private functions show what is sent before there is a server.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from romancy.storage.url import parse_url
from romancy_postgres import _connection, create_store
from romancy_postgres._errors import contended, overtaken, waited_in_vain
from romancy_postgres._scripts import texts
from romancy_postgres.engines.citus import ENGINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.sqlkit.pool import Pool
    from romancy_postgres._database import Database


def test_a_script_for_citus_differs_in_the_rows_that_are_counted_and_in_lanes() -> None:
    plain, citus = texts(), texts(engine=ENGINE)

    differ = {name for name, text in citus.items() if text != plain.get(name, text)}
    assert citus.keys() - plain.keys() == {"lock_timeouts", "place_in_citus"}
    assert differ == {"append_one", "append_many", "lane_due"}
    assert all(citus[name] == plain[name] + "\nreturning seq" for name in differ - {"lane_due"})


def test_a_store_on_citus_sends_its_scripts_over_connections_with_its_settings() -> None:
    store = create_store(parse_url("postgresql://me@db.example/orders?schema=tenant"))
    plain = _connection._startup(store.database.settings, _connection.ENGINE_SETTINGS)

    store.database.speak_to(ENGINE)

    citus = _connection._startup(store.database.settings, _connection.ENGINE_SETTINGS)
    assert plain is not None
    assert citus == plain | {"citus.override_table_visibility": "off"}
    assert store.database.queries == texts(schema="tenant", engine=ENGINE)


@pytest.mark.backends("postgres")
@pytest.mark.anyio
async def test_every_connection_made_since_citus_was_found_has_its_settings(storage_url: str) -> None:
    store = create_store(parse_url(storage_url))
    await store.open()
    database = store.database
    database.speak_to(ENGINE)
    modes: list[str] = []
    for pool in _pools(database):
        connection = await pool.take()
        assert await connection.fetchval("select current_setting('citus.override_table_visibility', true)") == "off"
        modes.append(await connection.fetchval("show plan_cache_mode"))
        pool.give_back(connection)
    await store.close()

    assert "force_generic_plan" not in modes, "there is none of a heartbeat"


def _pools(database: Database) -> list[Pool[Any]]:
    return [database.work, database.heartbeats, database.search, database.sessions]


@pytest.mark.backends("postgres")
@pytest.mark.anyio
async def test_behind_a_pooler_each_transaction_makes_the_settings_for_citus(storage_url: str) -> None:
    store = create_store(parse_url(f"{storage_url}?pooler=transaction"))
    await store.open()
    database = store.database
    database.speak_to(ENGINE)
    asked = "select current_setting('plan_cache_mode') || current_setting('citus.override_table_visibility', true)"
    said = await database.single(lambda link: link.connection.fetchval(asked))
    await store.close()

    assert said == "autooff"
    assert database.alone is None, "statements that carry their settings are not for Citus"


@pytest.mark.backends("postgres")
@pytest.mark.anyio
async def test_a_store_that_found_citus_can_be_opened_again(storage_url: str) -> None:
    store = create_store(parse_url(storage_url))
    await store.open()
    store.database.speak_to(ENGINE)
    await store.close()

    await store.open()
    await store.close()


@pytest.mark.parametrize(
    ("words", "judge"),
    [
        ('duplicate key value violates unique constraint "romancy_messages_pkey_102382"', overtaken),
        ("canceling statement due to lock timeout", waited_in_vain),
        ("deadlock detected", contended),
    ],
)
def test_what_a_node_says_of_copied_rows_has_its_state_again(
    words: str, judge: Callable[[BaseException], bool]
) -> None:
    """Citus passes it on as an internal error."""
    assert judge(asyncpg.InternalServerError(words))
    assert not judge(asyncpg.InternalServerError(f"a page is broken: {words}"))
