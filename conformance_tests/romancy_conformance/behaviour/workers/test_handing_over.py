"""A worker hands back what it began and cannot run soon, once others come; one that drains gives all away at once."""

# Only a worker's private state shows what it holds.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from romancy import EventType, WorkflowContext, activity, activity_context, workflow
from romancy.core import OwnerChanged, decode_commit
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.sharing import (
    acquainted,
    calls_share_sleeps,
    ended,
    ids,
    shares,
)
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy import Romancy, Workflow
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Goes = EventType("goes", int)
gates: list[asyncio.Event] = []
thread_gates: list[threading.Event] = []
begun: list[str] = []
EARLY = 8
"""So many attempts pass a late gate before it is opened."""


@activity
async def over_gate(number: int) -> int:
    begun.append(activity_context().instance_id)
    await gates[-1].wait()
    return number


@activity
def over_thread_gate(number: int) -> int:
    begun.append(activity_context().instance_id)
    thread_gates[-1].wait(60)
    return number


@activity
async def over_late_gate(seconds: float) -> int:
    begun.append(activity_context().instance_id)
    if len(begun) > EARLY:
        await gates[-1].wait()
    await asyncio.sleep(seconds)
    return 0


@activity
def over_late_thread_gate(seconds: float) -> int:
    begun.append(activity_context().instance_id)
    if len(begun) > EARLY:
        thread_gates[-1].wait(60)
    time.sleep(seconds)
    return 0


calls_over_gate = calling(over_gate)
calls_over_thread_gate = calling(over_thread_gate)
calls_over_late_gate = calling(over_late_gate)
calls_over_late_thread_gate = calling(over_late_thread_gate)


@workflow
async def over_late_gate_twice(ctx: WorkflowContext, seconds: float) -> int:
    await over_late_gate(seconds)
    return await over_late_gate(seconds)


@workflow
async def over_fan_out(ctx: WorkflowContext, count: int) -> int:
    return sum(await asyncio.gather(*(over_gate(number) for number in range(count))))


@workflow
async def over_hears(ctx: WorkflowContext) -> int:
    await over_gate(0)
    return (await ctx.wait_event(Goes)).data


