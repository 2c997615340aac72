"""What a store does otherwise on Citus, without a Citus. `tests/engines/test_citus.py` has one."""

# Only private functions show what is sent before there is a server.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from romancy.storage.url import parse_url
from romancy_postgres import _connection, create_store
from romancy_postgres._scripts import CITUS, texts


def test_a_script_for_citus_differs_only_in_the_rows_that_are_counted() -> None:
    plain, citus = texts(), texts(own=CITUS)

    differ = {name for name, text in citus.items() if text != plain.get(name, text)}
    assert citus.keys() - plain.keys() == {"lock_timeouts", "place_in_citus"}
    assert differ == {"append_one", "append_many"}
    assert all(citus[name] == plain[name] + "\nreturning seq" for name in differ)


def test_a_store_on_citus_sends_its_scripts_over_connections_with_its_settings() -> None:
    store = create_store(parse_url("postgresql://me@db.example/orders?schema=tenant"))
    plain = _connection._startup(store.database.settings, _connection.ENGINE_SETTINGS)

    store.database.speak_to_citus()

    citus = _connection._startup(store.database.settings, _connection.ENGINE_SETTINGS)
    assert plain is not None
    assert citus == plain | {"citus.override_table_visibility": "off"}
    assert store.database.queries == texts(schema="tenant", own=CITUS)
