"""Bringing the schema up to date: numbered files of steps, each recorded, because DDL cannot be undone here.

The server's named lock lets one process at a time migrate. A process that dies in between leaves the steps it took
recorded, but for the last: that one is taken again, and finds its work done.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

import pymysql.err

from romancy.errors import SchemaVersionError, StorageUnavailableError
from romancy.storage.sql import with_prefix
from romancy_mysql._errors import TransientError, already_there, translate
from romancy_mysql._sql import literal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy_mysql._connection import Wire
    from romancy_mysql._settings import Settings

__all__ = ["Migration", "bring_up_to_date", "load_migrations"]

_FILE = re.compile(r"(\d{4})_\w+\.sql")
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_PATIENCE = 60
_TABLE = """
create table if not exists romancy_schema (
    version int not null,
    step int not null,
    at bigint not null default (timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))),
    primary key (version, step)
) engine = InnoDB
"""
_EXISTS = """
select count(*) from information_schema.tables where table_schema = database() and table_name = 'romancy_schema'
"""


class Migration(NamedTuple):
    """One numbered file, taken apart into its statements."""

    version: int
    steps: tuple[str, ...]


def load_migrations(prefix: str) -> list[Migration]:
    """All migrations in order, under this table prefix."""
    found: list[Migration] = []
    for file in (files(__package__ or "") / "migrations").iterdir():
        if (name := _FILE.fullmatch(file.name)) is not None:
            text = _COMMENT.sub("", with_prefix(file.read_text(encoding="utf-8"), prefix))
            steps = tuple(step.strip() for step in text.split(";\n") if step.strip())
            found.append(Migration(int(name[1]), steps))
    return sorted(found)


async def bring_up_to_date(wire: Wire, settings: Settings, *, allowed: bool) -> None:
    """Take every step that is not recorded; look only, if that is all that is allowed.

    `SchemaVersionError` if the schema is newer than this code, or older and must stay so.
    """
    migrations = load_migrations(settings.prefix)
    if not await _missing(wire, settings, migrations):
        return
    if not allowed:
        raise SchemaVersionError(
            f"{settings.where}: the schema is older than this version of Romancy; open the store with migrations once"
        )
    async with _lock(wire, settings):
        await wire.run(b"set session lock_wait_timeout = %d" % _PATIENCE, "migration")
        await wire.run(with_prefix(_TABLE, settings.prefix).encode(), "migration")
        for version, number, step in await _missing(wire, settings, migrations):
            await _take(wire, settings, version, number, step)
    await wire.setup()


async def _missing(wire: Wire, settings: Settings, migrations: list[Migration]) -> list[tuple[int, int, str]]:
    """The steps not taken yet: version, number and statement."""
    (answer,) = await wire.run(with_prefix(_EXISTS, settings.prefix).encode(), "schema version")
    done: set[tuple[int, int]] = set()
    if answer.rows[0][0]:
        query = with_prefix("select version, step from romancy_schema", settings.prefix)
        (answer,) = await wire.run(query.encode(), "schema version")
        done = {(int(version), int(step)) for version, step in answer.rows}
    newest = max((version for version, _ in done), default=0)
    if newest > migrations[-1].version:
        raise SchemaVersionError(
            f"{settings.where}: the schema has version {newest}, this version of Romancy knows "
            f"{migrations[-1].version}; update Romancy"
        )
    return [
        (migration.version, number, step)
        for migration in migrations
        for number, step in enumerate(migration.steps, 1)
        if (migration.version, number) not in done
    ]


async def _take(wire: Wire, settings: Settings, version: int, number: int, step: str) -> None:
    what = f"migration {version}, step {number}"
    try:
        await wire.query(step.encode())
    except pymysql.err.MySQLError as error:
        if not already_there(error):
            raise _explained(error, what, settings) from None
    record = f"insert into romancy_schema (version, step) values ({version}, {number})"
    await wire.run(with_prefix(record, settings.prefix).encode(), what)


def _explained(error: pymysql.err.MySQLError, what: str, settings: Settings) -> Exception:
    explained = translate(error, what, settings.where)
    if isinstance(explained, TransientError):
        return StorageUnavailableError(f"{settings.where}: {what} found a table locked for {_PATIENCE} s; try again later")
    return explained


@asynccontextmanager
async def _lock(wire: Wire, settings: Settings) -> AsyncIterator[None]:
    """Hold the lock that lets one process migrate; the server gives it back when the connection ends."""
    name = "romancy:" + hashlib.sha256(f"{settings.database}:{settings.prefix}".encode()).hexdigest()[:40]
    (answer,) = await wire.run(b"select get_lock(%s, %d)" % (literal(name), _PATIENCE // 3), "migration lock")
    if answer.rows[0][0] != 1:
        raise StorageUnavailableError(f"{settings.where}: another process is migrating this database; try again later")
    try:
        yield
    finally:
        if not wire.closed:
            await wire.run(b"do release_lock(%s)" % literal(name), "migration lock")


