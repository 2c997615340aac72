"""Sessions whose connection is ended while a thread uses it."""

# The guard is a part of the adapter.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from romancy.errors import UsageError
from romancy_sqlite._connection import connect_as
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._guard import BEGIN, BEGIN_GUARD, BEGIN_WHOLE, OVER, GuardedConnection

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["end_while_it_runs", "opened"]

ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"


def opened(path: Path) -> GuardedConnection:
    """A connection whose open transaction is the user's."""
    connection = connect_as(GuardedConnection, path)
    execute = sqlite3.Cursor(connection).execute
    for statement in (BEGIN, BEGIN_WHOLE, BEGIN_GUARD):
        execute(statement)
    connection.hand_over()
    return connection


def end_while_it_runs(path: Path) -> None:
    """End a session while a thread is inside a statement, which then closes its cursor, as libraries do."""
    connection = opened(path)
    begun = threading.Event()

    def use() -> None:
        cursor = connection.cursor()
        begun.set()
        try:
            with suppress(UsageError, sqlite3.Error):
                cursor.execute(ENDLESS)
        finally:
            with suppress(sqlite3.Error):  # the connection may be closed already
                cursor.close()

    user = threading.Thread(target=use)
    user.start()
    begun.wait()
    connection.interrupt()
    connection.end(OVER)
    connection.really_close()
    user.join()
