"""A body waits until a condition on its own state holds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    Romancy,
    Status,
    WorkflowContext,
    WorkflowFailedError,
    WorkflowStuckError,
    activity,
    workflow,
)
from romancy_conformance.behaviour.gates import names
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Vote = EventType("vote", str)


@activity
async def condition_count(votes: list[str]) -> int:
    return len(votes)


@workflow
async def condition_poll(ctx: WorkflowContext, needed: int) -> str:
    votes: list[str] = []

    async def collect() -> None:
        while True:
            votes.append((await ctx.wait_event(Vote)).data)

    collecting = asyncio.create_task(collect())
    first = await ctx.until(lambda: votes[0] if len(votes) >= needed else None)
    collecting.cancel()
    return f"{first} of {await condition_count(votes)}"


@workflow
async def condition_in_time(ctx: WorkflowContext, limit: float) -> str:
    asked = 0

    def never() -> bool:
        nonlocal asked
        asked += 1
        return False

    try:
        await ctx.until(never, timeout=limit)
    except TimeoutError as error:
        return f"{error}".replace(f"{limit:g} s", "time")
    return "held"


@workflow
async def condition_turns(ctx: WorkflowContext, count: int) -> list[int]:
    """One at a time, although all wait for the same condition."""
    busy = False
    order: list[int] = []

    async def work(number: int) -> None:
        nonlocal busy
        await ctx.until(lambda: not busy)
        assert not busy
        busy = True
        order.append(await condition_count(["x"] * number))
        busy = False

    await asyncio.gather(*(work(number) for number in range(count)))
    return order


@workflow
async def condition_never(ctx: WorkflowContext) -> None:
    async def listen() -> None:
        await ctx.wait_event(Vote)

    listening = asyncio.create_task(listen())
    await ctx.until(lambda: False)
    listening.cancel()


@workflow
async def condition_alone(ctx: WorkflowContext) -> None:
    await ctx.until(lambda: False)


def _twice() -> Callable[[], bool]:
    """Make a condition that fails when it is asked again."""
    asked: list[float] = []

    def fails_later() -> bool:
        asked.append(1 / (1 - len(asked)))
        return False

    return fails_later


async def _truly() -> bool:
    return True


def _setting(event: asyncio.Event) -> Callable[[], bool]:
    """Make a condition that wakes a task."""

    def sets() -> bool:
        event.set()
        return True

    return sets


def _misuses(ctx: WorkflowContext, event: asyncio.Event) -> dict[str, Any]:
    return {
        "value": event.is_set(),
        "async": _truly,
        "awaitable": lambda: _truly(),  # noqa: PLW0108 - it is no `async def` itself
        "asks": lambda: ctx.patched("p"),
        "wakes": _setting(event),
        "raises": lambda: 1 / 0,
        "later": _twice(),
        "stops": lambda: next(iter(())),
    }


@workflow
async def condition_misused(ctx: WorkflowContext, how: str) -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(event.wait())
    await asyncio.sleep(0)
    if how == "negative":
        await ctx.until(lambda: False, timeout=-1)
    await ctx.until(_misuses(ctx, event)[how])
    waiting.cancel()


@workflow
async def condition_without_end(ctx: WorkflowContext) -> None:
    while True:
        await ctx.until(lambda: True)


@pytest.fixture
async def app(open_app: Open) -> Romancy:
    return await open_app()


async def test_the_body_goes_on_once_its_condition_holds(app: Romancy) -> None:
    handle = await app.start(condition_poll, 3)
    for voter in ("ann", "bob", "cyd"):
        await status_is(app, handle.instance_id, Status.WAITING)
        await handle.signal(Vote, voter)

    assert await handle.result() == "ann of 3"


async def test_a_body_that_waits_for_its_condition_is_taken_over(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[condition_poll]) as first:
        handle = await first.start(condition_poll.options(instance_id="poll"), 2)
        await handle.signal(Vote, "ann")
        await status_is(first, "poll", Status.WAITING)

    async with Romancy(storage_url, workflows=[condition_poll]) as second:
        await second.signal("poll", Vote, "bob")

        assert await second.handle("poll", condition_poll).result() == "ann of 2"


async def test_a_condition_leaves_nothing_in_the_log(app: Romancy) -> None:
    handle = await app.start(condition_turns, 2)
    await handle.result()

    assert {"WorkflowStarted", "ActivityScheduled", "ActivityCompleted", "WorkflowCompleted"} == set(
        await names(handle)
    )


async def test_a_limit_that_is_reached_says_which_condition(app: Romancy) -> None:
    said = await app.run(condition_in_time, 0.02)

    assert said.startswith("the condition at test_conditions.py, line ")
    assert said.endswith(" did not hold within time")


async def test_a_limit_of_nothing_asks_once(app: Romancy) -> None:
    assert (await app.run(condition_in_time, 0)).endswith("within time")


async def test_tasks_that_wait_for_one_condition_find_it_true_when_they_go_on(app: Romancy) -> None:
    assert await app.run(condition_turns, 5) == [0, 1, 2, 3, 4]


async def test_a_condition_that_never_holds_is_named(app: Romancy) -> None:
    handle = await app.start(condition_never.options(instance_id="never"))
    await status_is(app, "never", Status.WAITING)

    (told,) = [sentence for sentence in await handle.explain() if "until" in sentence]

    assert told.startswith("It waits until the condition at test_conditions.py, line ")
    await handle.cancel()
    await status_is(app, "never", Status.CANCELLED)


async def test_a_condition_that_nothing_can_make_true_stops_the_instance(app: Romancy) -> None:
    with pytest.raises(WorkflowStuckError, match="awaits something that no event can bring"):
        await app.run(condition_alone)


async def test_a_body_that_asks_without_end_is_stopped(app: Romancy) -> None:
    with pytest.raises(WorkflowStuckError, match="it never yields"):
        await app.run(condition_without_end)


MISUSED = {
    "value": "ctx.until takes a function",
    "async": r"the condition at test_conditions.py, line \d+ is an `async def`",
    "awaitable": r"the condition at test_conditions.py, line \d+ awaits something",
    "asks": r"the condition at test_conditions.py, line \d+ asks for something",
    "wakes": r"the condition at test_conditions.py, line \d+ asks for something or wakes a task",
    "raises": "ZeroDivisionError",
    "later": "ZeroDivisionError",
    "stops": "StopIteration",
    "negative": "the timeout must be a finite number of seconds, at least 0, not -1",
}


@pytest.mark.parametrize("how", MISUSED)
async def test_what_is_no_condition_is_refused_by_name(app: Romancy, how: str) -> None:
    with pytest.raises(WorkflowFailedError, match=MISUSED[how]):
        await app.run(condition_misused, how)
