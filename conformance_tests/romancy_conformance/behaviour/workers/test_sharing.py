"""Runs that stay in memory while their instances rest, and work that spreads over several workers."""

# Only a worker's private state shows which workers it knows.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from romancy import EventType, Romancy, Status, WorkflowContext, activity, workflow
from romancy.storage.backends import create_store
from romancy.storage.records import Work
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from romancy import Handle
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Number = EventType("number", int)


@workflow
async def adds_up(ctx: WorkflowContext, count: int) -> list[int]:
    numbers: list[int] = []
    while len(numbers) < count:
        numbers.append((await ctx.wait_event(Number)).data)
        await ctx.report(len(numbers))
    return numbers


@activity
async def takes_a_moment(seconds: float) -> None:
    await asyncio.sleep(seconds)


calls_takes_a_moment = calling(takes_a_moment)


gates: list[asyncio.Event] = []


@activity
async def passes_the_gate() -> None:
    await gates[-1].wait()


calls_passes_the_gate = calling(passes_the_gate)


@pytest.fixture
def gate() -> asyncio.Event:
    """Nothing passes before it is set."""
    gates.append(asyncio.Event())
    return gates[-1]


class Counting(WrappedStore):
    """A store that counts how often a log is read, and finds no work while it is blind.

    It withholds the short logs that come with a claim, so that each replay is counted.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.reads = 0
        self.claims = 0
        self.blind = False
        self.generous = False
        """Return short logs with claims, as any other store may."""
        self.bare = 0
        """Number of instances claimed without their log."""

    async def read(self, instance_id: str, /, *, after: int = 0, limit: int = 1000) -> Any:
        self.reads += limit > 1  # the row alone, or the end alone, is not the log
        return await self._store.read(instance_id, after=after, limit=limit)

    async def claim(self, request: Any, /) -> Any:
        self.claims += 1
        if self.blind:
            return Work(claimed=[], mail=[])
        work = await self._store.claim(request)
        if not self.generous:
            work.claimed[:] = [replace(claimed, log=()) for claimed in work.claimed]
        self.bare += sum(not claimed.log for claimed in work.claimed)
        return work


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> list[Counting]:
    """The stores of the apps opened from here on."""
    return wrap_stores(monkeypatch, Counting)


@pytest.fixture
async def front(counting: list[Counting], open_app: Open) -> Romancy:
    """An app that sends and looks; what it reads does not count."""
    app = await open_app(worker=False)
    counting.clear()
    return app


async def send(front: Romancy, handle: Handle[Any], *numbers: int) -> None:
    """Send numbers one at a time, each when the one before is in and the workflow rests; 0 is first."""
    seen: Handle[Any] = front.handle(handle.instance_id)
    for number in numbers:
        await resting(seen, number)
        await seen.signal(Number, number)


async def resting(handle: Handle[Any], count: int) -> None:
    """Wait until so many numbers are in and the instance has been released."""
    async with asyncio.timeout(60):
        while (await handle.report() or 0) != count or await handle.status() is not Status.WAITING:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_wake_up_that_finds_the_log_unchanged_replays_nothing(
    front: Romancy, counting: list[Counting], open_app: Open
) -> None:
    app = await open_app()
    handle = await app.start(adds_up, 8)

    await send(front, handle, *range(8))

    assert list(range(8)) == await handle.result(timeout=60)
    assert counting[0].reads == 0


async def test_without_room_for_resting_runs_each_wake_up_replays(
    front: Romancy, counting: list[Counting], open_app: Open
) -> None:
    app = await open_app(sticky=0)
    handle = await app.start(adds_up, 3)

    await send(front, handle, *range(3))

    assert list(range(3)) == await handle.result(timeout=60)
    assert counting[0].reads == 3


async def test_what_somebody_else_started_is_read_once(
    front: Romancy, counting: list[Counting], open_app: Open
) -> None:
    await open_app()
    handle = await front.start(adds_up, 5)

    await send(front, handle, *range(5))

    assert list(range(5)) == await handle.result(timeout=60)
    assert counting[0].reads == 1


async def test_a_log_that_came_along_is_not_read(front: Romancy, counting: list[Counting], open_app: Open) -> None:
    await open_app(sticky=0)
    counting[0].generous = True
    handle = await front.start(adds_up, 1)

    await send(front, handle, 0)

    assert [0] == await handle.result(timeout=20)
    assert counting[0].reads == counting[0].bare


async def test_what_another_worker_did_meanwhile_is_not_missed(
    front: Romancy, counting: list[Counting], open_app: Open, storage_url: str
) -> None:
    app = await open_app()
    handle = await app.start(adds_up, 3)
    await send(front, handle, 0)
    await resting(front.handle(handle.instance_id), 1)
    counting[0].blind = True
    async with Romancy(storage_url, workflows=[adds_up]):
        await send(front, handle, 1)
        await resting(front.handle(handle.instance_id), 2)
    counting[0].blind = False

    await send(front, handle, 2)

    assert [0, 1, 2] == await handle.result(timeout=60)
    assert [1, 1] == [store.reads for store in counting]


async def test_only_so_many_runs_are_kept(front: Romancy, counting: list[Counting], open_app: Open) -> None:
    app = await open_app(sticky=2)
    handles = [await app.start(adds_up, 1) for _ in range(4)]

    for handle in reversed(handles):
        await send(front, handle, 0)
        assert [0] == await handle.result(timeout=60)

    assert counting[0].reads == 2  # those that rested first


async def test_what_is_started_beyond_the_room_for_it_waits_in_the_database(
    counting: list[Counting], open_app: Open, gate: asyncio.Event
) -> None:
    app = await open_app(max_live=3)
    handles = await app.start_many([calls_passes_the_gate.bind() for _ in range(12)])

    assert len((await app.list_instances(status="pending")).instances) == 9
    gate.set()
    await asyncio.gather(*(handle.result(timeout=60) for handle in handles))
    assert counting[0].claims < 40  # it does not keep asking while there is no room


async def acquainted(*apps: Romancy) -> None:
    """Wait until each of these workers knows all the others."""
    await until(
        lambda: all(app._access.worker and len(app._access.worker.leases.peers) >= len(apps) - 1 for app in apps)
    )


async def shares(storage_url: str, handles: list[Handle[None]]) -> list[int]:
    """Return how many instances each worker has finished, from the logs."""
    store = create_store(storage_url)
    await store.open()
    done: Counter[str] = Counter()
    for handle in handles:
        history = await store.read(handle.instance_id)
        assert history is not None
        done[history.rows[-1].writer.partition(".")[0]] += 1
    await store.close()
    print(f"shares: {sorted(done.values())}")
    return sorted(done.values())


async def test_a_worker_that_starts_more_than_it_can_run_leaves_the_rest_to_others(
    open_app: Open, storage_url: str
) -> None:
    options = {"max_activities": 5, "lease": 6.0}
    app = await open_app(**options)
    await acquainted(app, await open_app(**options))
    handles = await app.start_many([calls_takes_a_moment.bind(0.2) for _ in range(60)])
    await asyncio.gather(*(handle.result(timeout=60) for handle in handles))

    first, *others = await shares(storage_url, handles)
    assert len(others) == 1
    assert first >= 60 * 0.2


@pytest.mark.parametrize("count", [300, 150], ids=["many", "few"])
async def test_work_is_shared(open_app: Open, storage_url: str, count: int) -> None:
    """Short workflows on three workers with 20 slots each: none gets less than 15 %."""
    front = await open_app(worker=False)
    await acquainted(*[await open_app(max_activities=20, lease=6.0) for _ in range(3)])
    handles = await front.start_many([calls_takes_a_moment.bind(0.2) for _ in range(count)])
    await asyncio.gather(*(handle.result(timeout=60) for handle in handles))

    first, *others = await shares(storage_url, handles)
    assert len(others) == 2
    assert first >= count * 0.15


async def test_who_comes_late_gets_a_share_of_what_is_left(open_app: Open, storage_url: str) -> None:
    """How much is left for it depends on how long it takes to start."""
    front = await open_app(worker=False)
    await acquainted(*[await open_app(max_activities=20, lease=6.0) for _ in range(2)])
    handles = await front.start_many([calls_takes_a_moment.bind(0.5) for _ in range(300)])
    await open_app(max_activities=20, lease=6.0)
    left = len([one async for one in front.iter_instances(status="pending")])
    await asyncio.gather(*(handle.result(timeout=60) for handle in handles))

    first, *others = await shares(storage_url, handles)
    assert len(others) == 2
    assert first >= left * 0.15


in_hand: list[int] = []


@activity
async def counts_what_is_in_hand() -> None:
    in_hand.append(1)
    await asyncio.sleep(0.05)
    in_hand.pop()


calls_counts_what_is_in_hand = calling(counts_what_is_in_hand)


async def test_what_is_started_beyond_max_live_waits_its_turn(storage_url: str) -> None:
    in_hand.clear()
    most = 0
    async with Romancy(storage_url, workflows=[calls_counts_what_is_in_hand], max_live=5) as app:
        handles = await app.start_many([calls_counts_what_is_in_hand.bind() for _ in range(40)])
        results = asyncio.gather(*[handle.result() for handle in handles])
        while not results.done():
            most = max(most, len(in_hand))
            await asyncio.sleep(0)
        await results

    assert 1 <= most <= 5
