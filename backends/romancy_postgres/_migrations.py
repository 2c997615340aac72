"""The schema's versions: numbered files, each applied once, by one process, in one transaction.

A file is sent statement by statement: an engine that repeats a statement on other machines cannot do so with several.

If many processes open an empty or an old database at once, an advisory lock of the transaction lets one of them work.
The others wait and then find nothing left to do. DDL rolls back here, so a failed migration leaves the previous
version.

Each record tells older programs whether they may continue on its migration.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Final
from zlib import crc32

import asyncpg

from romancy.storage.schema import Applied, compare, read_migrations, unmigrated
from romancy.storage.sql import with_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy.storage.schema import Difference, Migration
    from romancy.storage.upkeep import Plan
    from romancy_postgres._connection import Link
    from romancy_postgres._database import Database
    from romancy_postgres._settings import Settings

__all__ = ["bring_up_to_date", "each_statement", "known_migrations", "plan_for"]

_LOCK_SPACE = 0x726F6D61
_LONG = 600.0
_PATIENCE = f"set local lock_timeout = '{_LONG:.0f}s'"
_ATOM: Final = re.compile(r"--[^\n]*|/\*.*?\*/|'[^']*'|\"[^\"]*\"|\$(\w*)\$.*?\$\1\$|;|[^;]", re.DOTALL)
"""A comment, a text, a quoted name, the body of a function, the end of a statement, or any other character."""


def known_migrations() -> list[Migration]:
    """All migrations of this version of Romancy, oldest first."""
    return read_migrations(files(__package__ or "") / "migrations")


def each_statement(sql: str) -> Iterator[str]:
    """The statements of a file, without those that are only comments."""
    statement, said = "", False
    for atom in _ATOM.finditer(sql):
        one = atom[0]
        if one == ";":
            if said:
                yield statement.strip()
            statement, said = "", False
            continue
        statement += one
        said = said or not (one.isspace() or one.startswith(("--", "/*")))
    if said:
        yield statement.strip()


async def bring_up_to_date(database: Database, *, migrate: bool) -> None:
    """Apply what is missing. `SchemaVersionError` if this code may not use the schema, or may not change an old one."""
    known = known_migrations()
    where = _where(database)
    difference = await database.single(lambda link: _difference(link, known, where))
    if not difference.missing:
        return
    if not migrate:
        raise unmigrated(difference, where, account=", under a role that may create tables")
    await database.transaction(lambda link: _apply(link, database, known))


async def plan_for(database: Database) -> Plan:
    """What `bring_up_to_date` would do."""
    known = known_migrations()
    difference = await database.single(lambda link: _difference(link, known, _where(database)))
    if not difference.missing:
        return difference.plan("")
    settings = database.settings
    script = ["begin;", f"{_lock_of(settings)};"]
    script += [f"{_schema_of(settings)};"] if settings.schema is not None else []
    script.append(f"{database.queries['schema_table']};")
    record = database.queries["schema_record"]
    for one in difference.missing:
        script += [f"-- {one.name}", with_prefix(one.sql, settings.prefix).strip()]
        values = record.replace("$1", str(one.version)).replace("$2", f"'{one.name}'")
        script.append(f"{values.replace('$3', str(one.additive).lower())};")
    return difference.plan("\n".join([*script, "commit;", ""]))


def _lock_of(settings: Settings) -> str:
    """The lock that lets one process at a time migrate these tables."""
    place = crc32(f"{settings.schema or ''}.{settings.prefix}".encode()) - (1 << 31)
    return f"{_PATIENCE}; select pg_advisory_xact_lock({_LOCK_SPACE}, {place})"


def _schema_of(settings: Settings) -> str:
    """Makes the schema. The names of indexes cannot be qualified in CREATE INDEX, so the files rely on the path."""
    return f'create schema if not exists "{settings.schema}"; set local search_path to "{settings.schema}"'


def _where(database: Database) -> str:
    return database.settings.where


async def _difference(link: Link, known: list[Migration], where: str) -> Difference:
    """What the database lacks."""
    try:
        rows = await link.fetch("schema_applied")
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        rows = []
    return compare(known, [Applied(version, name, additive) for version, name, additive in rows], where)


async def _apply(link: Link, database: Database, known: list[Migration]) -> None:
    settings = database.settings
    await link.control(_lock_of(settings), _LONG)
    if settings.schema is not None:
        await link.control(_schema_of(settings))
    await link.run("schema_table")
    difference = await _difference(link, known, _where(database))
    for one in difference.missing:
        for statement in each_statement(with_prefix(one.sql, settings.prefix)):
            await link.control(statement, _LONG)
        await link.run("schema_record", one.version, one.name, one.additive)
