"""Brings the schema up to date: numbered files, each one transaction, recorded by sqlite-utils' migrations."""

from __future__ import annotations

from contextlib import closing
from importlib import resources
from typing import TYPE_CHECKING

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from romancy.errors import SchemaVersionError
from romancy.storage.sql import with_prefix
from romancy.storage.upkeep import NO_TABLES, Plan
from romancy_sqlite._connection import connect, patiently
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._errors import translate

if TYPE_CHECKING:
    from pathlib import Path

    from romancy_sqlite._file import SharedFile

__all__ = ["bring_up_to_date", "plan_for"]

_SET = "romancy"
_HEAD = (
    "-- For `sqlite3 -bail FILE`: without -bail it goes on after a failure, and records what is not done.",
    "pragma busy_timeout = 60000; -- a worker may be writing",
)


def bring_up_to_date(shared: SharedFile, prefix: str, *, migrate: bool) -> None:
    """Apply missing migrations under the write lock, held from before the check: any number may try at once."""
    migrations = _load(prefix)
    connection = connect(shared.path)
    try:
        database = Database(connection, execute_plugins=False)
        _refuse_newer(shared.path, migrations, database)
        if not migrations.pending(database):
            return
        if not migrate:
            fresh = not migrations.applied(database)
            what = NO_TABLES if fresh else "its schema is older than this version of Romancy"
            raise SchemaVersionError(
                f"SQLite file {shared.path}: {what}; `romancy migrate`, or opening an app, "
                f"{'makes them' if fresh else 'brings it up to date'}"
            )
        patiently(lambda: connection.execute("begin immediate"), seconds=shared.lock_timeout)
        _refuse_newer(shared.path, migrations, database)
        migrations.apply(database)
        patiently(lambda: connection.execute("commit"), seconds=shared.lock_timeout)
    except Exception as error:
        raise translate(error, shared.path, opening=True) from error
    finally:
        if connection.in_transaction:
            connection.execute("rollback")
        connection.close()


def _load(prefix: str) -> Migrations:
    migrations = Migrations(_SET)
    migrations.migrations_table = f"{prefix}schema"
    folder = resources.files("romancy_sqlite") / "migrations"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            script = with_prefix(file.read_text(encoding="utf-8"), prefix)
            migrations(name=file.name.removesuffix(".sql"))(_Script(script))
    return migrations


class _Script:
    """A file of statements in the form of the function that sqlite-utils calls."""

    __name__ = "script"

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, database: Database, /) -> None:
        database.executescript(self._text)

    def __str__(self) -> str:
        return self._text


def plan_for(path: Path, prefix: str, connection: sqlite3.Connection) -> Plan:
    """What `bring_up_to_date` would do to the file of this connection."""
    migrations = _load(prefix)
    database = Database(connection, execute_plugins=False)
    _refuse_newer(path, migrations, database)
    pending = migrations.pending(database)
    if not pending:
        return Plan(steps=(), sql="")
    script = [*_HEAD, "begin immediate;"]
    if not database[migrations.migrations_table].exists():
        script += _table_of(migrations)
    for migration in pending:
        script.append(f"-- {migration.name}")
        script.append(str(migration.fn).strip())
        script.append(
            f'insert into "{migrations.migrations_table}" (migration_set, name, applied_at) '  # noqa: S608 - constants
            f"values ('{_SET}', '{migration.name}', datetime('now'));"
        )
    return Plan(steps=tuple(migration.name for migration in pending), sql="\n".join([*script, "commit;", ""]))


def _table_of(migrations: Migrations) -> list[str]:
    """The statements that make the table of applied migrations, as sqlite-utils makes it."""
    with closing(sqlite3.connect(":memory:")) as connection:
        migrations.ensure_migrations_table(Database(connection, execute_plugins=False))
        rows = connection.execute("select sql from sqlite_master where sql is not null").fetchall()
    return [f"{sql};" for (sql,) in rows]


def _refuse_newer(path: Path, migrations: Migrations, database: Database) -> None:
    known = {migration.name for migration in migrations.pending(database)}
    applied = {migration.name for migration in migrations.applied(database)}
    files = known | {name for name in applied if name in _names()}
    unknown = sorted(applied - files)
    if unknown:
        raise SchemaVersionError(
            f"SQLite file {path}: its schema is newer than this version of Romancy (it has {unknown[-1]!r}); "
            "upgrade Romancy"
        )


def _names() -> set[str]:
    folder = resources.files("romancy_sqlite") / "migrations"
    return {file.name.removesuffix(".sql") for file in folder.iterdir()}
