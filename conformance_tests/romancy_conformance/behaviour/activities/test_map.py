"""Many calls at once, with a rule for when they are done; and the first of several."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    Failure,
    RetryPolicy,
    TerminalError,
    TooManyFailedError,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.core import ActivityScheduled
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.mapping import Many
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Chosen = EventType("chosen", int)
at_work: list[int] = []
most = [0]
stopped: list[int] = []


@pytest.fixture(autouse=True)
def _nobody_is_at_work() -> None:
    at_work.clear()
    stopped.clear()
    most[0] = 0


@activity(retry=RetryPolicy.none())
async def tenfold(number: int) -> int:
    """Ten times the number. Each fourth one fails, and those from a hundred on never end."""
    at_work.append(number)
    most[0] = max(most[0], len(at_work))
    try:
        for _ in range(number % 3):
            await asyncio.sleep(0)
        if number >= 100:
            await asyncio.Event().wait()
        if number % 4 == 3:
            raise TerminalError("each fourth one", number)
        return number * 10
    except asyncio.CancelledError:
        stopped.append(number)
        raise
    finally:
        at_work.remove(number)


@workflow
async def tenfold_child(ctx: WorkflowContext, number: int) -> int:
    return await tenfold(number)


@workflow
async def maps(
    ctx: WorkflowContext, numbers: list[int], at_once: int | None, enough: int | None, may_fail: int | str | None
) -> list[int]:
    return await ctx.map(tenfold, numbers, at_once=at_once, enough=enough, may_fail=may_fail)


@workflow
async def maps_children(ctx: WorkflowContext, numbers: list[int]) -> list[int]:
    return await ctx.map(tenfold_child, numbers, at_once=2)


async def test_the_results_are_in_the_order_of_the_inputs(open_app: Open) -> None:
    app = await open_app()
    numbers = [2, 1, 0, 6, 5, 4, 8]

    assert await app.run(maps, numbers, 3, None, None) == [20, 10, 0, 60, 50, 40, 80]
    assert most[0] <= 3
    assert await app.run(maps, [], None, None, None) == []
    assert await app.run(maps, [1], None, None, None) == [10]
    assert await app.run(maps_children, numbers) == [20, 10, 0, 60, 50, 40, 80]


@pytest.mark.parametrize("may_fail", [3, "25%", "26.5%", 12])
async def test_some_may_fail(open_app: Open, may_fail: int | str) -> None:
    app = await open_app()

    assert await app.run(maps, list(range(12)), 5, None, may_fail) == [0, 10, 20, 40, 50, 60, 80, 90, 100]


@pytest.mark.parametrize(
    ("may_fail", "told"),
    [(None, "each fourth one"), (0, "each fourth one"), (1, "2 of 8 calls have failed"), ("20%", "2 of 8")],
)
async def test_when_too_many_have_failed_the_others_are_stopped(
    open_app: Open, may_fail: int | str | None, told: str
) -> None:
    app = await open_app()

    with pytest.raises(WorkflowFailedError, match=told):
        await app.run(maps, [3, 7, 100, 101, 102, 0, 1, 2], 4, None, may_fail)

    assert at_work == []
    assert (
        sorted(stopped) == [100, 101] if may_fail in (None, 0) else sorted(stopped) == [100, 101, 102][: len(stopped)]
    )


async def test_when_enough_have_succeeded_the_others_are_stopped(open_app: Open) -> None:
    app = await open_app()
    handle = await app.start(maps, [100, 3, 101, 1, 2, 4, 5, 6], 4, 2, None)

    assert len(await handle.result()) >= 2

    history = await app.history(handle.instance_id)
    assert {100, 101} <= set(stopped), "another one may have begun when the second has succeeded"
    assert len([one for one in history if isinstance(one, ActivityScheduled)]) < 8, "the last ones are not begun"


@workflow
async def receives(ctx: WorkflowContext, count: int, until_index: int | None) -> list[tuple[int, int | Failure | None]]:
    ends: list[tuple[int, int | Failure | None]] = []
    async for outcome in ctx.map(tenfold, range(count), at_once=3, may_fail=count):
        ends.append((outcome.index, outcome.failure if outcome.error is not None else outcome.result))
        if outcome.index == until_index:
            break
    return sorted(ends, key=lambda one: one[0])


async def test_each_end_is_received(open_app: Open) -> None:
    app = await open_app()

    ends = await app.run(receives, 6, None)

    assert [(index, end) for index, end in ends if index != 3] == [(0, 0), (1, 10), (2, 20), (4, 40), (5, 50)]
    failure = ends[3][1]
    assert isinstance(failure, Failure)
    assert (failure.type, failure.args) == ("romancy.errors.TerminalError", ("each fourth one", 3))
    some = await app.run(receives, 200, 2)
    assert len(some) < 20
    await until(lambda: not at_work)


async def test_a_cancellation_reaches_the_calls(open_app: Open) -> None:
    app = await open_app()
    handle = await app.start(maps, [100, 101, 102, 103], 3, None, None)
    await until(lambda: len(at_work) == 3)

    await handle.cancel()

    with pytest.raises(WorkflowCancelledError):
        await handle.result()
    assert sorted(stopped) == [100, 101, 102]


@workflow
async def takes_the_first(ctx: WorkflowContext, how: str) -> int | str:
    if how == "activities":
        return await ctx.first(tenfold(3), tenfold(100), tenfold(2))
    if how == "event":

        async def chosen() -> int:
            return (await ctx.wait_event(Chosen)).data

        async def late() -> int:
            await ctx.sleep(3600)
            return -1

        return await ctx.first(chosen(), tenfold(100), late())
    try:
        return await ctx.first(tenfold(3), tenfold(7))
    except TooManyFailedError as error:
        return str(error)


async def test_the_first_that_succeeds(open_app: Open) -> None:
    app = await open_app()

    assert await app.run(takes_the_first, "activities") == 20
    handle = await app.start(takes_the_first, "event")
    await until(lambda: len(at_work) == 1)
    await handle.signal(Chosen, 5)
    assert await handle.result() == 5
    assert stopped == [100, 100]
    assert "2 of 2 calls have failed, and at most 1 may" in str(await app.run(takes_the_first, "none"))


async def awaited_twice(calls: Many[int]) -> None:
    await calls
    await calls


async def received_and_awaited(calls: Many[int]) -> None:
    async for _ in calls:
        pass
    await calls


@workflow
async def mistaken(ctx: WorkflowContext, how: str) -> str:
    untyped: Any = ctx
    wrong: dict[str, Callable[[], Any]] = {
        "enough": lambda: ctx.map(tenfold, [1], enough=2),
        "at_once": lambda: ctx.map(tenfold, [1], at_once=0),
        "share": lambda: ctx.map(tenfold, [1], may_fail="most"),
        "percent": lambda: ctx.map(tenfold, [1], may_fail="120%"),
        "negative": lambda: ctx.map(tenfold, [1], may_fail=-1),
        "function": lambda: ctx.map([1], tenfold),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        "nothing": ctx.first,
        "list": lambda: untyped.first([1]),
        "functions": lambda: untyped.first(tenfold, tenfold),
        "twice": lambda: awaited_twice(ctx.map(tenfold, [1])),
        "received": lambda: received_and_awaited(ctx.map(tenfold, [1])),
    }
    try:
        await wrong[how]()
    except UsageError as error:
        return str(error)
    return "nothing"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("enough", "enough=2 can never be met with 1 input"), ("at_once", "at_once must be a whole number"),
        ("share", "may_fail takes a number of calls"), ("percent", "not '120%'"),
        ("negative", "may_fail must be a whole number, at least 0"),
        ("function", "takes a function to call and the inputs"), ("nothing", "has nothing to wait for"),
        ("list", "takes calls one by one, as in ctx.first(ask(a), ask(b)) or ctx.first(*calls), not an object of"),
        ("functions", "not an object of type Activity"),
        ("twice", "can be awaited, or iterated over, once"), ("received", "can be awaited, or iterated over, once"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_told_by_name(open_app: Open, how: str, words: str) -> None:
    app = await open_app()

    assert words in await app.run(mistaken, how)


@workflow
async def forgets(ctx: WorkflowContext) -> None:
    ctx.map(tenfold, [1])  # type: ignore[unused-awaitable]  # pyright: ignore[reportUnusedCoroutine]


async def test_a_map_that_is_not_awaited(open_app: Open) -> None:
    app = await open_app()

    with pytest.raises(WorkflowFailedError, match=r"ctx\.map in forgets"):
        await app.run(forgets)
