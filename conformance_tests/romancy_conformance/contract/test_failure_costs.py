"""Failures: what a store keeps of them, and that groups are counted from a bounded number of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.failures import About, member_of
from romancy.storage.query import build_query
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import lookups_of, start
from romancy_conformance.contract.plans import watch_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.plans import Cost, Watch

pytestmark = pytest.mark.anyio

INSTANCES = 3_000
LOOKED_AT = 500
ENOUGH = 10 * LOOKED_AT
"""Rows that one count may read: the entries of the index, those of temporary tables, and those of the same time."""


def about(cause: str) -> About:
    return About("order", "ShopError", "charge", cause, code="c1", release="2026.11")


def failing(cause: str, instance_id: str | None = None) -> Append:
    """An instance that fails in its first append."""
    grouped = (member_of(about(cause)),)
    return start(instance_id, status=Status.FAILED, error=f"ShopError: {cause}", interests=grouped)


async def accepted(store: Store, *items: Append) -> None:
    assert {Outcome.ACCEPTED} == set(await store.commit(list(items)))


async def test_groups_are_counted_the_newest_first(store: Store) -> None:
    lookups = lookups_of(store)
    before = {one.group for one in await lookups.failures(10_000)}
    await accepted(store, failing("first", "g-1"))
    await accepted(store, failing("second", "g-2"))
    await accepted(store, failing("first", "g-3"))
    found = [one for one in await lookups.failures(10_000) if one.group not in before]
    first, second = about("first").group, about("second").group
    assert [(one.group, one.number, one.instance_id) for one in found] == [(first, 2, "g-3"), (second, 1, "g-2")]
    now = (await store.services.reading.census()).now
    assert all(0 <= now - one.last <= now - one.since < 3_600_000_000 for one in found)
    assert sorted(await lookups.groups_of(["g-1", "g-2", "g-9"])) == [("g-1", first), ("g-2", second)]
    assert [one.number for one in await lookups.failures(2)] == [1, 1]  # the newest alone


async def test_a_search_finds_a_group_and_a_text(store: Store) -> None:
    await accepted(store, failing("third", "t-1"), failing("fourth", "t-2"), start("t-3"))

    async def ids(**query: str) -> list[str]:
        page = await store.services.reading.find(build_query(None, **query))  # type: ignore[arg-type]
        counted = sum((await store.services.reading.count(build_query(None, **query))).values())  # type: ignore[arg-type]
        assert counted == len(page.rows)
        return sorted(row.instance_id for row in page.rows)

    assert await ids(error=about("third").group) == ["t-1"]
    assert await ids(error="r: fourth") == ["t-2"]
    assert await ids(error="R: fourth") == []
    assert await ids(error=about("third").group, status="completed") == []
    assert await ids(error=about("third").group, instance_id="T-1", workflow_name="") == ["t-1"]


@pytest.fixture
def watch(storage_url: str) -> Watch:
    return watch_for(storage_url)


@pytest.fixture
async def full(storage_url: str, watch: Watch) -> AsyncIterator[Store]:
    """A watched store with many failures that have two causes."""
    with watch.on():
        store = create_store(storage_url)
        await store.open()
        await watch.leave_uncounted()
        for first in range(0, INSTANCES, 500):
            await accepted(store, *(failing(f"cause {number % 2}") for number in range(first, first + 500)))
        await watch.analyze(store)
        yield store
        await store.close()


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_count_reads_no_more_rows_than_it_looks_at(full: Store, watch: Watch) -> None:
    async def count(most: int) -> Cost:
        return await watch.cost(full, full.services.lookups.failures(most))

    cost = await count(LOOKED_AT)
    assert cost.rows <= ENOUGH, cost.plan
    assert sum(one.number for one in await full.services.lookups.failures(LOOKED_AT)) == LOOKED_AT
    assert sorted(one.number for one in await full.services.lookups.failures(10_000)) == [INSTANCES // 2] * 2
