"""Bringing the schema up to date: numbered files, each one transaction, recorded by sqlite-utils' migrations."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from romancy.errors import SchemaVersionError
from romancy.storage.sql import with_prefix
from romancy_sqlite._connection import connect, patiently
from romancy_sqlite._errors import translate

if TYPE_CHECKING:
    from romancy_sqlite._file import SharedFile

__all__ = ["bring_up_to_date"]

_SET = "romancy"


def bring_up_to_date(shared: SharedFile, prefix: str, *, migrate: bool) -> None:
    """Apply what is missing, holding the write lock from before the look to the end: any number may try at once."""
    migrations = _load(prefix)
    connection = connect(shared.path)
    try:
        database = Database(connection, execute_plugins=False)
        _refuse_newer(shared, migrations, database)
        if not migrations.pending(database):
            return
        if not migrate:
            raise SchemaVersionError(
                f"SQLite file {shared.path}: the schema is older than this version of Romancy; open the store once "
                "with migrations allowed"
            )
        patiently(lambda: connection.execute("begin immediate"), seconds=shared.lock_timeout)
        _refuse_newer(shared, migrations, database)
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
    """A file of statements as the function that sqlite-utils wants."""

    __name__ = "script"

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, database: Database, /) -> None:
        database.executescript(self._text)


def _refuse_newer(shared: SharedFile, migrations: Migrations, database: Database) -> None:
    known = {migration.name for migration in migrations.pending(database)}
    applied = {migration.name for migration in migrations.applied(database)}
    files = known | {name for name in applied if name in _names()}
    unknown = sorted(applied - files)
    if unknown:
        raise SchemaVersionError(
            f"SQLite file {shared.path}: its schema is newer than this version of Romancy (it has {unknown[-1]!r}); "
            "upgrade Romancy"
        )


def _names() -> set[str]:
    folder = resources.files("romancy_sqlite") / "migrations"
    return {file.name.removesuffix(".sql") for file in folder.iterdir()}
