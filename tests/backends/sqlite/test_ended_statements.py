"""Statements of a user's thread that are running when their session is ended."""

# The guard is a part of the adapter.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from romancy_sqlite._guard import OVER
from tests.backends.sqlite.ending import opened

if TYPE_CHECKING:
    from pathlib import Path

MANY = """\
import sys, threading
from pathlib import Path
from tests.backends.sqlite.ending import end_while_it_runs

sys.setswitchinterval(1e-6)
for _ in range(1500):
    end_while_it_runs(Path(sys.argv[1]))
"""


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
