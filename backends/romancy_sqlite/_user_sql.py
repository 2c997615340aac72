"""The user's statements inside a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from romancy_sqlite._driver import sqlite3

__all__ = ["execute", "fetch_all", "undo_part"]


def execute(connection: sqlite3.Connection, sql: str, parameters: tuple[Any, ...] = ()) -> int:
    """Run one statement and return how many rows it touched."""
    return max(0, connection.execute(sql, parameters).rowcount)


def fetch_all(connection: sqlite3.Connection, sql: str, parameters: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Run one query and return all its rows, by column name."""
    cursor = connection.cursor()
    cursor.row_factory = None
    cursor.execute(sql, parameters)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def undo_part(connection: sqlite3.Connection, savepoint: str) -> None:
    """Undo the writes after a savepoint, unless the whole transaction is gone."""
    if connection.in_transaction:
        connection.execute(f"rollback to {savepoint}")
        connection.execute(f"release {savepoint}")
