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

__all__ = ["bring_up_to_date", "known_migrations", "make_tables", "plan_for"]

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
        difference = _difference(connection, known, prefix, where)
        if not difference.missing:
            return
        if not migrate:
            raise unmigrated(difference, where)
        patiently(lambda: connection.execute("begin immediate"), seconds=shared.lock_timeout)
        _apply(connection, _difference(connection, known, prefix, where).missing, prefix)
        patiently(lambda: connection.execute("commit"), seconds=shared.lock_timeout)
    except Exception as error:
        raise translate(error, shared.path, opening=True) from error
    finally:
        if connection.in_transaction:
            connection.execute("rollback")
        connection.close()


def make_tables(connection: sqlite3.Connection, prefix: str) -> None:
    """Make the tables of this version in an empty database that nobody else uses."""
    connection.execute("begin immediate")
    _apply(connection, known_migrations(), prefix)
    connection.execute("commit")


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


def _columns(connection: sqlite3.Connection, prefix: str) -> set[str]:
    """The columns of the table of applied migrations; none if there is no such table."""
    return {str(name) for _, name, *_ in connection.execute(f'pragma table_info("{prefix}schema")')}


def _difference(connection: sqlite3.Connection, known: list[Migration], prefix: str, where: str) -> Difference:
    """What the file lacks. The table of a version before the first release may not say what is additive."""
    if not _columns(connection, prefix):
        return compare(known, (), where)
    query = f'select * from "{prefix}schema" where migration_set = ?'  # noqa: S608 - a checked prefix
    found = connection.execute(query, (_SET,))
    names = [column[0] for column in found.description]
    rows = [dict(zip(names, row, strict=True)) for row in found]
    applied = [Applied(_number(row["name"]), row["name"], bool(row.get("additive"))) for row in rows]
    return compare(known, applied, where)


def _number(name: str) -> int:
    return int(name[:4]) if name[:4].isdecimal() else 9999


def _apply(connection: sqlite3.Connection, missing: Iterable[Migration], prefix: str) -> None:
    database = Database(connection, execute_plugins=False)
    migrations = _set_of(missing, prefix)
    migrations.ensure_migrations_table(database)
    if "additive" not in _columns(connection, prefix):
        connection.execute(_told(prefix))
    migrations.apply(database)
    additive = [(one.name,) for one in missing if one.additive]
    connection.executemany(f'update "{prefix}schema" set additive = 1 where name = ?', additive)  # noqa: S608 - a checked prefix


def _told(prefix: str) -> str:
    """The statement after which the table of applied migrations can tell which of them are additive."""
    return f'alter table "{prefix}schema" add column additive integer not null default 0'


def plan_for(path: Path, prefix: str, connection: sqlite3.Connection) -> Plan:
    """What `bring_up_to_date` would do to the file of this connection."""
    difference = _difference(connection, known_migrations(), prefix, _where(path))
    if not difference.missing:
        return difference.plan("")
    script = [*_HEAD, "begin immediate;"]
    table = f"{prefix}schema"
    if not _columns(connection, prefix):
        script += [*_table_of(prefix), f"{_told(prefix)};"]
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
