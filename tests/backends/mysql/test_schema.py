"""Migrations: each step is recorded and repeated after a crash, works under a prefix and without DDL rights."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

import pytest

from romancy.errors import SchemaVersionError, StorageUnavailableError
from romancy.storage.backends import create_store
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import start, unique
from romancy_mysql._dialect import dialect_of
from romancy_mysql._migrations import known_migrations, steps_of
from tests.backends.next_version import next_version
from tests.knowing import knowing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_mysql._connection import Wire
    from romancy_mysql._store import MySQLStore

    Open = Callable[..., Awaitable[MySQLStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("empty_url")]

both = pytest.mark.backends("mysql", "mariadb")


@pytest.mark.parametrize("version", ["9.7.4", "10.11.18-MariaDB"])
def test_every_version_has_its_steps(version: str) -> None:
    migrations = known_migrations(dialect_of(version, "here"))
    steps = [steps_of(migration, "romancy_") for migration in migrations]

    assert [one.version for one in migrations] == [*range(1, len(migrations) + 1)]
    assert all(steps)
    views = [step for some in steps for step in some if "view" in step]
    assert len(views) == 1


@both
async def test_a_crash_at_any_step_is_made_good_by_the_next_process(
    open_store: Open, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step was made and not recorded, or none after some step was made. So it is in a later version too."""
    knowing(monkeypatch, "mysql", partial(next_version, "mysql"))
    migrations = next_version("mysql", known_migrations(dialect_of(wire.server_version, "")))
    steps = [
        (one.version, number, step) for one in migrations for number, step in enumerate(steps_of(one, "romancy_"), 1)
    ]
    await open_store()
    for taken, (version, number, _) in enumerate(steps):
        later = "delete from romancy_schema where version > %d or (version = %d and step > %d)"
        await wire.run((later % (version, version, number)).encode(), "test")
        for of, _, step in reversed(steps[taken + 1 :]):
            if of == version == 1:
                await wire.run(_undone(step).encode(), "test")

        store = await open_store()

        assert await store.commit([start()]) == [Outcome.ACCEPTED]
        async with store.services.sessions.begin() as session:
            assert await session.fetch_all("select * from romancy_events") != []
        (answer,) = await wire.run(b"select count(*) from romancy_schema", "test")
        assert answer.rows[0][0] == len(migrations) + len(steps)


def _undone(step: str) -> str:
    """What takes back a step of the first migration."""
    if step.startswith("insert into"):
        return f"delete from {step.split()[2]}"  # noqa: S608 - our own tables
    return "drop view romancy_events" if "view" in step else f"drop table {step.split()[5]}"


@both
async def test_two_prefixes_share_a_database(open_store: Open) -> None:
    plain, other = await open_store(), await open_store("prefix=shop_")
    item = start()

    assert await plain.commit([item]) == [Outcome.ACCEPTED]

    assert await other.read(item.instance_id) is None
    assert await other.commit([item]) == [Outcome.ACCEPTED]
    async with other.services.sessions.begin() as session:
        assert len(await session.fetch_all("select * from shop_events")) == 1
        (row,) = await session.fetch_all("select count(*) as n from shop_instances")
    assert row["n"] == 1


@both
async def test_a_store_that_may_not_migrate_says_what_is_missing(storage_url: str, wire: Wire) -> None:
    store = create_store(storage_url)
    with pytest.raises(SchemaVersionError, match="`romancy migrate`, or opening an app"):
        await store.open(migrate=False)
    await store.close()

    (answer,) = await wire.run(b"show tables", "test")
    assert answer.rows == ()


@both
@pytest.mark.parametrize("lost", ["drop table romancy_schema", "delete from romancy_schema"])
async def test_tables_without_a_record_of_their_migrations_are_refused(
    open_store: Open, storage_url: str, wire: Wire, lost: str
) -> None:
    """They may be of another version. `create table if not exists` would take them as they are."""
    await open_store()
    await wire.run(b"alter table romancy_log drop column at", "test")
    await wire.run(lost.encode(), "test")

    for options in ({}, {"migrate": False}):
        store = create_store(storage_url)
        with pytest.raises(SchemaVersionError, match=r"'romancy_addresses' is there.*'romancy_schema' is missing"):
            await store.open(**options)
        await store.close()
    other = await open_store("prefix=shop_")
    assert await other.commit([start()]) == [Outcome.ACCEPTED]


@both
async def test_a_user_without_rights_to_change_tables_can_work(open_store: Open, storage_url: str, wire: Wire) -> None:
    await open_store()
    await wire.run(b"insert into romancy_schema (version, step, at, additive) values (9998, 0, 0, 1)", "a newer schema")
    database = storage_url.rpartition("/")[2]
    user = unique("u").encode()
    await wire.run(b"create user '%b'@'%%' identified by 'runtime'" % user, "test")
    try:
        rights = b"grant select, insert, update, delete on `%b`.* to '%b'@'%%'"
        await wire.run(rights % (database.encode(), user), "test")
        head, _, tail = storage_url.rpartition("@")
        store = await open_store(url=f"{head.partition('://')[0]}://{user.decode()}:runtime@{tail}")

        assert await store.commit([start()]) == [Outcome.ACCEPTED]
    finally:
        await wire.run(b"drop user '%b'@'%%'" % user, "test")


@both
async def test_a_migration_waits_for_another_one_until_its_timeout(open_store: Open, wire: Wire) -> None:
    store = await open_store()
    (answer,) = await wire.run(b"select count(*) from romancy_schema", "test")
    await wire.run(b"delete from romancy_schema where step > 1", "test")
    name = "romancy:" + _lock_name(store)
    await wire.run(f"select get_lock('{name}', 1)".encode(), "test")

    with pytest.raises(StorageUnavailableError, match="another process is migrating"):
        await open_store("timeout=5")

    await wire.run(f"do release_lock('{name}')".encode(), "test")
    await open_store()
    (again,) = await wire.run(b"select count(*) from romancy_schema", "test")
    assert again.rows == answer.rows


def _lock_name(store: MySQLStore) -> str:
    settings = store.database.settings
    return hashlib.sha256(f"{settings.database}:{settings.prefix}".encode()).hexdigest()[:40]
