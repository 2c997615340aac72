"""What `full="cancel_running"` does: the newest start gets a place, and who has it is cancelled."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    Limit,
    RegistrationError,
    Romancy,
    Status,
    Workflow,
    WorkflowCancelledError,
    WorkflowContext,
    activity,
    workflow,
)
from romancy.core import CancelRequested, PlaceAsked, PlaceGranted
from romancy.engine.places import Asks, demand_of, marks
from romancy.storage.admission import decode_terms
from romancy.storage.backends import create_store
from romancy.storage.routing import Owner, address_held_at, address_of_lane
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy import Handle
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

SOON = 30.0
GO = EventType("go", str)
undone: list[str] = []
NEWEST = Limit("newest", key="key", concurrency=1, full="cancel_running")


@workflow(limits=[NEWEST])
async def index(ctx: WorkflowContext, key: str) -> str:
    return (await ctx.wait_event(GO)).data


@workflow(limits=[Limit("newest two", key="key", concurrency=2, full="cancel_running")])
async def index_twice(ctx: WorkflowContext, key: str) -> str:
    return (await ctx.wait_event(GO)).data


@workflow(limits=[Limit("newest", key="key", concurrency=1)])
async def patient(ctx: WorkflowContext, key: str) -> str:
    return (await ctx.wait_event(GO)).data


@workflow(limits=[NEWEST])
async def refuses(ctx: WorkflowContext, key: str) -> str:
    try:
        return (await ctx.wait_event(GO)).data
    except asyncio.CancelledError:
        return (await ctx.wait_event(GO)).data


async def undo_reserve(key: str) -> None:
    undone.append(key)


@activity(compensation=undo_reserve)
async def reserve(key: str) -> None: ...


@workflow(limits=[NEWEST])
async def reserves(ctx: WorkflowContext, key: str) -> str:
    await reserve(key)
    return (await ctx.wait_event(GO)).data


@workflow(limits=[NEWEST])
async def gets_stuck(ctx: WorkflowContext, key: str) -> str:
    return str(await asyncio.get_running_loop().create_future())


@workflow(limits=[NEWEST])
async def rounds(ctx: WorkflowContext, key: str, left: int) -> str:
    await ctx.wait_event(GO)
    if left:
        rounds.recur(key, left - 1)
    return "last"


WORKFLOWS: list[Workflow[..., Any]] = [index, index_twice, patient, refuses, reserves, gets_stuck, rounds]


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    undone.clear()
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        yield app


async def has(handle: Handle[str], kind: type) -> None:
    async def there() -> bool:
        return any(isinstance(event, kind) for event in await handle.history())

    await until(there)


async def waits_behind(app: Romancy, handle: Handle[str]) -> None:
    await has(handle, PlaceAsked)

    async def there() -> bool:
        return any(lane.waiting for lane in await app.limits())

    await until(there)


async def is_cancelled_for_another(handle: Handle[str]) -> None:
    with pytest.raises(WorkflowCancelledError, match="another start takes its place at limit"):
        await handle.result(timeout=SOON)


async def test_the_new_start_gets_the_place_of_the_one_that_runs(app: Romancy) -> None:
    first = await app.start(index.options(instance_id="first"), "x")
    await has(first, PlaceGranted)
    other = await app.start(index, "y")
    await has(other, PlaceGranted)

    second = await app.start(index.options(instance_id="second"), "x")

    await is_cancelled_for_another(first)
    await has(second, PlaceGranted)
    await second.signal(GO, "done")
    await other.signal(GO, "other")
    assert [await second.result(timeout=SOON), await other.result(timeout=SOON)] == ["done", "other"]
    assert await app.limits("newest") == []


async def test_the_place_is_given_when_the_one_that_had_it_has_compensated(app: Romancy) -> None:
    first = await app.start(reserves, "x")
    await has(first, PlaceGranted)

    second = await app.start(index, "x")

    await has(second, PlaceGranted)
    assert undone == ["x"]
    await is_cancelled_for_another(first)


async def test_of_several_places_the_first_is_given_up(app: Romancy) -> None:
    handles: list[Handle[str]] = []
    for number in range(4):
        handles.append(await app.start(index_twice.options(instance_id=f"{number}"), "x"))
        await has(handles[-1], PlaceGranted)

    for one in handles[:2]:
        await is_cancelled_for_another(one)
    (lane,) = await app.limits("newest two")
    assert sorted(lane.holders) == ["2", "3"]


async def test_of_many_that_ask_at_once_one_gets_the_place(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=WORKFLOWS) as one, Romancy(storage_url, workflows=WORKFLOWS) as other:
        holder = await one.start(index.options(instance_id="holder"), "x")
        await has(holder, PlaceGranted)
        await asyncio.gather(*(app.start(index, "x") for app in (one, other) for _ in range(15)))

        async def one_is_left() -> bool:
            found = [each.status async for each in one.iter_instances(workflow_name="index")]
            return found.count(Status.CANCELLED) == 30

        await until(one_is_left)
        (last,) = [
            each async for each in one.iter_instances(workflow_name="index") if each.status is not Status.CANCELLED
        ]
        handle = one.handle(last.instance_id, index)
        await has(handle, PlaceGranted)
        await handle.signal(GO, "done")
        assert await handle.result(timeout=SOON) == "done"
        assert await one.limits("newest") == []


async def test_who_does_not_say_so_is_not_cancelled(app: Romancy) -> None:
    first = await app.start(patient, "x")
    await has(first, PlaceGranted)
    second = await app.start(index.options(instance_id="second"), "x")
    await waits_behind(app, second)

    third = await app.start(index.options(instance_id="third"), "x")

    with pytest.raises(WorkflowCancelledError, match="another start has taken its place in line"):
        await second.result(timeout=SOON)
    await first.signal(GO, "done")
    assert await first.result(timeout=SOON) == "done"
    await has(third, PlaceGranted)


async def test_who_queues_before_it_goes_first_and_is_not_cancelled(app: Romancy) -> None:
    first = await app.start(index, "x")
    await has(first, PlaceGranted)
    queues = await app.start(patient, "x")
    await waits_behind(app, queues)
    newest = await app.start(index, "x")
    await has(newest, PlaceAsked)

    await first.signal(GO, "done")

    assert await first.result(timeout=SOON) == "done"
    await has(queues, PlaceGranted)
    await queues.signal(GO, "done")
    assert await queues.result(timeout=SOON) == "done"
    await has(newest, PlaceGranted)


async def test_who_refuses_to_stop_keeps_its_place_and_is_told_once(app: Romancy) -> None:
    first = await app.start(refuses, "x")
    await has(first, PlaceGranted)
    second = await app.start(index.options(instance_id="second"), "x")
    await has(first, CancelRequested)
    third = await app.start(index.options(instance_id="third"), "x")
    with pytest.raises(WorkflowCancelledError, match="another start has taken its place in line"):
        await second.result(timeout=SOON)

    (lane,) = await app.limits("newest")
    assert (lane.taken, lane.waiting, lane.holders) == (1, 1, (first.instance_id,))
    await first.signal(GO, "done")
    assert await first.result(timeout=SOON) == "done"
    await has(third, PlaceGranted)
    assert [type(event) for event in await first.history()].count(CancelRequested) == 1


@pytest.mark.unreplayable("an instance is stuck on purpose")
async def test_who_is_stuck_keeps_its_place_until_that_is_given_back_by_hand(app: Romancy) -> None:
    first = await app.start(gets_stuck, "x")

    async def is_stuck() -> bool:
        found = await app.get_instance(first.instance_id)
        return found is not None and found.status is Status.STUCK

    await until(is_stuck)
    second = await app.start(index, "x")
    await waits_behind(app, second)

    assert f"held by {first.instance_id} (stuck; " in " ".join(await second.explain())
    assert await app.free_places(first.instance_id) == ["newest"]

    await has(second, PlaceGranted)
    assert await is_stuck()


async def test_a_paused_limit_cancels_nobody_until_it_is_resumed(app: Romancy) -> None:
    first = await app.start(index, "x")
    await has(first, PlaceGranted)
    await app.pause_limit("newest")
    second = await app.start(index, "x")
    await waits_behind(app, second)
    await app.change_limit("newest", concurrency=1)
    assert not any(isinstance(event, CancelRequested) for event in await first.history())

    await app.resume_limit("newest")

    await is_cancelled_for_another(first)
    await has(second, PlaceGranted)


async def test_a_lower_number_of_an_operator_cancels_as_many_as_it_takes(app: Romancy) -> None:
    handles = [await app.start(index_twice, "x") for _ in range(2)]
    for one in handles:
        await has(one, PlaceGranted)
    await app.change_limit("newest two", concurrency=1)

    last = await app.start(index_twice, "x")

    for one in handles:
        await is_cancelled_for_another(one)
    await has(last, PlaceGranted)


async def test_a_run_that_recurs_asks_anew_and_takes_over(app: Romancy) -> None:
    first = await app.start(rounds, "x", 1)
    await has(first, PlaceGranted)
    await first.signal(GO, "go on")

    async def asked_again() -> bool:
        return sum(isinstance(event, PlaceGranted) for event in await first.history()) > 1

    await until(asked_again)
    second = await app.start(index, "x")

    await is_cancelled_for_another(first)
    await has(second, PlaceGranted)


async def test_its_own_cancellation_comes_first(app: Romancy) -> None:
    first = await app.start(index, "x")
    await has(first, PlaceGranted)
    await first.cancel("enough")
    with pytest.raises(WorkflowCancelledError, match="enough"):
        await first.result(timeout=SOON)

    await has(await app.start(index, "x"), PlaceGranted)


COUNT = count()


async def test_dispatches_at_the_same_time_stop_one_once(
    open_app: Callable[..., Awaitable[Romancy]], storage_url: str
) -> None:
    app = await open_app(workflows=WORKFLOWS, worker=False)
    ids = [f"racer-{number}" for number in range(6)]
    await app.start_many([patient.options(instance_id=one).bind("elsewhere") for one in ids])
    stores = [create_store(storage_url) for _ in range(3)]
    for one in stores:
        await one.open()
    found = [await stores[0].read(one, limit=0) for one in ids]
    owners = [Owner(one.instance.instance_id, one.instance.life) for one in found if one is not None]
    lane = address_of_lane("raced", "")
    for owner in owners:
        await _asks(stores[0], owner, lane)

    await asyncio.gather(*(one.services.router.dispatch([lane]) for one in stores * 3))
    await _asks(stores[0], owners[0], lane, "second")
    await asyncio.gather(*(one.services.router.dispatch([lane]) for one in stores * 3))

    ((inside, place),) = await stores[0].services.router.interests(address_held_at(lane))
    assert decode_terms(place.where).told
    told = Counter(one.instance_id for one in await stores[0].services.lookups.lying())
    assert told == Counter({one.name: 2 if one == inside else 1 for one in owners})
    assert [one.name for one, _ in await stores[0].services.router.interests(lane)] == [owners[0].name]
    assert await stores[0].services.router.kept(address=lane) == []
    await _ends(stores[0], inside, place.interest_id, lane)
    await stores[0].services.router.dispatch([lane])
    ((after, _),) = await stores[0].services.router.interests(address_held_at(lane))
    assert after == owners[0]
    for one in stores:
        await one.close()


async def _asks(store: Store, owner: Owner, lane: str, place: str = "place") -> None:
    """What the append of a start does; nobody dispatches behind it."""
    asked = PlaceAsked(id=place, limit="raced", concurrency=1, full="cancel_running")
    assert await store.services.router.register(owner, demand_of(asked)) is None
    await store.services.router.post(marks({lane: Asks.CANCELS}, lambda: f"mark-{next(COUNT)}"))


async def _ends(store: Store, owner: Owner, place: str, lane: str) -> None:
    await store.services.router.unregister(owner, [place])
    await store.services.router.post(marks({lane: Asks.NOTHING}, lambda: f"mark-{next(COUNT)}"))


def test_it_needs_a_number_of_places() -> None:
    with pytest.raises(RegistrationError, match="full='cancel_running' cancels who has a place; give concurrency="):
        Limit("x", rate=(1, 60), full="cancel_running")
    with pytest.raises(RegistrationError, match="it is for limits= of a workflow"):

        @activity(limits=[Limit("x", concurrency=1, full="cancel_running")])
        async def call() -> None: ...
