"""A user's table, and what another program sees of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy_sqlite._driver import sqlite3

if TYPE_CHECKING:
    from pathlib import Path

DOG = {"id": 1, "name": "Cleo", "age": 5}


def contents(path: Path) -> list[str]:
    """Return everything in the file that is not Romancy's, as another program sees it."""
    connection = sqlite3.connect(path)
    try:
        schema = connection.execute("select name, sql from sqlite_master where name not like 'romancy%'").fetchall()
        tables = [name for name, sql in schema if sql and sql.startswith("CREATE TABLE")]
        tables += [name for name, _ in schema if name.startswith("sqlite_stat")]
        return [str(line) for line in schema] + [
            f"{name}: {row}"
            for name in tables
            for row in connection.execute(f'select * from "{name}"')  # noqa: S608 - names from the schema
            if not str(row).startswith("('romancy")
        ]
    finally:
        connection.close()
