"""A backlog is shared with workers that come late, that have just come, and whose slots are threads.

Shares and moves are read from the logs, so the load of the machine does not decide.
"""

# Only a worker's private state shows what it holds.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from romancy import WorkflowContext, activity, workflow
from romancy.status import Status
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.sharing import (
    acquainted,
    calls_share_blocks,
    calls_share_sleeps,
    ended,
    ids,
    share_family,
    share_twice,
    shares,
    so_many_ended,
)
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import until
from romancy_conformance.changing import changed

if TYPE_CHECKING:
    from romancy import Romancy, Workflow
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


LOOKS = 4
"""How often a second a worker looks for work where nothing tells of it, and some may come."""


@pytest.fixture
def workflows() -> list[Workflow[..., Any]]:
    return [calls_share_sleeps, calls_share_blocks, share_twice, share_family, share_line, calls_share_late]


others_are_there = threading.Event()
FULL = 32
"""A worker has so many instances and more, before the second one comes."""


@activity
def share_late(seconds: float) -> None:
    """However long the second worker takes to come, it finds something left."""
    others_are_there.wait(60)
    time.sleep(seconds)


calls_share_late = calling(share_late)


@activity
async def share_quick(number: int) -> int:
    return number


@workflow
async def share_line(ctx: WorkflowContext) -> int:
    return sum([await share_quick(number) for number in range(5)])


class Counting(WrappedStore):
    """A store that counts claims, those that brought nothing, and looks at other workers."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.claims = self.empty = self.looks = 0
        self.services = store.services.wrapped(reading=lambda reading: changed(reading, census=self._census))

    async def claim(self, request: Any, /) -> Any:
        work = await self._store.claim(request)
        self.claims += 1
        self.empty += not work.claimed
        return work

    async def _census(self) -> Any:
        self.looks += 1
        return await self._store.services.reading.census()


def in_hand(app: Romancy) -> int:
    """How many instances the app's worker has loaded."""
    assert app._access.worker is not None
    return len(app._access.worker.driver.live)


@pytest.mark.parametrize(
    ("seconds", "count", "slots"),
    [
        pytest.param(0.1, 120, 2, id="short"),
        pytest.param(0.4, 24, 2, id="lasting", marks=pytest.mark.long),
        pytest.param(0.4, 30, 1, id="one slot", marks=pytest.mark.long),
    ],
)
async def test_who_comes_late_gets_a_share(
    open_app: Open, storage_url: str, seconds: float, count: int, slots: int
) -> None:
    front = await open_app(worker=False)
    first = await open_app(max_activities=slots)
    handles = await front.start_many([calls_share_sleeps.bind(seconds) for _ in range(count)])
    await so_many_ended(handles, slots)
    await open_app(max_activities=slots)
    await open_app(max_activities=slots)
    await ended(handles)

    found = await shares(storage_url, ids(handles))
    assert len(found.done) == 3
    assert first._access.worker is not None
    assert found.done[first._access.worker.leases.token] <= count * 0.7
    assert found.moves <= 1.1 * found.by_others + slots


@pytest.mark.long
async def test_a_backlog_of_plain_functions_is_shared_too(open_app: Open, storage_url: str) -> None:
    """With the settings of a new app."""
    others_are_there.clear()
    front = await open_app(worker=False)
    first = await open_app()
    handles = await front.start_many([calls_share_late.bind(0.5) for _ in range(320)])
    await until(lambda: in_hand(first) >= FULL)
    await acquainted(first, await open_app())
    others_are_there.set()
    await ended(handles)

    found = await shares(storage_url, ids(handles))
    assert first._access.worker is not None
    assert len(found.done) == 2
    assert found.done[first._access.worker.leases.token] <= 320 * 0.75


async def test_workers_that_have_just_come_share(open_app: Open, storage_url: str) -> None:
    """They do not know each other yet."""
    front = await open_app(worker=False)
    for _ in range(3):
        await open_app(max_activities=2)
    handles = [await front.start(calls_share_sleeps, 0.3) for _ in range(24)]
    await ended(handles)

    found = await shares(storage_url, ids(handles))
    assert len(found.done) == 3
    assert max(found.done.values()) <= 12


