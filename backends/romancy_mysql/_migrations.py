"""Brings the schema up to date: numbered files of steps, each recorded, because DDL cannot be undone here.

The server's named lock lets one process at a time migrate. If a process dies in between, its steps are recorded except
the last. That step is taken again, and finds its work done.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from pymysql.err import MySQLError

from romancy.errors import SchemaVersionError, StorageUnavailableError
from romancy.storage.sql import load_queries, with_prefix
from romancy.storage.upkeep import NO_TABLES, Plan
from romancy_mysql._connection import READING
from romancy_mysql._errors import TransientError, already_there, translate
from romancy_mysql._sql import Text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy_mysql._connection import Wire
    from romancy_mysql._database import Database
    from romancy_mysql._dialect import Dialect
    from romancy_mysql._protocol import Answer
    from romancy_mysql._settings import Settings
    from romancy_mysql._sql import Statement

__all__ = ["Migration", "bring_up_to_date", "load_migrations", "plan_for"]

_FILE = re.compile(r"(\d{4})_\w+(?:\.(mysql|mariadb))?\.sql")
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_PATIENCE = 60


class Migration(NamedTuple):
    """One numbered file, split into its statements."""

    version: int
    steps: tuple[str, ...]


def load_migrations(prefix: str, dialect: Dialect) -> list[Migration]:
    """All migrations in order, under this table prefix. Within a version, the common file comes first."""
    found: dict[int, list[str]] = {}
    folder = files(__package__ or "") / "migrations"
    for file in sorted(folder.iterdir(), key=lambda file: (file.name[:4], file.name.count("."), file.name)):
        name = _FILE.fullmatch(file.name)
        if name is not None and name[2] in (None, dialect.suffix):
            text = _COMMENT.sub("", with_prefix(file.read_text(encoding="utf-8"), prefix))
            steps = [step.strip() for step in text.split(";\n") if step.strip()]
            found.setdefault(int(name[1]), []).extend(steps)
    return [Migration(version, tuple(steps)) for version, steps in found.items()]


async def bring_up_to_date(database: Database, wire: Wire, dialect: Dialect, *, allowed: bool) -> None:
    """Take every step that is not recorded. If not `allowed`, only check.

    `SchemaVersionError` if the schema is newer than this code, or older and not `allowed` to change.
    """
    migrations = load_migrations(database.settings.prefix, dialect)
    missing = await _missing(database, wire, migrations)
    if not missing:
        return
    if not allowed:
        fresh = len(missing) == sum(len(migration.steps) for migration in migrations)
        what = NO_TABLES if fresh else "its schema is older than this version of Romancy"
        raise SchemaVersionError(
            f"{database.settings.where}: {what}; `romancy migrate`, or opening an app, "
            f"{'makes them' if fresh else 'brings it up to date'}"
        )
    async with _lock(database, wire):
        await _run(wire, database.statement("patient_with_tables", seconds=_PATIENCE))
        await _run(wire, database.statement("create_schema"))
        for version, number, step in await _missing(database, wire, migrations):
            await _take(database, wire, version, number, step)
    await wire.setup()


async def plan_for(database: Database, wire: Wire, dialect: Dialect) -> Plan:
    """What `bring_up_to_date` would do."""
    prefix = database.settings.prefix
    missing = await _missing(database, wire, load_migrations(prefix, dialect))
    if not missing:
        return Plan(steps=(), sql="")
    queries = load_queries(files(__package__ or "") / "queries.sql", prefix)
    script = [f"{READING};", f"{queries['create_schema']};"]
    for version, number, step in missing:
        record = queries["record_step"].replace(":version", str(version)).replace(":step", str(number))
        script += [f"-- migration {version}, step {number}", f"{step.rstrip(';')};", f"{record};"]
    steps = tuple(f"migration {version}, step {number}" for version, number, _ in missing)
    return Plan(steps=steps, sql="\n".join([*script, ""]))


async def _missing(database: Database, wire: Wire, migrations: list[Migration]) -> list[tuple[int, int, str]]:
    """The steps not taken yet: version, number and statement."""
    settings = database.settings
    table = Text(f"{settings.prefix}schema")
    answer = await _run(wire, database.statement("has_schema", database=Text(settings.database), table=table))
    done: set[tuple[int, int]] = set()
    if answer.rows[0][0]:
        answer = await _run(wire, database.statement("schema_steps"))
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


async def _take(database: Database, wire: Wire, version: int, number: int, step: str) -> None:
    what = f"migration {version}, step {number}"
    try:
        await wire.query(step.encode())  # without a time-out: an ALTER may take as long as it needs
    except MySQLError as error:
        if not already_there(error):
            raise _explained(error, what, database.settings) from None
    await _run(wire, database.statement("record_step", version=version, step=number))


def _explained(error: MySQLError, what: str, settings: Settings) -> Exception:
    explained = translate(error, what, settings.where)
    if isinstance(explained, TransientError):
        return StorageUnavailableError(
            f"{settings.where}: {what} found a table locked for {_PATIENCE} s; try again later"
        )
    return explained


async def _run(wire: Wire, statement: Statement) -> Answer:
    (answer,) = await wire.run(statement.sql, statement.name)
    return answer


@asynccontextmanager
async def _lock(database: Database, wire: Wire) -> AsyncGenerator[None]:
    """Hold the lock that lets one process migrate. The server releases it when the connection ends."""
    settings = database.settings
    name = Text("romancy:" + hashlib.sha256(f"{settings.database}:{settings.prefix}".encode()).hexdigest()[:40])
    answer = await _run(wire, database.statement("lock_schema", name=name, seconds=int(settings.timeout / 2)))
    if answer.rows[0][0] != 1:
        raise StorageUnavailableError(f"{settings.where}: another process is migrating this database; try again later")
    try:
        yield
    finally:
        if not wire.closed:
            await _run(wire, database.statement("unlock_schema", name=name))
