"""Brings the schema up to date: numbered files of steps, each recorded, because DDL cannot be undone here.

The server's named lock, or in a cluster a row, lets one process at a time migrate. If a process dies in between, its
steps are recorded except the last. That step is taken again, and finds its work done. The record that a migration
begins, before its first step, tells older programs whether they may continue, so no step is ever there that an older
program does not hear of.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pymysql.err import MySQLError

from romancy.errors import SchemaVersionError, StorageUnavailableError
from romancy.storage.schema import Applied, compare, read_migrations, unmigrated
from romancy.storage.sql import load_queries, with_prefix
from romancy_mysql._cluster import claimed_schema
from romancy_mysql._connection import READING
from romancy_mysql._errors import TransientError, already_there, translate
from romancy_mysql._sql import Text, comma

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.storage.schema import Difference, Migration
    from romancy.storage.upkeep import Plan
    from romancy_mysql._connection import Wire
    from romancy_mysql._dialect import Dialect
    from romancy_mysql._protocol import Answer
    from romancy_mysql._settings import Settings
    from romancy_mysql._sql import Statement, Value
    from romancy_mysql.engines import Engine

__all__ = ["bring_up_to_date", "known_migrations", "plan_for", "steps_of"]

_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_TABLE = re.compile(r"^create table if not exists (\w+)", re.MULTILINE)
_PATIENCE = 60


class Known(Protocol):
    """What is known of a database before it is up to date."""

    settings: Settings

    @property
    def engine(self) -> Engine: ...

    def statement(self, name: str, /, *, expected: int | None = None, **parameters: Value) -> Statement:
        """A named query with its parameters."""
        ...


class _Step(NamedTuple):
    """One statement of a migration. `begins`: before it the migration has to be recorded."""

    migration: Migration
    number: int
    sql: str
    begins: bool

    def __str__(self) -> str:
        return f"migration {self.migration.version}, step {self.number}"


class _Record(NamedTuple):
    """What the database tells of its migrations."""

    taken: dict[int, set[int]]
    """The steps of each version."""
    said: dict[int, tuple[str, bool]]
    """The name of each version, and whether it is additive."""


class _State(NamedTuple):
    """What the database lacks."""

    difference: Difference
    steps: tuple[_Step, ...]


def known_migrations(dialect: Dialect) -> list[Migration]:
    """All migrations of this version of Romancy for this engine, oldest first."""
    return read_migrations(files(__package__ or "") / "migrations", dialect.engine.migrations)


def steps_of(migration: Migration, prefix: str) -> list[str]:
    """The statements of a migration, under this table prefix."""
    text = _COMMENT.sub("", with_prefix(migration.sql, prefix))
    return [step.strip() for step in text.split(";\n") if step.strip()]


async def bring_up_to_date(database: Known, wire: Wire, dialect: Dialect, *, allowed: bool) -> None:
    """Take every step that is not recorded. If not `allowed`, only check.

    `SchemaVersionError` if this code may not use the schema, or if it is older and not `allowed` to change.
    """
    known = known_migrations(dialect)
    state = await _state(database, wire, known)
    if not state.steps:
        return
    if not allowed:
        raise unmigrated(state.difference, database.settings.where)
    settings = database.settings
    if database.engine.named_locks:
        claim = _lock(database, wire)
    else:
        await _run(wire, database.statement("create_schema"))  # it has the row of the claim
        claim = claimed_schema(settings, database.statement, wire)
    async with claim:
        await _run(wire, database.statement("patient_with_tables", seconds=_PATIENCE))
        await _run(wire, database.statement("create_schema"))
        state = await _state(database, wire, known)
        for step in state.steps:
            await _take(database, wire, step)
    await wire.setup()


async def plan_for(database: Known, wire: Wire, dialect: Dialect) -> Plan:
    """What `bring_up_to_date` would do."""
    prefix = database.settings.prefix
    state = await _state(database, wire, known_migrations(dialect))
    if not state.steps:
        return state.difference.plan("")
    queries = load_queries(files(__package__ or "") / "schema.sql", prefix)
    script = [f"{READING};", f"{queries['create_schema']};"]
    for step in state.steps:
        version, name, additive, _ = step.migration
        values = {
            ":version": str(version),
            ":step": str(step.number),
            ":name": f"'{name}'",
            ":additive": f"{additive:d}",
        }
        begin, record = (_filled(queries[query], values) for query in ("record_migration", "record_step"))
        script += [f"-- {step}"] + ([f"{begin};"] if step.begins else [])
        script += [f"{step.sql.rstrip(';')};", f"{record};"]
    steps = [(str(step), step.migration.additive) for step in state.steps]
    return state.difference.plan("\n".join([*script, ""]), steps)


def _filled(query: str, values: dict[str, str]) -> str:
    return re.sub(r":[a-z]+", lambda found: values[found[0]], query)


async def _state(database: Known, wire: Wire, known: list[Migration]) -> _State:
    settings = database.settings
    record = await _recorded(database, wire)
    if not record.taken and (table := await _table_of(database, wire, known[0])):
        record = await _recorded(database, wire)  # another process may have made both meanwhile
        if not record.taken:
            raise SchemaVersionError(
                f"{settings.where}: the table {table!r} is there, and nothing tells which version of Romancy made it: "
                f"the table '{settings.prefix}schema' is missing or empty. Restore it, make a new database, or give "
                "the URL another `prefix=`"
            )
    taken, said = record
    missing = tuple(step for one in known for step in _missing(one, settings.prefix, taken.get(one.version, set())))
    parts = {step.migration.version for step in missing}
    applied = [Applied(version, *said.get(version, ("", False)), whole=version not in parts) for version in taken]
    return _State(compare(known, applied, settings.where), missing)


async def _recorded(database: Known, wire: Wire) -> _Record:
    settings = database.settings
    record = _Record({}, {})
    table = Text(f"{settings.prefix}schema")
    answer = await _run(wire, database.statement("has_schema", database=Text(settings.database), table=table))
    columns, tells = answer.rows[0]
    if columns:
        answer = await _run(wire, database.statement("schema_steps" if tells else "former_schema_steps"))
        for version, number, *rest in answer.rows:
            record.taken.setdefault(version, set()).add(number)
            if number == 0:
                record.said[version] = (rest[0].decode(), bool(rest[1]))
    return record


async def _table_of(database: Known, wire: Wire, first: Migration) -> str | None:
    """A table of the first schema that is there."""
    settings = database.settings
    tables = comma(map(Text, _TABLE.findall("\n".join(steps_of(first, settings.prefix)))))
    answer = await _run(wire, database.statement("any_table", database=Text(settings.database), tables=tables))
    ((name,),) = answer.rows
    return None if name is None else name.decode()


def _missing(migration: Migration, prefix: str, taken: set[int]) -> list[_Step]:
    left = [(number, sql) for number, sql in enumerate(steps_of(migration, prefix), 1) if number not in taken]
    return [_Step(migration, number, sql, begins=0 not in taken and number == left[0][0]) for number, sql in left]


async def _take(database: Known, wire: Wire, step: _Step) -> None:
    version, name, additive, _ = step.migration
    if step.begins:
        begin = database.statement("record_migration", version=version, name=name, additive=additive)
        await _run(wire, begin)
    try:
        await wire.query(step.sql.encode())  # without a time-out: an ALTER may take as long as it needs
    except MySQLError as error:
        if not already_there(error):
            raise _explained(error, str(step), database.settings) from None
    await _run(wire, database.statement("record_step", version=version, step=step.number))


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
async def _lock(database: Known, wire: Wire) -> AsyncGenerator[None]:
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
