"""Upkeep: the plan of a migration is what the migration does, and looking changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.errors import SchemaVersionError, StorageUnavailableError
from romancy.storage.backends import create_store
from romancy.storage.records import Outcome
from romancy.storage.services import Service
from romancy.storage.url import parse_url
from romancy_conformance.contract.building import start
from romancy_conformance.contract.dialects import dialect_of
from romancy_conformance.contract.scripts import run_script
from romancy_conformance.services import services_with

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.upkeep import Upkeep

pytestmark = pytest.mark.anyio


def kept(url: str) -> Upkeep:
    """Return the operator's interface of the store at this URL; skip the test if it has none, or no schema."""
    store = create_store(url)
    if not _has_schema(store):
        pytest.skip("capability: the store has no schema")
    return services_with(Service.UPKEEP, store).upkeep


def _has_schema(store: Store) -> bool:
    try:
        return store.capabilities.schema
    except StorageUnavailableError:
        return True  # a server says what it is once the store is open


async def migrating(empty_url: str) -> Upkeep:
    """The same; skip the test also if an empty database has everything that the store needs."""
    upkeep = kept(empty_url)
    if not (await upkeep.plan()).steps:
        pytest.skip("capability: the store has no schema")
    return upkeep


def with_option(url: str, option: str) -> str:
    """Return the URL with one more option."""
    return url + ("&" if "?" in url else "?") + option if option else url


@pytest.mark.parametrize("option", ["", "prefix=my_"])
async def test_the_sql_of_a_plan_does_what_a_migration_does(empty_url: str, option: str) -> None:
    await migrating(empty_url)
    url = with_option(empty_url, option)
    plan = await kept(url).plan()
    await run_script(url, plan.sql)

    after = await kept(url).plan()
    store = create_store(url)
    await store.open(migrate=False)
    accepted = await store.commit([start()])
    await store.close()

    assert plan.steps
    assert ((), "") == (after.steps, after.sql)
    assert [Outcome.ACCEPTED] == accepted


async def test_a_plan_changes_nothing(empty_url: str) -> None:
    upkeep = await migrating(empty_url)
    first, second = await upkeep.plan(), await upkeep.plan()

    assert first == second
    with pytest.raises(SchemaVersionError, match="romancy migrate"):
        await create_store(empty_url).open(migrate=False)


async def test_after_a_migration_there_is_nothing_to_plan(empty_url: str) -> None:
    store = create_store(empty_url)
    await store.open()

    plan = await kept(empty_url).plan()
    await store.close()

    assert ((), "") == (plan.steps, plan.sql)


async def test_a_plan_for_a_newer_schema_is_refused(empty_url: str) -> None:
    upkeep = await migrating(empty_url)
    store = create_store(empty_url)
    await store.open()
    newer = dialect_of(store).newer_schema
    await store.close()
    await run_script(empty_url, newer)

    with pytest.raises(SchemaVersionError, match=r"newer|version 9999"):
        await upkeep.plan()


async def test_settings_are_told_with_a_verdict_and_what_is_well_on_a_server_as_it_comes(storage_url: str) -> None:
    store = create_store(storage_url)
    upkeep = services_with(Service.UPKEEP, store).upkeep
    await store.open()
    found = {setting.name: setting for setting in await upkeep.settings()}
    await store.close()

    wanted = {
        "sqlite": {"journal_mode", "synchronous"},
        "postgresql": {"fsync", "full_page_writes", "synchronous_commit", "default_transaction_isolation"},
        "mysql": {"innodb_flush_log_at_trx_commit", "innodb_doublewrite", "innodb_buffer_pool_size"},
        "mariadb": {"innodb_flush_log_at_trx_commit", "innodb_doublewrite", "innodb_buffer_pool_size"},
    }
    assert wanted.get(parse_url(storage_url).scheme, set()) <= found.keys()
    assert all(setting.value for setting in found.values())
    assert all(setting.advice for setting in found.values() if setting.verdict != "ok")
    assert all(setting.verdict in ("ok", "note", "problem") for setting in found.values())


async def test_a_plan_tells_of_a_newer_schema_on_which_this_code_may_continue(empty_url: str) -> None:
    upkeep = await migrating(empty_url)
    assert (await upkeep.plan()).fresh
    store = create_store(empty_url)
    await store.open()
    additive = dialect_of(store).additive_schema
    await store.close()
    await run_script(empty_url, additive)

    plan = await upkeep.plan()

    assert ((), "", False, ("9998_future",)) == (plan.steps, plan.sql, plan.fresh, plan.unknown)
