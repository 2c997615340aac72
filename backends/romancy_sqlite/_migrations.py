"""Brings the schema up to date: numbered files, each one transaction, recorded by sqlite-utils' migrations.

A column beside what sqlite-utils records tells older programs whether they may continue.
"""

from __future__ import annotations

from contextlib import closing
from importlib import resources
from typing import TYPE_CHECKING

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from romancy.storage.schema import Applied, compare, read_migrations, unmigrated
from romancy.storage.sql import with_prefix
from romancy_sqlite._connection import connect, patiently
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._errors import translate

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from romancy.storage.schema import Difference, Migration
    from romancy.storage.upkeep import Plan
    from romancy_sqlite._file import SharedFile

__all__ = ["bring_up_to_date", "known_migrations", "plan_for"]

_SET = "romancy"
_HEAD = (
    "-- For `sqlite3 -bail FILE`: without -bail it goes on after a failure, and records what is not done.",
    "pragma busy_timeout = 60000; -- a worker may be writing",
)


def known_migrations() -> list[Migration]:
    """All migrations of this version of Romancy, oldest first."""
    return read_migrations(resources.files("romancy_sqlite") / "migrations")


def bring_up_to_date(shared: SharedFile, prefix: str, *, migrate: bool) -> None:
    """Apply missing migrations under the write lock, held from before the check: any number may try at once."""
    known = known_migrations()
    where = _where(shared.path)
    connection = connect(shared.path)
    try:
        database = Database(connection, execute_plugins=False)
        difference = _difference(database, known, prefix, where)
        if not difference.missing:
            return
        if not migrate:
            raise unmigrated(difference, where)
        patiently(lambda: connection.execute("begin immediate"), seconds=shared.lock_timeout)
        _apply(database, _difference(database, known, prefix, where).missing, prefix)
        patiently(lambda: connection.execute("commit"), seconds=shared.lock_timeout)
    except Exception as error:
        raise translate(error, shared.path, opening=True) from error
    finally:
        if connection.in_transaction:
            connection.execute("rollback")
        connection.close()


def _where(path: Path) -> str:
    return f"SQLite file {path}"


def _set_of(migrations: Iterable[Migration], prefix: str) -> Migrations:
    """The migrations as sqlite-utils applies and records them."""
    made = Migrations(_SET)
    made.migrations_table = f"{prefix}schema"
    for one in migrations:
        made(name=one.name)(_Script(with_prefix(one.sql, prefix)))
    return made


class _Script:
    """A file of statements in the form of the function that sqlite-utils calls."""

    __name__ = "script"

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, database: Database, /) -> None:
        database.executescript(self._text)


def _difference(database: Database, known: list[Migration], prefix: str, where: str) -> Difference:
    """What the file lacks. A table of a former version has no column `additive`; its rows say nothing then."""
    table = database.table(f"{prefix}schema")
    if not table.exists():
        return compare(known, (), where)
    rows = table.rows_where("migration_set = ?", [_SET], order_by="id")
    applied = [Applied(_number(row["name"]), row["name"], bool(row.get("additive"))) for row in rows]
    return compare(known, applied, where)


def _number(name: str) -> int:
    return int(name[:4]) if name[:4].isdecimal() else 9999


def _apply(database: Database, missing: Iterable[Migration], prefix: str) -> None:
    migrations = _set_of(missing, prefix)
    migrations.ensure_migrations_table(database)
    if _says_nothing(database, prefix):
        database.execute(_told(prefix))
    migrations.apply(database)
    for one in missing:
        if one.additive:
            database.execute(f'update "{prefix}schema" set additive = 1 where name = ?', [one.name])  # noqa: S608 - a checked prefix


def _says_nothing(database: Database, prefix: str) -> bool:
    """Whether the table of applied migrations lacks the column that tells which of them are additive."""
    return "additive" not in database.table(f"{prefix}schema").columns_dict


def _told(prefix: str) -> str:
    return f'alter table "{prefix}schema" add column additive integer not null default 0'


def plan_for(path: Path, prefix: str, connection: sqlite3.Connection) -> Plan:
    """What `bring_up_to_date` would do to the file of this connection."""
    database = Database(connection, execute_plugins=False)
    difference = _difference(database, known_migrations(), prefix, _where(path))
    if not difference.missing:
        return difference.plan("")
    script = [*_HEAD, "begin immediate;"]
    table = f"{prefix}schema"
    fresh = not database.table(table).exists()
    if fresh:
        script += _table_of(prefix)
    if fresh or _says_nothing(database, prefix):
        script.append(f"{_told(prefix)};")
    for one in difference.missing:
        script.append(f"-- {one.name}")
        script.append(with_prefix(one.sql, prefix).strip())
        script.append(
            f'insert into "{table}" (migration_set, name, applied_at, additive) '  # noqa: S608 - constants
            f"values ('{_SET}', '{one.name}', datetime('now'), {one.additive:d});"
        )
    return difference.plan("\n".join([*script, "commit;", ""]))


def _table_of(prefix: str) -> list[str]:
    """The statements that make the table of applied migrations, as sqlite-utils makes it."""
    with closing(sqlite3.connect(":memory:")) as connection:
        _set_of((), prefix).ensure_migrations_table(Database(connection, execute_plugins=False))
        rows = connection.execute("select sql from sqlite_master where sql is not null").fetchall()
    return [f"{sql};" for (sql,) in rows]
