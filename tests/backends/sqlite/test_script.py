"""The SQL of a plan in a shell like `sqlite3`, which waits for no lock and continues after a failed statement."""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest

from romancy.storage.url import parse_url
from romancy_sqlite import create_store
from romancy_sqlite._driver import sqlite3

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio


def run_in_shell(path: Path, script: str, after: Callable[[str], None] = lambda _: None) -> None:
    """Carry out statement by statement, whatever becomes of the one before, and tell of each."""
    statement = ""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as shell:
        for line in script.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                with suppress(sqlite3.Error):
                    shell.execute(statement).fetchall()
                after(statement)
                statement = ""


async def test_a_worker_that_writes_meanwhile_makes_no_step_be_recorded_that_was_not_taken(path: Path) -> None:
    store = create_store(parse_url(f"sqlite:///{path}"))
    plan = await store.services.upkeep.plan()
    head, _, _ = plan.sql.partition(f"-- {plan.steps[-1]}")
    run_in_shell(path, head + "commit;")
    last = await store.services.upkeep.plan()
    assert plan.steps[-1:] == last.steps

    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as worker:
        worker.execute("begin immediate")
        threading.Timer(1.0, worker.rollback).start()

        def end_with_alter(statement: str) -> None:
            if "alter table" in statement and worker.in_transaction:
                worker.rollback()

        run_in_shell(path, last.sql, end_with_alter)

    assert () == (await store.services.upkeep.plan()).steps
    with closing(sqlite3.connect(path)) as reader:
        columns = {name for _, name, *_ in reader.execute("pragma table_info(romancy_inbox)")}
    assert "number" in columns


async def test_the_script_says_how_it_stops_at_a_failure(path: Path) -> None:
    plan = await create_store(parse_url(f"sqlite:///{path}")).services.upkeep.plan()

    assert "sqlite3 -bail" in plan.sql.splitlines()[0]
