"""What becomes of an instance without a free place: it is skipped, or takes the place in line of another."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from romancy import (
    EventType,
    Limit,
    PlaceExpiredError,
    RegistrationError,
    Romancy,
    RomancyError,
    StartSkippedError,
    Status,
    Workflow,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.core import PlaceAsked, PlaceGranted, PlaceNotWanted, PlaceRefused
from romancy.engine.places import Asks, demand_of, marks
from romancy.storage.backends import create_store
from romancy.storage.routing import Owner, address_held_at, address_of_lane
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy import Handle, Lane
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

SOON = 30.0
GO = EventType("go", str)


@workflow(limits=[Limit("one report", key="shop", concurrency=1, full="skip")])
async def report(ctx: WorkflowContext, shop: str) -> str:
    return (await ctx.wait_event(GO)).data


@workflow(limits=[Limit("last one", key="shop", concurrency=1, full="replace_queued")])
async def refresh(ctx: WorkflowContext, shop: str) -> str:
    return (await ctx.wait_event(GO)).data


@workflow(limits=[Limit("often", rate=(1, 3600), full="skip")])
async def often(ctx: WorkflowContext) -> str:
    return "done"


@workflow(
    limits=[
        Limit("a waits", key="first", concurrency=1, expires=SOON),
        Limit("b skips", key="second", concurrency=1, full="skip"),
    ]
)
async def at_two_limits(ctx: WorkflowContext, first: str, second: str) -> str:
    return (await ctx.wait_event(GO)).data


@workflow
async def parent(ctx: WorkflowContext, shop: str) -> str:
    try:
        return await report(shop)
    except WorkflowCancelledError as error:
        return f"skipped: {error}"


WORKFLOWS: list[Workflow[..., Any]] = [report, refresh, often, parent]


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        yield app


async def has(handle: Handle[str], kind: type) -> None:
    async def there() -> bool:
        return any(isinstance(event, kind) for event in await handle.history())

    await until(there)


async def ended(app: Romancy, instance_id: str) -> Status:
    async def over() -> bool:
        found = await app.get_instance(instance_id)
        return found is not None and found.status in (Status.CANCELLED, Status.COMPLETED, Status.FAILED)

    await until(over)
    found = await app.get_instance(instance_id)
    assert found is not None
    return found.status


async def test_a_start_without_a_free_place_is_skipped(app: Romancy) -> None:
    first = await app.start(report.options(instance_id="first"), "x")
    with pytest.raises(StartSkippedError, match="instance second was skipped") as refused:
        await app.start(report.options(instance_id="second"), "x")

    error = refused.value
    assert (error.limit, error.key, error.holders, error.instance_id) == ("one report", "x", ("first",), "second")
    await app.start(report, "y")
    with pytest.raises(WorkflowCancelledError, match="skipped: no place was free at limit 'one report'"):
        await app.handle("second", report).result(timeout=SOON)
    assert await app.limits("one report") != []
    await first.signal(GO, "done")
    assert await first.result(timeout=SOON) == "done"
    await has(await app.start(report, "x"), PlaceGranted)


async def test_the_same_start_again_has_the_same_answer(app: Romancy) -> None:
    first = await app.start(report.options(instance_id="first"), "x")
    assert (await app.start(report.options(instance_id="first"), "x")).instance_id == "first"
    for _ in range(2):
        with pytest.raises(StartSkippedError):
            await app.start(report.options(instance_id="second"), "x")
    await first.signal(GO, "done")
    await first.result(timeout=SOON)
    with pytest.raises(StartSkippedError):
        await app.start(report.options(instance_id="second"), "x")

    again = await app.start(report.options(instance_id="second"), "x", if_exists="restart_failed")

    await has(again, PlaceGranted)


async def test_a_signal_that_starts_is_skipped_too(app: Romancy) -> None:
    first = await app.signal_with_start(report.options(instance_id="first").bind("x"), GO, "one")
    assert await first.result(timeout=SOON) == "one"
    await app.start(report.options(instance_id="holder"), "x")

    with pytest.raises(StartSkippedError, match="held by holder"):
        await app.signal_with_start(report.options(instance_id="second").bind("x"), GO, "two")

    assert await ended(app, "second") is Status.CANCELLED
    await app.signal_with_start(report.options(instance_id="holder").bind("x"), GO, "three")
    assert await app.handle("holder", report).result(timeout=SOON) == "three"


async def test_of_starts_at_once_exactly_one_goes_on(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=WORKFLOWS) as one, Romancy(storage_url, workflows=WORKFLOWS) as other:
        for shop in ("x", "y", "z"):
            found = await asyncio.gather(
                *(app.start(report, shop) for app in (one, other) for _ in range(8)), return_exceptions=True
            )
            went = [handle for handle in found if not isinstance(handle, BaseException)]
            assert [1, 15] == [len(went), sum(isinstance(error, StartSkippedError) for error in found)]
            (lane,) = [lane for lane in await one.limits("one report") if lane.key == shop]
            assert (lane.taken, lane.waiting, lane.holders) == (1, 0, (went[0].instance_id,))


@pytest.mark.parametrize("way", ["priority", "without a worker"])
async def test_a_start_that_another_turn_takes_up_is_skipped_too(storage_url: str, way: str) -> None:
    async with (
        Romancy(storage_url, workflows=WORKFLOWS) as app,
        Romancy(storage_url, workflows=WORKFLOWS, worker=False) as client,
    ):
        starter, start = (app, report.options(priority=3)) if way == "priority" else (client, report)
        await app.start(report.options(instance_id="first"), "x")

        with pytest.raises(StartSkippedError, match="held by first"):
            await starter.start(start, "x")

        await has(await starter.start(start, "y"), PlaceGranted)


async def test_a_start_is_skipped_at_its_second_limit(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[at_two_limits]) as app:
        first = await app.start(at_two_limits.options(instance_id="first"), "x", "y")
        await has(first, PlaceGranted)
        holder = await app.start(at_two_limits.options(instance_id="holder"), "a", "b")
        await has(holder, PlaceGranted)

        async def starts() -> Handle[str]:
            return await app.start(at_two_limits, "a", "y")

        start = asyncio.create_task(starts())
        (lane,) = await _lane_with_a_line(app, "a waits")
        assert lane.waiting == 1
        await holder.signal(GO, "done")
        with pytest.raises(StartSkippedError, match="no place was free at limit 'b skips' with the key 'y'"):
            await start


async def _lane_with_a_line(app: Romancy, name: str) -> list[Lane]:
    async def there() -> bool:
        return any(lane.waiting for lane in await app.limits(name))

    await until(there)
    return [lane for lane in await app.limits(name) if lane.waiting]


async def test_starts_in_one_call_and_children_are_recorded(app: Romancy) -> None:
    await app.start_many([report.options(instance_id=name).bind("x") for name in ("a", "b", "c")])
    child = await app.start(parent, "x")

    assert (await child.result(timeout=SOON)).startswith("skipped: child workflow")

    async def decided() -> bool:
        found = [one.status async for one in app.iter_instances(workflow_name="report")]
        return found.count(Status.CANCELLED) == 3

    await until(decided)
    (lane,) = await app.limits("one report")
    assert (lane.taken, lane.waiting) == (1, 0)


async def test_a_start_is_skipped_while_the_limit_is_paused(app: Romancy) -> None:
    await app.pause_limit("one report")
    with pytest.raises(StartSkippedError) as refused:
        await app.start(report, "x")

    assert refused.value.holders == ()
    await app.resume_limit("one report")
    await has(await app.start(report, "x"), PlaceGranted)


async def test_a_start_that_a_rate_does_not_allow_is_skipped(app: Romancy) -> None:
    assert await (await app.start(often)).result(timeout=SOON) == "done"

    with pytest.raises(StartSkippedError):
        await app.start(often)


async def test_a_skipped_instance_can_be_tried_again(app: Romancy) -> None:
    first = await app.start(report, "x")
    with pytest.raises(StartSkippedError):
        await app.start(report.options(instance_id="second"), "x")
    await first.signal(GO, "done")
    await first.result(timeout=SOON)

    await app.retry("second")

    second = app.handle("second", report)
    await has(second, PlaceGranted)
    await second.signal(GO, "again")
    assert await second.result(timeout=SOON) == "again"


async def test_who_waits_in_line_is_replaced_by_the_newest(app: Romancy) -> None:
    handles: dict[str, Handle[str]] = {}
    for name in ("first", "second", "third", "fourth"):
        handles[name] = await app.start(refresh.options(instance_id=name), "x")
        await has(handles[name], PlaceGranted if name == "first" else PlaceAsked)
    for name in ("second", "third"):
        with pytest.raises(WorkflowCancelledError, match="another start has taken its place in line"):
            await handles[name].result(timeout=SOON)

    (lane,) = await app.limits("last one")
    assert (lane.taken, lane.waiting, lane.holders) == (1, 1, ("first",))
    await handles["first"].signal(GO, "one")
    assert await handles["first"].result(timeout=SOON) == "one"
    await has(handles["fourth"], PlaceGranted)


async def test_the_newest_waits_whatever_the_priorities_are(app: Romancy) -> None:
    priorities = {"first": 0, "low": -3, "high": 5, "last": 0}
    for name, priority in priorities.items():
        handle = await app.start(refresh.options(instance_id=name, priority=priority), "x")
        await has(handle, PlaceGranted if name == "first" else PlaceAsked)
        if name in ("high", "last"):
            before = "low" if name == "high" else "high"
            with pytest.raises(WorkflowCancelledError, match="another start has taken its place in line"):
                await app.handle(before, refresh).result(timeout=SOON)

    await app.handle("first", refresh).signal(GO, "one")

    await has(app.handle("last", refresh), PlaceGranted)


async def test_of_many_that_ask_at_once_one_waits(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=WORKFLOWS) as one, Romancy(storage_url, workflows=WORKFLOWS) as other:
        holder = await one.start(refresh.options(instance_id="holder"), "x")
        await has(holder, PlaceGranted)
        handles = await asyncio.gather(*(app.start(refresh, "x") for app in (one, other) for _ in range(20)))

        async def one_is_left() -> bool:
            found = [each.status async for each in one.iter_instances(workflow_name="refresh")]
            return found.count(Status.CANCELLED) == len(handles) - 1

        await until(one_is_left)
        (lane,) = await one.limits("last one")
        assert (lane.taken, lane.waiting) == (1, 1)
        await holder.signal(GO, "done")
        (last,) = [each for each in handles if await _is_open(one, each)]
        await has(last, PlaceGranted)


async def _is_open(app: Romancy, handle: Handle[str]) -> bool:
    found = await app.get_instance(handle.instance_id)
    return found is not None and found.status is not Status.CANCELLED


async def test_a_refusal_is_in_the_log(app: Romancy) -> None:
    await app.start(report, "x")
    with pytest.raises(StartSkippedError):
        await app.start(report.options(instance_id="second"), "x")
    await ended(app, "second")

    events = [type(event) for event in await app.history("second")]

    assert events.index(PlaceAsked) < events.index(PlaceRefused)


def test_a_limit_that_says_what_becomes_of_an_instance_is_for_workflows() -> None:
    with pytest.raises(RegistrationError, match="'replace_queued', 'cancel_running', not 'drop'"):
        Limit("x", concurrency=1, full="drop")  # type: ignore[arg-type]
    with pytest.raises(RegistrationError, match="it is for limits= of a workflow"):

        @activity(limits=[Limit("x", concurrency=1, full="skip")])
        async def call() -> None: ...


@workflow
async def section(ctx: WorkflowContext) -> None:
    async with ctx.limit(Limit("x", concurrency=1, full="skip")):
        pass


async def test_a_section_cannot_be_skipped(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[section]) as app:
        with pytest.raises(RomancyError, match="it is for limits= of a workflow"):
            await app.run(section)


class Racers(NamedTuple):
    """Instances that ask for the one place of a lane, by hand, and several stores that dispatch it."""

    stores: list[Store]
    owners: list[Owner]
    lane: str

    async def ask(self, number: int, full: str) -> None:
        """What the append of a start does; nobody dispatches behind it."""
        asked = PlaceAsked(id="place", limit="raced", concurrency=1, full=full)
        router = self.stores[0].services.router
        assert await router.register(self.owners[number], demand_of(asked)) is None
        await router.post(marks({self.lane: Asks.REFUSALS}, lambda: f"mark-{number}-{next(COUNT)}"))

    async def inside(self) -> list[str]:
        return [one.name for one, _ in await self.stores[0].services.router.interests(address_held_at(self.lane))]

    async def told(self) -> dict[str, int]:
        """How many messages lie in the inbox of each."""
        lying = await self.stores[0].services.lookups.lying()
        return dict(Counter(one.instance_id for one in lying))

    async def left(self) -> int:
        """How many messages lie at the lane."""
        return len(await self.stores[0].services.router.kept(address=self.lane))


COUNT = count()


@pytest.fixture
async def racers(open_app: Callable[..., Awaitable[Romancy]], storage_url: str) -> AsyncGenerator[Racers]:
    app = await open_app(worker=False)
    ids = [f"racer-{number:02}" for number in range(12)]
    await app.start_many([parent.options(instance_id=one).bind("x") for one in ids])
    stores = [create_store(storage_url) for _ in range(3)]
    for one in stores:
        await one.open()
    found = [await stores[0].read(one, limit=0) for one in ids]
    owners = [Owner(one.instance.instance_id, one.instance.life) for one in found if one is not None]
    yield Racers(stores, owners, address_of_lane("raced", ""))
    for one in stores:
        await one.close()


async def test_dispatches_at_the_same_time_refuse_each_once(racers: Racers) -> None:
    await asyncio.gather(*(racers.ask(number, "skip") for number in range(12)))

    await asyncio.gather(*(one.services.router.dispatch([racers.lane]) for one in racers.stores * 4))

    assert len(await racers.inside()) == 1
    assert await racers.told() == dict.fromkeys((one.name for one in racers.owners), 1)
    assert await racers.left() == 0
    assert await racers.stores[0].services.router.interests(racers.lane) == []


async def test_a_sweep_refuses_what_a_crash_has_left(racers: Racers) -> None:
    for number in range(3):
        await racers.ask(number, "skip")

    while (await racers.stores[1].services.router.dispatch()).more:
        pass

    assert await racers.inside() == ["racer-00"]
    assert await racers.told() == {"racer-00": 1, "racer-01": 1, "racer-02": 1}
    await racers.stores[2].services.router.dispatch([racers.lane])
    assert await racers.told() == {"racer-00": 1, "racer-01": 1, "racer-02": 1}


async def test_the_newest_waits_whichever_dispatch_sees_it(racers: Racers) -> None:
    for number in range(12):
        await racers.ask(number, "replace_queued")
        if number % 5 == 0:
            await asyncio.gather(*(one.services.router.dispatch([racers.lane]) for one in racers.stores))
    await asyncio.gather(*(one.services.router.dispatch([racers.lane]) for one in racers.stores))

    assert await racers.inside() == ["racer-00"]
    ((waits, _),) = await racers.stores[0].services.router.interests(racers.lane)
    assert waits.name == "racer-11"
    assert await racers.told() == {f"racer-{number:02}": 1 for number in range(11)}


async def test_who_queues_goes_before_who_is_skipped(racers: Racers) -> None:
    await racers.ask(0, "skip")
    await racers.ask(1, "")
    await racers.ask(2, "")

    await racers.stores[0].services.router.dispatch([racers.lane])

    assert await racers.inside() == ["racer-01"]
    assert await racers.told() == {"racer-00": 1, "racer-01": 1}


@workflow(limits=[Limit("impatient", concurrency=1, expires=0.3)])
async def impatient(ctx: WorkflowContext) -> str:
    return (await ctx.wait_event(GO)).data


@workflow(limits=[Limit("impatient", concurrency=1)])
async def patient(ctx: WorkflowContext) -> str:
    return (await ctx.wait_event(GO)).data


CALLS = Limit("impatient calls", concurrency=1, expires=0.3)
PATIENT_CALLS = Limit("impatient calls", concurrency=1)


@activity(limits=[CALLS])
async def call(name: str) -> str:
    return name


@activity(limits=[PATIENT_CALLS])
async def call_patiently(name: str) -> str:
    return name


@workflow
async def section_then_call(ctx: WorkflowContext) -> str:
    said: list[str] = []
    try:
        async with ctx.limit(CALLS):
            said.append("inside")
    except PlaceExpiredError as error:
        said.append(f"section: {error.limit}")
    try:
        said.append(await call("called"))
    except PlaceExpiredError as error:
        said.append(f"call: {error.limit}")
    await ctx.wait_event(GO)
    said.append(await call_patiently("called"))
    return ", ".join(said)


@workflow
async def holds(ctx: WorkflowContext) -> str:
    async with ctx.limit(PATIENT_CALLS):
        return (await ctx.wait_event(GO)).data


async def test_who_has_waited_for_too_long_expires_by_name(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[impatient, patient]) as app:
        first = await app.start(patient)
        await has(first, PlaceGranted)
        second = await app.start(impatient)

        with pytest.raises(WorkflowFailedError, match=r"no place came within 0\.3 s") as failed:
            await second.result(timeout=SOON)

        assert failed.value.error_type == "romancy.errors.PlaceExpiredError"
        (lane,) = await app.limits("impatient")
        assert (lane.taken, lane.waiting) == (1, 0)
        await first.signal(GO, "done")
        assert await first.result(timeout=SOON) == "done"
        third = await app.start(patient)
        await third.signal(GO, "third")
        assert await third.result(timeout=SOON) == "third"


async def test_a_section_and_a_call_that_expire_leave_the_line(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[section_then_call, holds]) as app:
        holder = await app.start(holds)
        await has(holder, PlaceGranted)
        other = await app.start(section_then_call)

        async def both_expired() -> bool:
            return [type(event) for event in await other.history()].count(PlaceNotWanted) == 2

        await until(both_expired)
        assert [lane.waiting for lane in await app.limits("impatient calls")] == [0]
        await holder.signal(GO, "done")
        assert await holder.result(timeout=SOON) == "done"
        await other.signal(GO, "go on")

        assert await other.result(timeout=SOON) == "section: impatient calls, call: impatient calls, called"


@pytest.mark.parametrize("expires", [0, -1, float("nan"), 40 * 86_400])
def test_a_time_in_line_that_makes_no_sense_is_refused(expires: float) -> None:
    with pytest.raises(RegistrationError, match=r"Limit\('x'\): expires="):
        Limit("x", concurrency=1, expires=expires)