@pytest.mark.long
@pytest.mark.parametrize("know", [True, False], ids=["acquainted", "strangers"])
async def test_threads_are_slots(open_app: Open, storage_url: str, *, know: bool) -> None:
    front = await open_app(worker=False)
    workers = [await open_app(max_threads=2, lease=6.0 if know else 30.0) for _ in range(3)]
    if know:
        await acquainted(*workers)
    handles = await front.start_many([calls_share_blocks.bind(0.2) for _ in range(48)])
    await ended(handles)

    found = await shares(storage_url, ids(handles))
    assert len(found.done) == 3
    assert max(found.done.values()) <= 32


@pytest.mark.long
async def test_children_of_one_parent_are_shared(open_app: Open, storage_url: str) -> None:
    front = await open_app(worker=False)
    for _ in range(3):
        await open_app(max_activities=2)
    handle = await front.start(share_family, 36, 0.2)
    await ended([handle])

    children = [one.instance_id async for one in front.iter_instances(workflow_name=calls_share_sleeps.name)]
    found = await shares(storage_url, children)
    assert len(found.done) == 3
    assert max(found.done.values()) <= 18


async def test_a_worker_alone_holds_what_it_can_run_soon(open_app: Open) -> None:
    front = await open_app(worker=False)
    app = await open_app(max_activities=4)
    most = 0
    handles = await front.start_many([calls_share_sleeps.bind(0.1) for _ in range(400)])
    results = asyncio.ensure_future(ended(handles[:80]))
    while not results.done():
        most = max(most, in_hand(app))
        await asyncio.sleep(0)
    await results

    assert 4 <= most <= 4 + 40 * 2


async def test_what_needs_no_slot_does_not_wait_for_those_that_do(open_app: Open) -> None:
    """Another workflow is claimed although the slots are taken, and more wait for them than a second takes."""
    front = await open_app(worker=False)
    await open_app(max_activities=1)
    await front.start_many([calls_share_sleeps.bind(0.2) for _ in range(50)])
    family = await front.start(share_family, 0, 0.0)

    assert await family.result(timeout=60) == []
    before = await front.list_instances(status=Status.COMPLETED, limit=100)
    assert len(before.instances) < 1 + 50, "it ended after all that need a slot"


@pytest.mark.long
@pytest.mark.parametrize(("workers", "most"), [(1, 40), (8, 200)], ids=["one", "eight"])
async def test_quick_work_takes_few_claims(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, backend: str, workers: int, most: int
) -> None:
    """As many as before work was bounded: a claim takes 50 to 200 instances, and few bring nothing.

    Where a worker looks at intervals, a look is an empty claim. TiDB skips no locked row, so claims
    that meet take parts.
    """
    stores = wrap_stores(monkeypatch, Counting)
    front = await open_app(worker=False)
    await acquainted(*[await open_app(lease=6.0) for _ in range(workers)])
    await ended(await front.start_many([share_line.bind() for _ in range(100)]))
    before = sum(store.claims for store in stores), sum(store.empty for store in stores)
    began = time.monotonic()
    handles = await front.start_many([share_line.bind() for _ in range(1600)])
    await ended(handles)
    took = time.monotonic() - began
    seconds = math.ceil(took) if backend in ("tidb", "vitess") else 0
    claims, empty = (
        sum(store.claims for store in stores) - before[0],
        sum(store.empty for store in stores) - before[1],
    )
    print(f"claims: {claims}, empty: {empty}, looks at other workers: {sum(store.looks for store in stores)}")

    assert claims <= most + LOOKS * seconds * workers
    assert claims - empty <= 1600 / (10 if backend == "tidb" else 50) + workers
    of_callers = math.ceil(took / 5)  # who waits for long looks whether a worker knows the workflow
    assert sum(store.looks for store in stores) <= workers + workers * (workers - 1) + of_callers


async def test_a_worker_alone_looks_at_no_others(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has started more than it can run, and nobody has come. Where nothing tells of that, it looks each second."""
    stores = wrap_stores(monkeypatch, Counting)
    app = await open_app(max_activities=2)
    began = time.monotonic()
    await ended(await app.start_many([calls_share_sleeps.bind(0.02) for _ in range(100)]))

    capabilities = stores[0].capabilities
    deaf = capabilities.name.startswith("PostgreSQL") and not capabilities.push  # behind a pooler
    seconds = math.ceil(time.monotonic() - began) if deaf else 0
    assert stores[0].looks <= 1 + seconds, "the one of each app that opens"
