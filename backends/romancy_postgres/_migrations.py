"""The schema's versions: numbered files, each applied once, by one process, in one transaction.

If many processes open an empty or an old database at once, an advisory lock of the transaction lets one of them work.
The others wait and then find nothing left to do. DDL rolls back here, so a failed migration leaves the previous
version.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import asyncpg

from romancy.errors import SchemaVersionError
from romancy.storage.sql import with_prefix
from romancy.storage.upkeep import NO_TABLES, Plan

if TYPE_CHECKING:
    from romancy_postgres._connection import Link
    from romancy_postgres._database import Database
    from romancy_postgres._settings import Settings

__all__ = ["bring_up_to_date", "known_migrations", "plan_for"]

_LOCK_SPACE = 0x726F6D61
_LONG = 600.0
_PATIENCE = f"set local lock_timeout = '{_LONG:.0f}s'"


class Migration(NamedTuple):
    """One numbered file."""

    version: int
    name: str
    sql: str


def known_migrations() -> list[Migration]:
    """All migrations of this version of Romancy, oldest first."""
    folder = files(__package__ or "") / "migrations"
    found = [
        Migration(int(file.name[:4]), file.name.removesuffix(".sql"), file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found)


async def bring_up_to_date(database: Database, *, migrate: bool) -> None:
    """Apply what is missing. `SchemaVersionError` if the schema is too new, or too old and `migrate` is False."""
    known = known_migrations()
    newest = known[-1].version
    version = await database.single(_version)
    _refuse_newer(database, version, newest)
    if version == newest:
        return
    if not migrate:
        what = f"the schema has version {version}, this Romancy needs {newest}" if version else NO_TABLES
        raise SchemaVersionError(
            f"storage {database.settings.url}: {what}; `romancy migrate`, or opening an app, "
            f"{'brings it up to date' if version else 'makes them'}, under a role that may create tables"
        )
    await database.transaction(lambda link: _apply(link, database, known))


async def plan_for(database: Database) -> Plan:
    """What `bring_up_to_date` would do."""
    known = known_migrations()
    version = await database.single(_version)
    _refuse_newer(database, version, known[-1].version)
    missing = [migration for migration in known if migration.version > version]
    if not missing:
        return Plan(steps=(), sql="")
    settings = database.settings
    script = ["begin;", f"{_lock_of(settings)};"]
    script += [f"{_schema_of(settings)};"] if settings.schema is not None else []
    script.append(f"{database.queries['schema_table']};")
    record = database.queries["schema_record"]
    for migration in missing:
        script += [f"-- {migration.name}", with_prefix(migration.sql, settings.prefix).strip()]
        script.append(f"{record.replace('$1', str(migration.version)).replace('$2', repr(migration.name))};")
    return Plan(steps=tuple(one.name for one in missing), sql="\n".join([*script, "commit;", ""]))


def _lock_of(settings: Settings) -> str:
    """The lock that lets one process at a time migrate these tables."""
    place = crc32(f"{settings.schema or ''}.{settings.prefix}".encode()) - (1 << 31)
    return f"{_PATIENCE}; select pg_advisory_xact_lock({_LOCK_SPACE}, {place})"


def _schema_of(settings: Settings) -> str:
    """Makes the schema. The names of indexes cannot be qualified in CREATE INDEX, so the files rely on the path."""
    return f'create schema if not exists "{settings.schema}"; set local search_path to "{settings.schema}"'


async def _version(link: Link) -> int:
    try:
        return int((await link.fetch("schema_version"))[0][0])
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return 0


async def _apply(link: Link, database: Database, known: list[Migration]) -> None:
    settings = database.settings
    await link.control(_lock_of(settings), _LONG)
    if settings.schema is not None:
        await link.control(_schema_of(settings))
    await link.run("schema_table")
    version = (await link.fetch("schema_version"))[0][0]
    _refuse_newer(database, version, known[-1].version)
    for migration in known:
        if migration.version > version:
            await link.control(with_prefix(migration.sql, settings.prefix), _LONG)
            await link.run("schema_record", migration.version, migration.name)


def _refuse_newer(database: Database, version: int, newest: int) -> None:
    if version > newest:
        raise SchemaVersionError(
            f"storage {database.settings.url}: the schema has version {version}, this Romancy knows {newest}; "
            "upgrade Romancy here, or use the database it was made for"
        )
