"""Limits: how many run at once and begin in a period, who comes next, and what gives a place back."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING

import pytest

from romancy import (
    HmacCodec,
    Limit,
    Romancy,
    TerminalError,
    UsageError,
    Workflow,
    WorkflowContext,
    WorkflowFailedError,
    ZlibCodec,
    activity,
    workflow,
)
from romancy.core import ActivityCancelled, PlaceAsked, PlaceGranted
from romancy.engine.places import Asks, demand_of, marks
from romancy.storage.backends import create_store
from romancy.storage.routing import Interest, InterestKind, Owner, address_held_at, address_of_lane
from romancy_conformance.behaviour.limits.serving import (
    GO,
    PRINTER,
    SOON,
    cancel,
    complete,
    enter,
    enters,
    enters_next,
    has_entered,
    inside,
    nobody_enters,
    nobody_inside,
    prints,
    serve,
    served,
    terminate,
    until_asked,
    until_it_rests,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy import Handle

pytestmark = pytest.mark.anyio

__all__ = ["nobody_inside"]


async def test_no_more_are_inside_than_allowed_and_the_others_come_in_their_order(app: Romancy) -> None:
    handles = await served(app, "c1", "a", "b", "c", "d")
    await enters("a", "b")
    await handles["b"].signal(GO, "done")

    assert await enters_next() == "c"
    await handles["a"].signal(GO, "done")
    assert await enters_next() == "d"
    assert inside in (["a", "b", "c", "d"], ["b", "a", "c", "d"])
    for one in ("c", "d"):
        await handles[one].signal(GO, "done")
    assert [await one.result(timeout=SOON) for one in handles.values()] == ["done"] * 4


async def test_each_key_has_a_limit_of_its_own(app: Romancy) -> None:
    await served(app, "c1", "a", "b", "c")
    await enters("a", "b")
    await served(app, "c2", "x")

    await enters("x")


@pytest.mark.parametrize("end", [cancel, terminate, complete])
async def test_every_end_of_an_instance_gives_its_place_back(
    app: Romancy, end: Callable[[Romancy, Handle[str]], Awaitable[None]]
) -> None:
    handles = await served(app, "c1", "a", "b", "c")
    await enters("a", "b")

    await end(app, handles["a"])

    assert await enters_next() == "c"


@pytest.mark.parametrize("end", [cancel, terminate])
async def test_who_is_stopped_while_it_waits_leaves_the_line(
    app: Romancy, end: Callable[[Romancy, Handle[str]], Awaitable[None]]
) -> None:
    handles = await served(app, "c1", "a", "b", "c", "d")
    await enters("a", "b")
    await end(app, handles["c"])

    await complete(app, handles["a"])

    assert await enters_next() == "d"


async def test_a_holder_that_rests_and_is_terminated_gives_its_place_back(app: Romancy) -> None:
    await served(app, "c1", "a", "b", "c")
    await enters("a", "b")
    await until_it_rests(app, "a")

    await app.terminate("a", reason="enough")

    assert await enters_next() == "c"


async def test_a_section_of_a_body_has_a_place_and_gives_it_back_at_its_end(app: Romancy) -> None:
    first = await app.start(prints, "first")
    await enters("first")
    second = await app.start(prints, "second")
    await until_asked(second)
    await first.signal(GO, "print")
    await enters("second")
    await second.signal(GO, "print")

    for one in (first, second):
        await one.signal(GO, "end")
    assert [await one.result(timeout=SOON) for one in (first, second)] == ["first", "second"]


@workflow
async def serves_by_hand(ctx: WorkflowContext, limit: str, customer: str | None, name: str) -> str:
    async with ctx.limit(limit, customer):
        await enter(name)
        await ctx.wait_event(GO)
    return name


async def test_a_section_shares_the_places_of_a_limit_that_it_names(app: Romancy) -> None:
    await served(app, "c1", "a", "b")
    await enters("a", "b")
    section = await app.start(serves_by_hand, "per customer", "c1", "by hand")
    await until_asked(section)
    assert nobody_enters()

    await app.signal("a", GO, "done")

    await enters("by hand")
    await section.signal(GO, "done")
    assert await section.result(timeout=SOON) == "by hand"


@pytest.mark.parametrize(
    ("limit", "customer", "told"),
    [
        ("per custome", "c1", "did you mean 'per customer'?"), ("nothing of this kind", None, "they declare "),
        ("per customer", None, "limit 'per customer' has a key"),
        ("two numbers", None, "declares different numbers under this name"),
    ],
)  # fmt: skip
async def test_a_name_that_says_no_limit_is_refused_at_the_line(
    app: Romancy, limit: str, customer: str | None, told: str
) -> None:
    handle = await app.start(serves_by_hand, limit, customer, "nobody")

    with pytest.raises(WorkflowFailedError, match=re.escape(told)):
        await handle.result(timeout=SOON)

    assert await app.limits(limit) == []


@workflow(limits=[Limit("two numbers", concurrency=1)])
async def once(ctx: WorkflowContext) -> None: ...


@workflow(limits=[Limit("two numbers", concurrency=2)])
async def twice_at_most(ctx: WorkflowContext) -> None: ...


running = 0
most = 0


@activity(limits=[Limit("calls", concurrency=2)])
async def call(number: int) -> int:
    global running, most  # noqa: PLW0603 - seen from outside
    running += 1
    most = max(most, running)
    for _ in range(5):
        await asyncio.sleep(0)
    running -= 1
    return number


@workflow
async def calls(ctx: WorkflowContext, count: int) -> list[int]:
    return list(await asyncio.gather(*(call(number) for number in range(count))))


async def test_calls_of_an_activity_run_within_its_limit(app: Romancy) -> None:
    global running, most  # noqa: PLW0603 - seen from outside
    running = most = 0

    handles = [await app.start(calls, 5) for _ in range(4)]

    assert [await one.result(timeout=SOON) for one in handles] == [[0, 1, 2, 3, 4]] * 4
    assert most == 2


stopping: asyncio.Event
stopped: asyncio.Event


@activity(limits=[Limit("one at a time", concurrency=1)])
async def slow_to_stop(name: str) -> str:
    has_entered(name)
    try:
        await stopped.wait()
    except asyncio.CancelledError:
        stopping.set()
        await stopped.wait()
        raise
    return name


@workflow
async def impatient(ctx: WorkflowContext, name: str) -> str:
    return await slow_to_stop(name)


async def test_a_call_that_is_given_up_keeps_its_place_until_it_has_stopped(app: Romancy) -> None:
    global stopping, stopped
    stopping, stopped = asyncio.Event(), asyncio.Event()
    first = await app.start(impatient, "first")
    await enters("first")
    second = await app.start(impatient, "second")
    await until_asked(second)

    await first.cancel("enough")
    await asyncio.wait_for(stopping.wait(), SOON)
    assert nobody_enters()
    stopped.set()

    assert await enters_next() == "second"
    assert await second.result(timeout=SOON) == "second"
    (end,) = [event.at for event in await first.history() if isinstance(event, ActivityCancelled)]
    assert await begun_at(second) >= end


@workflow(limits=[Limit("often", rate=(2, 0.5))])
async def often(ctx: WorkflowContext) -> str:
    return "done"


async def test_no_period_has_more_begins_than_the_rate(app: Romancy) -> None:
    handles = [await app.start(often) for _ in range(6)]
    for one in handles:
        await one.result(timeout=SOON)

    begins = sorted([await begun_at(one) for one in handles])
    assert all(later - first >= 500_000 for first, later in zip(begins, begins[2:], strict=False))


async def begun_at(handle: Handle[str]) -> int:
    """When the database gave the place: the time of the message with which it came."""
    (at,) = [event.at for event in await handle.history() if isinstance(event, PlaceGranted)]
    return at


@workflow(limits=[Limit("rounds", concurrency=1)])
async def rounds(ctx: WorkflowContext, name: str, left: int) -> str:
    await enter(f"{name}{left}")
    if left:
        rounds.recur(name, left - 1)
    await ctx.wait_event(GO)
    return name


async def test_a_run_that_recurs_stands_in_line_again(app: Romancy) -> None:
    first = await app.start(rounds, "a", 2)
    assert [await enters_next() for _ in range(3)] == ["a2", "a1", "a0"]
    second = await app.start(rounds, "b", 0)
    await until_asked(second)
    await first.signal(GO, "go")

    assert await enters_next() == "b0"
    await second.signal(GO, "go")
    assert await second.result(timeout=SOON) == "b"


@workflow(limits=[Limit("per shop", key="order.shop", concurrency=1)])
async def keyed(ctx: WorkflowContext, order: dict[str, str]) -> None: ...


async def test_an_input_without_the_key_is_refused_before_anything_is_written(app: Romancy) -> None:
    with pytest.raises(UsageError, match="missing or null"):
        await app.start(keyed, {"customer": "7"})


@workflow
async def twice(ctx: WorkflowContext, name: str) -> str:
    async with ctx.limit(PRINTER):
        await call(1)
    return await serve(name, name)


@workflow(limits=[Limit("per customer", key="customer", concurrency=2)])
async def parent(ctx: WorkflowContext, customer: str) -> str:
    return await serve(customer, "child")


async def test_a_child_that_would_wait_for_its_parent_is_refused(app: Romancy) -> None:
    handle = await app.start(parent, "c1")

    with pytest.raises(WorkflowFailedError, match="parent and child would wait for each other"):
        await handle.result(timeout=SOON)


async def test_children_have_places_of_their_own(app: Romancy) -> None:
    handles = [await app.start(twice, "c9") for _ in range(3)]
    assert [await enters_next(), await enters_next()] == ["c9", "c9"]
    assert nobody_enters()
    await _let_out(app)
    assert await enters_next() == "c9"
    await _let_out(app)

    assert [await one.result(timeout=SOON) for one in handles] == ["done"] * 3


async def _let_out(app: Romancy) -> None:
    (lane,) = await app.limits("per customer")
    for one in lane.holders:
        await app.signal(one, GO, "done")


fails = True


@activity
async def breaks() -> None:
    if fails:
        raise TerminalError("as the test says")


@workflow(limits=[Limit("mends", concurrency=1)])
async def mends(ctx: WorkflowContext, name: str) -> str:
    await enter(name)
    await breaks()
    return name


async def test_a_run_that_fails_gives_its_place_back_and_its_retry_asks_again(app: Romancy) -> None:
    global fails  # noqa: PLW0603 - the activity has no other way to it
    fails = True
    first = await app.start(mends, "a")
    with pytest.raises(WorkflowFailedError):
        await first.result(timeout=SOON)
    assert await app.limits("mends") == []

    fails = False
    await app.retry(first.instance_id)

    assert await first.result(timeout=SOON) == "a"
    asked = [event for event in await first.history() if isinstance(event, PlaceAsked)]
    assert len(asked) == len({event.id for event in asked}) == 2
    assert await app.limits("mends") == []


async def test_places_come_and_go_beside_codecs(open_app: Callable[..., Awaitable[Romancy]]) -> None:
    app = await open_app(codecs=[HmacCodec(b"k" * 32), ZlibCodec()])
    handles = await served(app, "c1", "a", "b", "c")
    await enters("a", "b")

    await complete(app, handles["a"])

    assert await enters_next() == "c"
    for one in ("b", "c"):
        await complete(app, handles[one])


async def test_dispatches_at_the_same_time_give_no_place_twice(
    open_app: Callable[..., Awaitable[Romancy]], storage_url: str
) -> None:
    app = await open_app(worker=False)
    ids = [f"racer-{number}" for number in range(20)]
    await app.start_many([serve.options(instance_id=one).bind("racers", one) for one in ids])
    stores = [create_store(storage_url) for _ in range(3)]
    for one in stores:
        await one.open()
    router = stores[0].services.router
    lane = address_of_lane("raced", "")
    terms = b'{"concurrency":1}'
    demand = Interest(interest_id="place", address=lane, kind=InterestKind.TAKE, where=terms)
    found = [await stores[0].read(one, limit=0) for one in ids]
    owners = [Owner(one.instance.instance_id, one.instance.life) for one in found if one is not None]
    for owner in owners:
        assert await router.register(owner, demand) is None
    served: list[str] = []
    for number in range(len(owners)):
        await router.post(marks({lane: Asks.NOTHING}, partial("mark-{}".format, number)))
        await asyncio.gather(*(one.services.router.dispatch([lane]) for one in stores * 3))
        inside = await router.interests(address_held_at(lane))
        assert len(inside) == 1
        ((holder, place),) = inside
        served.append(holder.name)
        await router.unregister(holder, [place.interest_id])

    assert sorted(served) == sorted(ids)
    for one in stores:
        await one.close()


async def _unlimited(ctx: WorkflowContext, name: str) -> str:
    await enter(name)
    await ctx.wait_event(GO)
    await enter(f"{name} goes on")
    return name


ONE, MORE = Limit("deployed", concurrency=1), Limit("more", concurrency=1)
DEPLOYED: list[Workflow[[str], str]] = [
    Workflow(_unlimited, name="deployed", version="1", limits=limits) for limits in ([], [ONE], [ONE, MORE])
]


@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 0), (1, 2), (2, 1)])
async def test_limits_come_and_go_with_a_deploy(
    open_app: Callable[..., Awaitable[Romancy]], storage_url: str, before: int, after: int
) -> None:
    keeps = await open_app(worker=False)
    async with Romancy(storage_url, workflows=[DEPLOYED[before]]) as first:
        await first.start(DEPLOYED[before].options(instance_id="old"), "old")
        await enters("old")
        await until_it_rests(first, "old")
    app = await open_app(workflows=[DEPLOYED[after]])
    await app.signal("old", GO, "go")

    assert await enters_next() == "old goes on"
    assert await keeps.handle("old").result(timeout=SOON) == "old"
    new = await app.start(DEPLOYED[after].options(instance_id="new"), "new")
    await enters("new")
    assert len([event for event in await new.history() if isinstance(event, PlaceAsked)]) == after
    await new.signal(GO, "go")
    assert await new.result(timeout=SOON) == "new"


@workflow
async def keyless(ctx: WorkflowContext) -> None:
    async with ctx.limit(Limit("per shop", key="order.shop", concurrency=1)):
        pass


async def test_a_section_under_a_limit_with_a_key_says_which(app: Romancy) -> None:
    handle = await app.start(keyless)

    with pytest.raises(WorkflowFailedError, match="has a key: say which one"):
        await handle.result(timeout=SOON)


async def test_what_a_lane_notes_of_a_rate_goes_when_its_period_is_over(
    open_app: Callable[..., Awaitable[Romancy]], storage_url: str
) -> None:
    app = await open_app(worker=False)
    await app.start(serve.options(instance_id="asks"), "c1", "asks")
    store = create_store(storage_url)
    await store.open()
    found = await store.read("asks", limit=0)
    assert found is not None
    owner, router = Owner("asks", found.instance.life), store.services.router
    hour = 3_600_000_000
    now = (await store.services.reading.census()).now
    lanes = {limit: address_of_lane(limit, "") for limit in ("an hour", "a month")}
    count = 0

    async def given() -> list[int]:
        """Ask for one more place of each, and count those that were ever given."""
        nonlocal count
        for limit, period in (("an hour", hour), ("a month", 30 * 24 * hour)):
            count += 1
            asked = PlaceAsked(id=f"{limit} {count}", limit=limit, rate=1, period=period)
            await router.register(owner, demand_of(asked))
            await router.post(marks({lanes[limit]: Asks.NOTHING}, partial("note-{}".format, count)))
            await router.dispatch([lanes[limit]])
        return [len(await router.interests(address_held_at(lane))) for lane in lanes.values()]

    assert await given() == [1, 1]
    await router.expire(now)
    assert await given() == [1, 1]
    await router.expire(now + 24 * hour)
    assert await given() == [2, 1]
    await store.close()
