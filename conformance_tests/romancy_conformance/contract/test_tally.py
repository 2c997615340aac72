"""Counts for displays: bounded, by status and, of the newest instances, by workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.query import build_query
from romancy.storage.records import Outcome
from romancy.storage.rooms import Room
from romancy.storage.tally import Count, Tally, Trend
from romancy_conformance.contract.building import start
from romancy_conformance.rooms import rooms_with

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy_conformance.contract.building import Actor

pytestmark = pytest.mark.anyio

BEGUN = [("ship", Status.FAILED), ("ship", Status.COMPLETED), ("pay", Status.COMPLETED), ("pay", Status.PENDING),
         ("ship", Status.COMPLETED)]  # fmt: skip


async def fill(store: Store) -> list[int]:
    """Start them one after the other, and return their times."""
    for name, status in BEGUN:
        assert [Outcome.ACCEPTED] == await store.commit([start(workflow_name=name, status=status, delay=10**12)])
    return [row.created_at for row in reversed((await store.rooms.reading.find(build_query())).rows)]


async def counted(store: Store, most: int, newest: int) -> Tally:
    tally = rooms_with(Room.FIGURES, store).figures.tally
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


async def test_what_was_started_is_counted_over_time(store: Store) -> None:
    """A span of a microsecond has one of them; one of an hour has all."""
    at = await fill(store)
    trend = rooms_with(Room.FIGURES, store).figures.trend

    fine = await trend(since=at[1], width=1, most=10, newest=10)
    rough = await trend(since=at[0] - 3_600_000_000, width=7_200_000_000, most=10, newest=3)
    few = await trend(since=at[0], width=1, most=2, newest=1)

    assert {
        (Status.COMPLETED, 0): 1, (Status.COMPLETED, at[2] - at[1]): 1, (Status.COMPLETED, at[4] - at[1]): 1,
        (Status.PENDING, at[3] - at[1]): 1,
    } == fine.statuses  # fmt: skip
    assert {} == fine.whole_from
    assert 4 == len(fine.workflows)
    assert Trend(
        {(Status.FAILED, 0): 1, (Status.COMPLETED, 0): 3, (Status.PENDING, 0): 1}, {},
        {("pay", Status.COMPLETED, 0): 1, ("pay", Status.PENDING, 0): 1, ("ship", Status.COMPLETED, 0): 1},
    ) == rough  # fmt: skip
    assert 2 == sum(count for (status, _), count in few.statuses.items() if status is Status.COMPLETED)
    assert {Status.COMPLETED: at[2] - at[0] + 1} == few.whole_from
    assert {("ship", Status.COMPLETED, at[4] - at[0]): 1} == few.workflows


async def test_the_instances_of_workers_are_counted(store: Store, actor: Actor) -> None:
    loads = rooms_with(Room.FIGURES, store).figures.loads
    for _ in range(3):
        await actor.begin()

    assert {actor.token: 3, "nobody": 0} == await loads([actor.token, "nobody"], most=10)
    assert {actor.token: 2} == await loads([actor.token], most=2)
    assert {} == await loads([], most=2)


async def test_slices_count_each_instance_once(store: Store) -> None:
    """Slices of two: the last one is short, and says that nothing follows."""
    at = await fill(store)
    slicing = rooms_with(Room.FIGURES, store).figures.tally_slice

    newest = await slicing(after=None, count=2, width=1)
    middle = await slicing(after=newest.end, count=2, width=1)
    last = await slicing(after=middle.end, count=2, width=2**60)
    whole = await slicing(after=None, count=5, width=2**60)

    assert {("ship", Status.COMPLETED, at[4]): 1, ("pay", Status.PENDING, at[3]): 1} == newest.counts
    assert {("pay", Status.COMPLETED, at[2]): 1, ("ship", Status.COMPLETED, at[1]): 1} == middle.counts
    assert ({("ship", Status.FAILED, 0): 1}, None) == last
    assert {("ship", Status.COMPLETED, 0): 2, ("ship", Status.FAILED, 0): 1, ("pay", Status.COMPLETED, 0): 1,
            ("pay", Status.PENDING, 0): 1} == whole.counts  # fmt: skip
    assert ({}, None) == await slicing(after=whole.end, count=5, width=1)


async def test_a_slice_ends_between_instances_of_one_commit(store: Store) -> None:
    slicing = rooms_with(Room.FIGURES, store).figures.tally_slice
    begun = [start(workflow_name=f"flow-{number}", delay=10**12) for number in range(5)]
    assert [Outcome.ACCEPTED] * 5 == await store.commit(begun)

    found, place = list[tuple[str, Status, int]](), None
    for _ in range(6):
        part = await slicing(after=place, count=1, width=2**60)
        found, place = found + list(part.counts), part.end
        if place is None:
            break

    assert sorted((one.workflow_name, Status.PENDING, 0) for one in begun) == sorted(found)
