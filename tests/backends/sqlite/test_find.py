"""Searches by declared paths: which index entries they read, and what a migration adds to an older file."""

# The statement of a search is not visible from outside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.mail import UNCOUNTED
from romancy.storage.query import build_query
from romancy.storage.records import Outcome
from romancy.storage.sqlkit import searches
from romancy_conformance.contract.building import append, change, start
from romancy_conformance.contract.opener import open_together
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._find import compose
from romancy_sqlite._interpreter import SqliteInterpreter
from romancy_sqlite._scripts import heads
from tests.knowing import knowing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from romancy.storage.query import Query
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor
    from romancy_sqlite import SqliteStore

    Open = Callable[..., Awaitable[SqliteStore]]

pytestmark = pytest.mark.anyio

DECLARED = (("customer", "s:x"),)

_OF_VERSION_1 = """
insert into romancy_index_sets (paths) values ('customer'), ('unused');
insert into romancy_instances
    (life, created_at, updated_at, instance_id, workflow_name, status, code, index_paths, input, projection)
values (1, 1, 1, 'i1', 'always', 'completed', 'c1', 'customer', x'', '{"customer":"s:x"}'),
       (1, 2, 2, 'i2', 'since', 'completed', 'c1', '', x'', '{"customer":"s:x"}'),
       (1, 3, 3, 'i3', 'since', 'completed', 'c1', 'customer', x'', '{"customer":"s:x"}');
insert into romancy_index (path, value, created_at, instance_id)
values ('customer', 's:x', 1, 'i1'), ('customer', 's:x', 3, 'i3');
insert into romancy_inbox (instance_id, delivery_id, body, at) values ('i1', 'd', x'', 1);
"""


def of_customer(name: str | None) -> Query:
    return build_query({"customer": "x"}, workflow_name=name)


def instance(name: str, *, declares: bool, owner: str | None = None) -> Append:
    """Return an instance of customer x."""
    index = DECLARED if declares else ()
    status = Status.PENDING if owner is None else Status.RUNNING
    return start(workflow_name=name, projection=b'{"customer":"s:x"}', index=index, owner=owner, status=status)


async def places(store: SqliteStore, query: Query) -> int:
    """Return how many ranges of an index a search reads."""
    known = await SqliteInterpreter(store, heads()).read(partial(searches.known, query))
    if known is None:
        return 0
    text, _ = compose(store._sql.__getitem__, query, known)
    return text.count("limit ?") - (" union all " in text)


@pytest.mark.parametrize(
    "processes", [0, pytest.param(10, marks=pytest.mark.long)], ids=["by one", "by ten processes at once"]
)
async def test_an_old_file_learns_which_workflow_declared_what(
    open_store: Open, path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    """Version 1 had one set of paths for all workflows; the migration finds in it what its instances used."""
    with monkeypatch.context() as early:
        knowing(early, "sqlite", lambda known: known[:1])
        await (await open_store()).close()
    old = sqlite3.connect(path)
    old.executescript(_OF_VERSION_1)
    old.close()

    await open_together(f"sqlite:///{path}", processes)
    store = await open_store()

    of_version_2 = sqlite3.connect(path)
    rows = of_version_2.execute(
        "select workflow_name, paths from romancy_index_sets where workflow_name <> 'flow' order by 1, 2"
    ).fetchall()
    numbers = of_version_2.execute("select number from romancy_inbox").fetchall()
    of_version_2.close()
    assert numbers == [(UNCOUNTED,)]
    assert [("always", "customer"), ("since", ""), ("since", "customer")] == rows
    for name, found in {"always": ["i1"], "since": ["i3", "i2"], None: ["i3", "i2", "i1"]}.items():
        page = await store.rooms.reading.find(of_customer(name))
        assert found == [row.instance_id for row in page.rows]


async def test_a_workflow_that_always_declared_a_path_is_sought_in_its_index_alone(store: SqliteStore) -> None:
    always = instance("always", declares=True)
    await store.commit([always, instance("never", declares=False)])

    page = await store.rooms.reading.find(of_customer("always"))

    assert [always.instance_id] == [row.instance_id for row in page.rows]
    assert 1 == await places(store, of_customer("always"))
    assert 2 == await places(store, of_customer("never"))
    assert 2 == await places(store, of_customer(None))


async def test_a_run_that_declares_less_is_sought_beside_the_index(actor: Actor, store: SqliteStore) -> None:
    (name,) = actor.workflows
    begun = instance(name, declares=True, owner=actor.token)
    await store.commit([begun, instance("never", declares=False)])
    assert 1 == await places(store, of_customer(name))

    again = change(Status.RUNNING, run_from=2, input=b"{}", projection=b'{"customer":"s:x"}', index=())
    assert await actor.write(append(begun, 2, change=again)) is Outcome.ACCEPTED

    page = await store.rooms.reading.find(of_customer(name))
    assert [begun.instance_id] == [row.instance_id for row in page.rows]
