"""Demands that count as several places: at once, in a period, and in a line that nobody overtakes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    Limit,
    RegistrationError,
    Romancy,
    StartSkippedError,
    UsageError,
    Workflow,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.core import PlaceAsked, PlaceGranted
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy import Handle

pytestmark = pytest.mark.anyio

SOON = 30.0
GO = EventType("go", str)
PAGES = Limit("pages", key="printer", concurrency=3, units="job.pages")
TOKENS = Limit("tokens", concurrency=4)


@workflow(limits=[PAGES])
async def prints(ctx: WorkflowContext, printer: str, job: dict[str, Any]) -> str:
    return (await ctx.wait_event(GO)).data


@workflow(limits=[Limit("pages", key="printer", concurrency=3, units="job.pages", full="skip")])
async def prints_now(ctx: WorkflowContext, printer: str, job: dict[str, Any]) -> str:
    return (await ctx.wait_event(GO)).data


@workflow(limits=[Limit("newest pages", concurrency=3, units="pages", full="cancel_running")])
async def previews(ctx: WorkflowContext, pages: int) -> str:
    return (await ctx.wait_event(GO)).data


@workflow(limits=[Limit("often", rate=(4, 0.6), units="weight")])
async def often(ctx: WorkflowContext, weight: int) -> int:
    return weight


inside = 0
most = 0


def weight_of(tokens: int) -> int:
    return tokens


@activity(limits=[Limit("calls", concurrency=4, units=weight_of)])
async def call(tokens: int) -> int:
    global inside, most  # noqa: PLW0603 - seen from outside
    inside += tokens
    most = max(most, inside)
    for _ in range(5):
        await asyncio.sleep(0)
    inside -= tokens
    return tokens


@workflow
async def calls(ctx: WorkflowContext, *, tokens: list[int]) -> int:
    return sum(await asyncio.gather(*(call(one) for one in tokens)))


@workflow
async def section(ctx: WorkflowContext, units: int) -> str:
    async with ctx.limit(TOKENS, units=units):
        return (await ctx.wait_event(GO)).data


@workflow
async def section_without_units(ctx: WorkflowContext) -> None:
    async with ctx.limit(PAGES, "x"):
        pass


WORKFLOWS: list[Workflow[..., Any]] = [prints, prints_now, previews, often, calls, section, section_without_units]


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        yield app


async def has(handle: Handle[Any], kind: type) -> None:
    async def there() -> bool:
        return any(isinstance(event, kind) for event in await handle.history())

    await until(there)


async def printed(app: Romancy, name: str, pages: int, kind: type = PlaceGranted) -> Handle[str]:
    handle = await app.start(prints.options(instance_id=name), "x", {"pages": pages})
    await has(handle, kind)
    return handle


async def test_nobody_overtakes_one_that_waits_for_several_places(app: Romancy) -> None:
    first = await printed(app, "first", 2)
    big = await printed(app, "big", 3, PlaceAsked)
    small = await printed(app, "small", 1, PlaceAsked)

    (lane,) = await app.limits("pages")
    assert (lane.taken, lane.waiting, lane.holders, lane.concurrency) == (2, 2, ("first",), 3)
    await first.signal(GO, "done")
    assert await first.result(timeout=SOON) == "done"
    await has(big, PlaceGranted)
    (lane,) = await app.limits("pages")
    assert (lane.taken, lane.waiting, lane.holders) == (3, 1, ("big",))
    await big.signal(GO, "done")
    assert await big.result(timeout=SOON) == "done"
    await has(small, PlaceGranted)


async def test_several_small_ones_are_inside_beside_a_big_one(app: Romancy) -> None:
    for name, pages in (("a", 2), ("b", 1)):
        await printed(app, name, pages)
    waits = await printed(app, "c", 1, PlaceAsked)

    await app.signal("b", GO, "done")

    await has(waits, PlaceGranted)
    (lane,) = await app.limits("pages")
    assert (lane.taken, sorted(lane.holders)) == (3, ["a", "c"])


async def test_the_arguments_say_as_how_many_a_call_counts(app: Romancy) -> None:
    global inside, most  # noqa: PLW0603 - seen from outside
    inside = most = 0

    handles = [await app.start(calls, tokens=[1, 3, 2, 4, 1]) for _ in range(4)]

    assert [await one.result(timeout=SOON) for one in handles] == [11] * 4
    assert most == 4


async def test_no_period_has_more_units_than_the_rate(app: Romancy) -> None:
    handles = [await app.start(often, weight) for weight in (3, 1, 2, 4, 2, 1)]
    given: list[tuple[int, int]] = []
    for one in handles:
        weight = await one.result(timeout=SOON)
        (at,) = [event.at for event in await one.history() if isinstance(event, PlaceGranted)]
        given.append((at, weight))

    for start, _ in given:
        assert sum(weight for at, weight in given if start <= at < start + 600_000) <= 4


async def test_a_section_says_as_how_many_it_counts(app: Romancy) -> None:
    first = await app.start(section, 3)
    await has(first, PlaceGranted)
    second = await app.start(section, 2)
    await has(second, PlaceAsked)
    assert [(lane.taken, lane.waiting) for lane in await app.limits("tokens")] == [(3, 1)]

    await first.signal(GO, "one")
    await second.signal(GO, "two")

    assert [await one.result(timeout=SOON) for one in (first, second)] == ["one", "two"]


async def test_who_needs_more_than_is_free_is_skipped_and_stops_nobody(app: Romancy) -> None:
    await printed(app, "first", 2)
    with pytest.raises(StartSkippedError, match="held by first"):
        await app.start(prints_now, "x", {"pages": 2})

    await has(await app.start(prints_now, "x", {"pages": 1}), PlaceGranted)


async def test_so_many_are_cancelled_as_the_newest_needs(app: Romancy) -> None:
    handles = [await app.start(previews, pages) for pages in (1, 1, 1)]
    for one in handles:
        await has(one, PlaceGranted)

    await has(await app.start(previews, 2), PlaceGranted)

    cancelled = 0
    for one in handles:
        found = await app.get_instance(one.instance_id)
        assert found is not None
        if found.status == "cancelled":
            cancelled += 1
            with pytest.raises(WorkflowCancelledError, match="another start takes its place"):
                await one.result(timeout=SOON)
    assert cancelled == 2


async def test_one_that_needs_more_than_an_operator_allows_is_let_in_alone(app: Romancy) -> None:
    first = await printed(app, "first", 1)
    await app.change_limit("pages", concurrency=2)
    big = await printed(app, "big", 3, PlaceAsked)

    await first.signal(GO, "done")

    await has(big, PlaceGranted)
    small = await printed(app, "small", 1, PlaceAsked)
    assert [(lane.taken, lane.waiting) for lane in await app.limits("pages")] == [(3, 1)]
    await big.signal(GO, "done")
    await has(small, PlaceGranted)


@workflow(name="grows", limits=[Limit("grown", concurrency=3, units="pages")])
async def allows_three(ctx: WorkflowContext, pages: int) -> str:
    return (await ctx.wait_event(GO)).data


@workflow(name="grows", limits=[Limit("grown", concurrency=2, units="pages")])
async def allows_two(ctx: WorkflowContext, pages: int) -> str:
    return (await ctx.wait_event(GO)).data


async def test_a_deploy_that_allows_fewer_goes_on_with_what_was_started_before(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[allows_three]) as app:
        begun = await app.start(allows_three.options(instance_id="begun"), 3)
        await has(begun, PlaceGranted)
    async with Romancy(storage_url, workflows=[allows_three], worker=False) as client:
        await client.start(allows_three.options(instance_id="written"), 3)
    async with Romancy(storage_url, workflows=[allows_two]) as app:
        for name in ("begun", "written"):
            handle = app.handle(name, allows_two)
            await has(handle, PlaceGranted)
            await handle.signal(GO, name)
            assert await handle.result(timeout=SOON) == name


@pytest.mark.parametrize(
    ("pages", "told"),
    [
        (4, "4 units are more than the whole limit, concurrency=3"), (0, "a whole number of at least 1, not 0"),
        (True, "not True"), ("two", "not 'two'"), (1.5, "not 1.5"), (None, "not None"),
    ],
)  # fmt: skip
async def test_a_number_that_makes_no_sense_is_refused_before_anything_is_written(
    app: Romancy, pages: object, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        await app.start(prints.options(instance_id="wrong"), "x", {"pages": pages})

    assert await app.get_instance("wrong") is None


async def test_a_call_and_a_section_that_need_too_much_are_refused_at_the_line(app: Romancy) -> None:
    for handle, told in (
        (await app.start(calls, tokens=[5]), "5 units are more than the whole limit, concurrency=4"),
        (await app.start(section, 5), "5 units are more than the whole limit"),
        (await app.start(section_without_units), "limit 'pages' has units: say how many"),
    ):
        with pytest.raises(WorkflowFailedError, match=told):
            await handle.result(timeout=SOON)


def test_declarations_that_make_no_sense_are_refused() -> None:
    for units in (0, -1, True, 1.5):
        with pytest.raises(RegistrationError, match="units= is a whole number of at least 1"):
            Limit("x", concurrency=2, units=units)  # type: ignore[arg-type]
    with pytest.raises(RegistrationError, match="3 units are more than the whole limit, concurrency=2"):
        Limit("x", concurrency=2, units=3)
    with pytest.raises(RegistrationError, match=r"3 units are more than the whole limit, rate=\(2, 1\)"):
        Limit("x", rate=(2, 1), units=3)
    with pytest.raises(RegistrationError, match="units= of limit 'x'"):

        @workflow(limits=[Limit("x", concurrency=1, units="a..b")])
        async def with_a_path(ctx: WorkflowContext) -> None: ...

    with pytest.raises(RegistrationError, match="the units of limit 'x' are a function"):

        @workflow(limits=[Limit("x", concurrency=1, units=lambda: 1)])
        async def with_a_function(ctx: WorkflowContext) -> None: ...
