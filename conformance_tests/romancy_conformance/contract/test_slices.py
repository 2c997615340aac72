"""Searches that no index answers: slice by slice they find what one statement finds, and each reads a bounded part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from romancy.status import Status
from romancy.storage.query import Position, build_query, gte, project_with_index
from romancy.storage.records import Outcome
from romancy.storage.services import Service
from romancy.storage.slices import find_in_slices
from romancy_conformance.contract.building import start
from romancy_conformance.services import services_with

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.query import Query
    from romancy.storage.slices import Found

pytestmark = [pytest.mark.anyio, pytest.mark.dealt]

COUNT = 40
EACH = 5
"""Instances that are started at one time."""


async def fill(store: Store) -> None:
    """Start them, some at the same time. Every second one has declared its customer."""
    services_with(Service.LOOKUPS, store)
    for first in range(0, COUNT, EACH):
        items = [_instance(number) for number in range(first, first + EACH)]
        assert {Outcome.ACCEPTED} == set(await store.commit(items))


def _instance(number: int) -> Any:
    declared = ["customer"] if number % 2 else []
    projection, index = project_with_index(b'{"customer":"c-%d","total":%d}' % (number % 8, number), declared)
    return start(
        workflow_name="pay" if declared else "ship", projection=projection, index=index, delay=10**12,
        status=Status.FAILED if number % 5 == 0 else Status.PENDING,
    )  # fmt: skip


async def all_of(store: Store, query: Query) -> tuple[list[str], list[Found]]:
    """The ids of all pages, and the parts that they were found in: a slice each, as there is no time for more."""
    found: list[str] = []
    parts: list[Found] = []
    token = ""
    while True:
        there = query if not token else replace(query, after=_after(query, token))
        parts.append(await find_in_slices(store, there, within=0, first=7, largest=7))
        found += [row.instance_id for row in parts[-1].rows]
        token = parts[-1].next_token or ""
        if not token:
            return found, parts


def _after(query: Query, token: str) -> Any:
    return build_query(
        {"total": gte(3)} if query.conditions and query.conditions[0].key == "total" else CUSTOMER,
        workflow_name=query.workflow_name, page_token=token,
    ).after  # fmt: skip


CUSTOMER: dict[str, Any] = {"customer": "c-3"}


async def test_slices_find_what_one_statement_finds(store: Store) -> None:
    await fill(store)
    for limit in (2, 50):
        query = build_query({"total": gte(3)}, limit=limit)
        whole = [row.instance_id for row in (await store.services.reading.find(replace(query, limit=50))).rows]

        found, parts = await all_of(store, query)

        assert COUNT - 3 == len(whole)
        assert whole == found, "each once, newest first"
        assert all(part.sliced and not part.undeclared for part in parts)
        assert len(parts) > 3
        assert all(len(part.rows) <= 7 + EACH for part in parts), "a slice and what began with its last instance"


async def test_a_search_by_a_declared_path_is_one_statement(store: Store) -> None:
    """If other workflows have not declared the path, they are named, and slices are searched."""
    await fill(store)

    one = await find_in_slices(store, build_query(CUSTOMER, workflow_name="pay"), within=0, first=7)
    other = await find_in_slices(store, build_query(CUSTOMER), within=0, first=7)

    assert (False, [], None, COUNT // 8) == (one.sliced, one.undeclared, one.back_to, len(one.rows))
    assert (True, ["ship"]) == (other.sliced, other.undeclared)
    assert other.back_to is not None
    assert other.next_token is not None


async def test_a_search_has_time_for_several_slices(store: Store) -> None:
    await fill(store)
    query = build_query({"total": 1})

    found = await find_in_slices(store, query, within=60, first=7)

    assert [row.instance_id for row in (await store.services.reading.find(query)).rows] == [
        row.instance_id for row in found.rows
    ]
    assert (1, None, None) == (len(found.rows), found.next_token, found.back_to)


async def test_slices_keep_to_the_time_that_was_asked_for(store: Store) -> None:
    await fill(store)
    rows = (await store.services.reading.find(build_query())).rows
    query = build_query({"total": gte(0)}, since=rows[COUNT // 2].created_at)

    found = await find_in_slices(store, query, within=60, first=3)

    assert [row.instance_id for row in (await store.services.reading.find(query)).rows] == [
        row.instance_id for row in found.rows
    ]
    assert COUNT // 2 < len(found.rows) <= COUNT // 2 + EACH
    assert found.next_token is None


async def test_the_end_of_a_slice_is_so_many_places_behind(store: Store) -> None:
    """Also between instances that were started at one time, and where none is left."""
    await fill(store)
    rows = (await store.services.reading.find(build_query(limit=COUNT))).rows
    places = [Position(row.created_at, row.instance_id) for row in rows]
    lookups = store.services.lookups

    assert places == [await lookups.place_behind(None, count) for count in range(1, COUNT + 1)]
    assert await lookups.place_behind(None, COUNT + 1) is None
    for at in range(COUNT):
        found = [await lookups.place_behind(places[at], count) for count in (1, 2)]
        assert [*places[at + 1 : at + 3], None, None][:2] == found
