"""Counts for displays: bounded, by status and, of the newest instances, by workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.figures import Count, Oldest, OpenWork, OpenWorkflow, Pace, Trend
from romancy.storage.query import build_query
from romancy.storage.records import Outcome
from romancy.storage.services import Service
from romancy_conformance.contract.building import created, start
from romancy_conformance.contract.interleaving import statements
from romancy_conformance.services import services_with

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.building import Actor

pytestmark = pytest.mark.anyio

HOUR = 3_600_000_000
WIDE = 1 << 60
BEGUN = [("ship", Status.FAILED), ("ship", Status.COMPLETED), ("pay", Status.COMPLETED), ("pay", Status.PENDING),
         ("ship", Status.COMPLETED)]  # fmt: skip


async def fill(store: Store) -> list[int]:
    """Start them one after the other, and return their times."""
    for name, status in BEGUN:
        assert [Outcome.ACCEPTED] == await store.commit([start(workflow_name=name, status=status, delay=10**12)])
    return [row.created_at for row in reversed((await store.services.reading.find(build_query())).rows)]


async def test_nothing_is_counted_where_nothing_is(store: Store) -> None:
    figures = services_with(Service.FIGURES, store).figures

    assert ({}, {}) == (await figures.tally(most=10), await figures.newest(10, since=0, width=1))


async def test_all_are_counted_by_status_and_workflow(store: Store) -> None:
    """By workflow in spans: those that were started before the first one have no number of their own."""
    figures, at = services_with(Service.FIGURES, store).figures, await fill(store)

    assert {
        Status.FAILED: Count(1, at[0]), Status.COMPLETED: Count(3, at[1]), Status.PENDING: Count(1, at[3]),
    } == await figures.tally(most=10)  # fmt: skip
    assert {
        ("ship", Status.FAILED, 0): 1, ("ship", Status.COMPLETED, 0): 2, ("pay", Status.COMPLETED, 0): 1,
        ("pay", Status.PENDING, 0): 1,
    } == await figures.newest(10, since=at[0], width=WIDE)  # fmt: skip
    assert {
        ("ship", Status.FAILED, -1): 1, ("ship", Status.COMPLETED, -1): 1, ("pay", Status.COMPLETED, 0): 1,
        ("pay", Status.PENDING, at[3] - at[2]): 1, ("ship", Status.COMPLETED, at[4] - at[2]): 1,
    } == await figures.newest(10, since=at[2], width=1)  # fmt: skip
    assert {-1} == {span for _, _, span in await figures.newest(10, since=at[4] + HOUR, width=1)}


async def test_counts_are_bounded(store: Store) -> None:
    figures, at = services_with(Service.FIGURES, store).figures, await fill(store)

    assert Count(2, at[1]) == (await figures.tally(most=2))[Status.COMPLETED]
    assert {("ship", Status.COMPLETED, at[4] - at[0]): 1, ("pay", Status.PENDING, at[3] - at[0]): 1} == (
        await figures.newest(2, since=at[0], width=1)
    )


async def test_open_instances_are_counted_from_the_oldest_on(store: Store) -> None:
    """Ended ones are not counted. A workflow that is there has the age of its oldest, however few are counted."""
    open_work = services_with(Service.FIGURES, store).figures.open_work
    assert OpenWork({}, frozenset()) == await open_work(most=5, now=0)
    begun = [("ship", Status.PENDING), ("pay", Status.WAITING), ("ship", Status.COMPLETED), ("pay", Status.WAITING),
             ("ship", Status.WAITING), ("pay", Status.STUCK), ("ship", Status.FAILED)]  # fmt: skip
    for name, status in begun:
        assert [Outcome.ACCEPTED] == await store.commit([start(workflow_name=name, status=status, delay=10**12)])
    at = [row.created_at for row in reversed((await store.services.reading.find(build_query())).rows)]

    whole = await open_work(most=4, now=0)
    three, two, one = await open_work(most=3, now=0), await open_work(most=2, now=0), await open_work(most=1, now=0)

    assert {
        ("ship", Status.PENDING): Oldest(1, at[0]), ("pay", Status.WAITING): Oldest(2, at[1]),
        ("ship", Status.WAITING): Oldest(1, at[4]), ("pay", Status.STUCK): Oldest(1, at[5]),
    } == whole.counts == three.counts  # fmt: skip
    assert (frozenset(), frozenset({Status.WAITING})) == (whole.more, three.more)
    assert {
        ("ship", Status.PENDING): Oldest(1, at[0]), ("pay", Status.WAITING): Oldest(2, at[1]),
        ("pay", Status.STUCK): Oldest(1, at[5]),
    } == two.counts  # fmt: skip
    assert Oldest(1, at[1]) == one.counts["pay", Status.WAITING]
    assert {Status.PENDING, Status.WAITING, Status.STUCK} == one.more
    assert Oldest(3, at[1]) == whole.by_status()[Status.WAITING]
    assert [
        OpenWorkflow(at[0], "ship", {Status.PENDING: 1, Status.WAITING: 1}, more=True),
        OpenWorkflow(at[1], "pay", {Status.STUCK: 1, Status.WAITING: 2}, more=True),
    ] == three.by_workflow()


async def test_each_status_is_counted_like_the_others(store: Store) -> None:
    """Three workflows, each with one instance of every status, and each begun alone: no two are of one age."""
    figures = services_with(Service.FIGURES, store).figures
    names = ("first", "second", "third")
    for name in names:
        for status in Status:
            begun = start(workflow_name=name, status=status, delay=10**12)
            assert [Outcome.ACCEPTED] == await store.commit([begun])
    rows = (await store.services.reading.find(build_query())).rows
    at = {(row.workflow_name, row.status): row.created_at for row in rows}
    since, third = (min(at[name, status] for status in Status) for name in ("second", "third"))
    span = {key: (time - since) // (third - since) for key, time in at.items()}

    tally = await figures.tally(most=2)
    newest = await figures.newest(len(Status) + 1, since=since, width=third - since)
    trend = await figures.trend(since=since, width=third - since, most=5)
    last = await figures.trend(since=since, width=third - since, most=1)
    open_work = await figures.open_work(most=2, now=0)

    assert {status: Count(2, at["first", status]) for status in Status} == tally
    assert len(Status) + 1 == len(newest)
    assert {("third", status, span["third", status]) for status in Status} < newest.keys()
    assert {(name, status, span[name, status]): 1 for name, status, _ in newest} == newest
    assert {(status, span[name, status]): 1 for status in Status for name in ("second", "third")} == trend.statuses
    assert {(status, span["third", status]): 1 for status in Status} == last.statuses
    still_open = [status for status in Status if status not in TERMINAL_STATUSES]
    assert {
        (name, status): Oldest(1, at[name, status]) for name in ("first", "second") for status in still_open
    } == open_work.counts
    assert set(still_open) == open_work.more
    for status in Status:
        exact = await figures.trend(since=at["third", status], width=10**12, most=5)
        assert exact.statuses[status, 0] == 1


async def test_a_count_is_one_statement(store: Store) -> None:
    figures = services_with(Service.FIGURES, store).figures
    await fill(store)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "open_work": lambda: figures.open_work(most=3, now=0),
        "tally": lambda: figures.tally(most=3),
        "newest": lambda: figures.newest(3, since=0, width=10**9),
        "trend": lambda: figures.trend(since=0, width=10**9, most=3),
        "tally_slice": lambda: figures.tally_slice(after=None, count=3, width=10**9),
        "pace": lambda: figures.pace(since=0, width=10**9, most=3),
    }

    sent = {name: await statements(store, call()) for name, call in calls.items()}

    assert dict.fromkeys(calls, 1) == {name: sum(name in one for one in names) for name, names in sent.items()}


async def test_what_was_started_is_counted_over_time(store: Store) -> None:
    """A span of a microsecond has one of them; one of an hour has all."""
    at = await fill(store)
    trend = services_with(Service.FIGURES, store).figures.trend

    fine = await trend(since=at[1], width=1, most=10)
    rough = await trend(since=at[0] - 3_600_000_000, width=7_200_000_000, most=10)
    few = await trend(since=at[0], width=1, most=2)

    assert {
        (Status.COMPLETED, 0): 1, (Status.COMPLETED, at[2] - at[1]): 1, (Status.COMPLETED, at[4] - at[1]): 1,
        (Status.PENDING, at[3] - at[1]): 1,
    } == fine.statuses  # fmt: skip
    assert {} == fine.whole_from
    assert Trend({(Status.FAILED, 0): 1, (Status.COMPLETED, 0): 3, (Status.PENDING, 0): 1}, {}) == rough
    assert 2 == sum(count for (status, _), count in few.statuses.items() if status is Status.COMPLETED)
    assert {Status.COMPLETED: at[2] - at[0] + 1} == few.whole_from


async def test_the_instances_of_workers_are_counted(store: Store, actor: Actor) -> None:
    loads = services_with(Service.FIGURES, store).figures.loads
    for _ in range(3):
        await actor.begin()

    assert {actor.token: 3, "nobody": 0} == await loads([actor.token, "nobody"], most=10)
    assert {actor.token: 2} == await loads([actor.token], most=2)
    assert {} == await loads([], most=2)


async def test_slices_count_each_instance_once(store: Store) -> None:
    """Slices of two: the last one is short, and says that nothing follows."""
    at = await fill(store)
    slicing = services_with(Service.FIGURES, store).figures.tally_slice

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
    slicing = services_with(Service.FIGURES, store).figures.tally_slice
    begun = [start(workflow_name=f"flow-{number}", delay=10**12) for number in range(5)]
    assert [Outcome.ACCEPTED] * 5 == await store.commit(begun)

    found, place = list[tuple[str, Status, int]](), None
    for _ in range(6):
        part = await slicing(after=place, count=1, width=2**60)
        found, place = found + list(part.counts), part.end
        if place is None:
            break

    assert sorted((created(one).workflow_name, Status.PENDING, 0) for one in begun) == sorted(found)


async def test_what_waits_for_a_worker_is_counted(store: Store, actor: Actor) -> None:
    """An instance without an owner whose time has come: not one that sleeps, is owned, or has ended."""
    open_work = services_with(Service.FIGURES, store).figures.open_work
    await actor.begin()
    for status, delay in ((Status.PENDING, 0), (Status.WAITING, 0), (Status.WAITING, 10**12), (Status.COMPLETED, 0)):
        begun = start(workflow_name="ship", status=status, delay=delay)
        assert [Outcome.ACCEPTED] == await store.commit([begun])
    now = (await store.services.reading.census()).now

    found = await open_work(most=10, now=now)

    assert 2 == sum(one.due for (name, _), one in found.counts.items() if name == "ship")
    assert {2} == {each.due for each in found.by_workflow() if each.name == "ship"}
    assert 0 == sum(one.due for (name, _), one in found.counts.items() if name != "ship")
    assert 1 == found.by_status()[Status.WAITING].due
    assert 0 == sum(one.due for one in (await open_work(most=10, now=-1)).counts.values())


async def test_the_pace_counts_what_has_begun_and_ended_since_a_time(store: Store) -> None:
    pace = services_with(Service.FIGURES, store).figures.pace
    assert Pace({}, {}, 0, 0) == await pace(since=0, width=WIDE, most=10)
    at = await fill(store)

    found = await pace(since=0, width=WIDE, most=10)

    assert {("ship", 0): 3, ("pay", 0): 2} == found.begun
    assert {
        ("ship", Status.FAILED, 0): 1, ("ship", Status.COMPLETED, 0): 2, ("pay", Status.COMPLETED, 0): 1,
    } == found.ended  # fmt: skip
    assert (0, 0) == (found.begun_from, found.ended_from)
    later = await pace(since=at[3], width=1, most=10)
    assert {("pay", 0): 1, ("ship", at[4] - at[3]): 1} == later.begun
    assert {("ship", Status.COMPLETED, at[4] - at[3]): 1} == later.ended
    assert Pace({}, {}, at[4] + HOUR, at[4] + HOUR) == await pace(since=at[4] + HOUR, width=1, most=10)


async def test_a_bounded_pace_says_since_when_it_is_whole(store: Store) -> None:
    """The newest two of each. Of what ended nothing that is open is counted, wherever a store looks for it."""
    pace = services_with(Service.FIGURES, store).figures.pace
    at = await fill(store)

    found = await pace(since=at[0], width=WIDE, most=2)

    assert {("pay", 0): 1, ("ship", 0): 1} == found.begun
    assert at[3] + 1 == found.begun_from
    assert at[1] < found.ended_from <= at[4] + 1
    assert 1 <= sum(found.ended.values()) <= 2
    assert {Status.COMPLETED} == {status for _, status, _ in found.ended}
