"""Searches by declared paths: which index entries they read."""

# The statement of a search is not visible from outside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.query import build_query
from romancy.storage.records import Outcome
from romancy.storage.sqlkit import searches
from romancy_conformance.contract.building import append, change, start
from romancy_sqlite._find import compose
from romancy_sqlite._interpreter import SqliteInterpreter
from romancy_sqlite._scripts import heads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.query import Query
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor
    from romancy_sqlite import SqliteStore

    Open = Callable[..., Awaitable[SqliteStore]]

pytestmark = pytest.mark.anyio

DECLARED = (("customer", "s:x"),)


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


async def test_a_workflow_that_always_declared_a_path_is_sought_in_its_index_alone(store: SqliteStore) -> None:
    always = instance("always", declares=True)
    await store.commit([always, instance("never", declares=False)])

    page = await store.services.reading.find(of_customer("always"))

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

    page = await store.services.reading.find(of_customer(name))
    assert [begun.instance_id] == [row.instance_id for row in page.rows]
