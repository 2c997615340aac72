"""Statements of a user's thread that are running when their session is ended."""

# The guard is a part of the adapter.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from romancy.errors import UsageError
from romancy_sqlite._connection import connect_as
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._guard import BEGIN, BEGIN_GUARD, BEGIN_WHOLE, OVER, GuardedConnection

if TYPE_CHECKING:
    from pathlib import Path

ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
MANY = """\
import sys, threading
from pathlib import Path
from tests.backends.sqlite.test_ended_statements import end_while_it_runs

sys.setswitchinterval(1e-6)
for _ in range(1500):
    end_while_it_runs(Path(sys.argv[1]))
"""


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


def test_a_thread_that_closes_its_cursor_at_the_end_of_its_session_harms_nothing(tmp_path: Path) -> None:
    """Two threads in `close` of one cursor free its statement under each other: the process dies.

    Some of the interrupts come before a statement begins, and find nothing to end: they have to be repeated.
    """
    run = [sys.executable, "-c", MANY, str(tmp_path / "ended.db")]
    ended = subprocess.run(run, check=False, capture_output=True, timeout=120)
    assert (ended.returncode, ended.stderr[-500:]) == (0, b"")


def test_a_cursor_is_closed_by_one_thread_at_a_time(tmp_path: Path) -> None:
    connection = opened(tmp_path / "ended.db")
    cursor = connection.cursor()
    closed = threading.Event()

    def close() -> None:
        cursor.close()
        closed.set()

    with connection.busy:
        user = threading.Thread(target=close)
        user.start()
        assert not closed.wait(0.2)
    user.join(60)
    assert closed.is_set()
    connection.end(OVER)
    connection.really_close()
