"""The schema's versions: numbered files, each applied once, by one process, in one transaction.

However many processes open an empty or an old database at once, an advisory lock of the transaction lets one of
them work while the others wait and then find nothing left to do. DDL rolls back here, so a migration that fails
leaves the version before it.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import asyncpg

from romancy.errors import SchemaVersionError
from romancy.storage.sql import with_prefix

if TYPE_CHECKING:
    from romancy_postgres._connection import Link
    from romancy_postgres._database import Database

__all__ = ["bring_up_to_date", "known_migrations"]

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
    """Apply what is missing; `SchemaVersionError` if the schema is too new, or too old and `migrate` is False."""
    known = known_migrations()
    newest = known[-1].version
    version = await database.single(_version)
    _refuse_newer(database, version, newest)
    if version == newest:
        return
    if not migrate:
        raise SchemaVersionError(
            f"storage {database.settings.url}: the schema has version {version}, this Romancy needs {newest}; "
            "open the store with migrate=True, under a role that may create tables"
        )
    await database.transaction(lambda link: _apply(link, database, known))


async def _version(link: Link) -> int:
    try:
        return int((await link.fetch("schema_version"))[0][0])
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return 0


async def _apply(link: Link, database: Database, known: list[Migration]) -> None:
    settings = database.settings
    place = crc32(f"{settings.schema or ''}.{settings.prefix}".encode()) - (1 << 31)
    await link.control("lock", f"{_PATIENCE}; select pg_advisory_xact_lock({_LOCK_SPACE}, {place})", _LONG)
    if settings.schema is not None:
        # The names of indexes cannot be qualified where they are created, so the files rely on the path.
        schema = f'create schema if not exists "{settings.schema}"; set local search_path to "{settings.schema}"'
        await link.control("schema", schema)
    await link.run("schema_table")
    version = (await link.fetch("schema_version"))[0][0]
    _refuse_newer(database, version, known[-1].version)
    for migration in known:
        if migration.version > version:
            await link.control(migration.name, with_prefix(migration.sql, settings.prefix), _LONG)
            await link.run("schema_record", migration.version, migration.name)


def _refuse_newer(database: Database, version: int, newest: int) -> None:
    if version > newest:
        raise SchemaVersionError(
            f"storage {database.settings.url}: the schema has version {version}, this Romancy knows {newest}; "
            "upgrade Romancy here, or use the database it was made for"
        )
