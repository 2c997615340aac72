"""Counts for people who look: bounded, by status and, of the newest, by workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.query import build_query
from romancy.storage.records import Outcome
from romancy.storage.tally import Count, Tally, tally_of
from romancy_conformance.contract.building import start

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

BEGUN = [("ship", Status.FAILED), ("ship", Status.COMPLETED), ("pay", Status.COMPLETED), ("pay", Status.PENDING),
         ("ship", Status.COMPLETED)]  # fmt: skip


async def fill(store: Store) -> list[int]:
    """Start them one after the other, and return their times."""
    for name, status in BEGUN:
        assert [Outcome.ACCEPTED] == await store.commit([start(workflow_name=name, status=status, delay=10**12)])
    return [row.created_at for row in reversed((await store.find(build_query())).rows)]


async def counted(store: Store, most: int, newest: int) -> Tally:
    tally = tally_of(store)
    if tally is None:
        pytest.skip("capability: the store counts nothing")
    return await tally(most=most, newest=newest)


async def test_nothing_is_counted_where_nothing_is(store: Store) -> None:
    assert Tally({}, {}) == await counted(store, 10, 10)


async def test_all_are_counted_by_status_and_workflow(store: Store) -> None:
    at = await fill(store)

    found = await counted(store, 10, 10)

    assert {
        Status.FAILED: Count(1, at[0]), Status.COMPLETED: Count(3, at[1]), Status.PENDING: Count(1, at[3]),
    } == found.statuses  # fmt: skip
    assert {
        ("ship", Status.FAILED): Count(1, at[0]), ("ship", Status.COMPLETED): Count(2, at[1]),
        ("pay", Status.COMPLETED): Count(1, at[2]), ("pay", Status.PENDING): Count(1, at[3]),
    } == found.newest  # fmt: skip


async def test_counts_are_bounded(store: Store) -> None:
    at = await fill(store)

    found = await counted(store, 2, 2)

    assert Count(2, at[1]) == found.statuses[Status.COMPLETED]
    assert {("ship", Status.COMPLETED): Count(1, at[4]), ("pay", Status.PENDING): Count(1, at[3])} == found.newest