@pytest.fixture
def workflows() -> list[Workflow[..., Any]]:
    return [
        calls_share_sleeps, calls_over_late_gate, calls_over_late_thread_gate, over_late_gate_twice,
        calls_over_gate, calls_over_thread_gate, over_fan_out, over_hears,
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def gate() -> Iterator[asyncio.Event]:
    begun.clear()
    gates.append(asyncio.Event())
    thread_gates.append(threading.Event())
    yield gates[-1]
    thread_gates[-1].set()


def loaded(app: Romancy) -> list[str]:
    """The instances that the app's worker holds."""
    assert app._access.worker is not None
    return list(app._access.worker.driver.live)


def token(app: Romancy) -> str:
    assert app._access.worker is not None
    return app._access.worker.leases.token


@pytest.mark.parametrize(
    ("wf", "options"),
    [
        pytest.param(calls_over_late_gate, {"max_activities": 2}, id="coroutines"),
        pytest.param(over_late_gate_twice, {"max_activities": 2}, id="two steps", marks=pytest.mark.long),
        pytest.param(calls_over_late_thread_gate, {"max_threads": 2}, id="threads", marks=pytest.mark.long),
    ],
)
async def test_what_a_worker_began_alone_is_shared_with_who_comes(
    open_app: Open, storage_url: str, gate: asyncio.Event, wf: Workflow[..., int], options: dict[str, int]
) -> None:
    """Only some of it is done before the others have come, however long they take."""
    first = await open_app(**options)
    handles = await first.start_many([wf.bind(0.1) for _ in range(120)])
    await until(lambda: len(begun) > EARLY and len(loaded(first)) > 80)
    await acquainted(first, await open_app(**options), await open_app(**options))
    gate.set()
    thread_gates[-1].set()
    await ended(handles)

    found = await shares(storage_url, ids(handles))
    assert len(found.done) == 3
    assert found.done[token(first)] <= 120 * 0.75
    assert 0 < found.moves <= 1.1 * found.by_others


async def test_a_worker_alone_hands_nothing_back(open_app: Open, storage_url: str) -> None:
    first = await open_app(max_activities=2)
    handles = await first.start_many([calls_share_sleeps.bind(0.02) for _ in range(100)])
    await ended(handles)

    assert (await shares(storage_url, ids(handles))).moves == 0


async def test_nothing_is_handed_to_workers_that_do_not_know_the_code(open_app: Open, gate: asyncio.Event) -> None:
    first = await open_app(max_activities=1)
    await first.start_many([calls_over_gate.bind(number) for number in range(30)])
    await until(lambda: len(begun) == 1 and len(loaded(first)) == 30)
    await open_app(workflows=[calls_share_sleeps])
    assert first._access.worker is not None
    handing_over = first._access.worker._handing_over
    await until(lambda: first._access.worker and first._access.worker.leases.peers)

    assert not await handing_over._hand_some_over()
    assert len(loaded(first)) == 30
    gate.set()


class Recording(WrappedStore):
    """A store that records which instances were handed back."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.released: list[str] = []

    async def commit(self, batch: Any, /, **options: Any) -> Any:
        self.released += [
            item.instance_id
            for item in batch
            if getattr(item, "change", None) is not None
            and item.change.release
            and any(isinstance(event, OwnerChanged) for event in decode_commit(item.body))
        ]
        return await self._store.commit(batch, **options)


async def test_what_has_begun_is_not_handed_over(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, gate: asyncio.Event
) -> None:
    """Of a fan-out, one attempt runs: it stays whole. Those that wait for slots go."""
    stores = wrap_stores(monkeypatch, Recording)
    first = await open_app(max_activities=1)
    whole = await first.start(over_fan_out, 5)
    await until(lambda: begun == [whole.instance_id])
    handles = await first.start_many([calls_over_gate.bind(number) for number in range(10)])
    await until(lambda: len(loaded(first)) == 11)
    second = await open_app(max_activities=4)
    await until(lambda: len(begun) == 5)

    assert set(begun[1:]) <= set(ids(handles))
    assert whole.instance_id not in stores[0].released
    assert set(loaded(second)) == set(begun[1:])
    gate.set()
    await ended([whole, *handles])
    assert begun.count(whole.instance_id) == 5
    assert len(begun) == len(set(begun)) + 4, "no attempt was begun twice"


async def test_mail_for_what_was_handed_over_arrives(open_app: Open, gate: asyncio.Event) -> None:
    first = await open_app(max_activities=1)
    handles = await first.start_many([over_hears.bind() for _ in range(12)])
    await until(lambda: begun)
    for number, handle in enumerate(handles[:6]):
        await handle.signal(Goes, number)
    second = await open_app(max_activities=2)
    await until(lambda: len(begun) == 3)
    for number, handle in enumerate(handles[6:], 6):
        await handle.signal(Goes, number)
    gate.set()

    assert await asyncio.gather(*(handle.result(timeout=60) for handle in handles)) == list(range(12))
    assert second is not first


async def test_an_instance_keeps_its_place(open_app: Open, storage_url: str, gate: asyncio.Event) -> None:
    """What goes back is due since it was begun, before what was started later."""
    first = await open_app(max_activities=1)
    front = await open_app(worker=False)
    handles = await first.start_many([calls_over_gate.bind(number) for number in range(8)])
    await until(lambda: begun)
    store = create_store(storage_url)
    await store.open()
    before = (await store.services.reading.census()).now
    await first.drain(0)
    rows = [await store.read(handle.instance_id, limit=0) for handle in handles]
    await store.close()

    assert all(row is not None and row.instance.owner is None for row in rows)
    assert all(row is not None and 0 < (row.instance.wake_at or 0) <= before for row in rows)
    gate.set()
    await open_app(max_activities=8)
    await ended([front.handle(handle.instance_id, calls_over_gate) for handle in handles])


@pytest.mark.parametrize("threads", [False, True], ids=["coroutines", "threads"])
async def test_who_drains_gives_away_at_once_what_does_not_run(
    open_app: Open, gate: asyncio.Event, *, threads: bool
) -> None:
    wf = calls_over_thread_gate if threads else calls_over_gate
    first = await open_app(max_activities=50 if threads else 1, max_threads=1)
    handles = await first.start_many([wf.bind(number) for number in range(10)])
    await until(lambda: len(begun) == 1 and len(loaded(first)) == 10)
    draining = asyncio.create_task(first.drain(60))
    second = await open_app(max_activities=20, max_threads=20)
    await until(lambda: len(begun) == 10)

    assert not draining.done()
    assert set(loaded(second)) == set(ids(handles)) - set(begun[:1])
    gate.set()
    thread_gates[-1].set()
    await asyncio.wait_for(draining, 60)
    await ended([second.handle(handle.instance_id, wf) for handle in handles])
    assert len(begun) == 10, "nothing ran twice"


async def test_workers_that_know_each_other_leave_starts_in_the_database(
    open_app: Open, storage_url: str, gate: asyncio.Event
) -> None:
    """A web application that works: it begins what it has room for."""
    first = await open_app(max_activities=3, lease=6.0)
    await acquainted(first, await open_app(max_activities=3, lease=6.0))
    handles = await first.start_many([calls_over_gate.bind(number) for number in range(20)])
    await until(lambda: len(begun) == 6)
    front = await open_app(worker=False)
    pending = [one async for one in front.iter_instances(status="pending")]

    assert len(loaded(first)) <= 6
    assert len(pending) >= 8
    gate.set()
    await ended(handles)
    assert (await shares(storage_url, ids(handles))).moves == 0
