"""Changed code against an old log: found where it happens, explained in a user's words, or harmless."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from romancy.activity import activity, compensation
from romancy.context import WorkflowContext
from romancy.core import CancelRequested, DivergedError, decode_commit, encode_commit, replay
from romancy.core.fold import kinds
from romancy.errors import HistoryCorruptError, NonDeterminismError, TerminalError
from romancy.insight import divergence_of
from romancy.workflow import Workflow, workflow
from romancy_conformance.workflows import Scenario
from romancy_conformance.workflows.activities import add, book, charge, echo, hire, keyed, slow
from romancy_conformance.workflows.outside import child_that_adds, child_that_sleeps
from tests.core.driver import World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from msgspec import Raw

    Body = Callable[[WorkflowContext], Awaitable[Any]]


def as_workflow(body: Body) -> Workflow[[], Any]:
    @workflow(name="changing", version=body.__name__)
    async def changing(ctx: WorkflowContext) -> Any:
        return await body(ctx)

    return changing


async def original(ctx: WorkflowContext) -> int:
    first = await echo(1)
    second, third = await asyncio.gather(add(first, 2), keyed("x"))
    await ctx.sleep(10)
    event = await ctx.wait_event("go", model=int, timeout=60)
    child = await child_that_adds(event.data)
    await ctx.publish("done", child)
    return second + len(third)


async def removed(ctx: WorkflowContext) -> int:
    second, third = await asyncio.gather(add(1, 2), keyed("x"))
    return second + len(third)


async def added_before(ctx: WorkflowContext) -> int:
    await slow(0)
    return await original(ctx)


async def added_beside(ctx: WorkflowContext) -> int:
    first = await echo(1)
    second, third, _ = await asyncio.gather(add(first, 2), keyed("x"), slow(3))
    return second + len(third)


async def reordered(ctx: WorkflowContext) -> int:
    third = await keyed("x")
    first = await echo(1)
    return await add(first, 2) + len(third)


async def one_after_another(ctx: WorkflowContext) -> int:
    first = await echo(1)
    second = await add(first, 2)
    return second + len(await keyed("x"))


async def renamed(ctx: WorkflowContext) -> int:
    return await slow(1)


async def other_arguments(ctx: WorkflowContext) -> int:
    return await echo(2)


async def other_arguments_later(ctx: WorkflowContext) -> int:
    first = await echo(1)
    second, third = await asyncio.gather(add(first, 3), keyed("x"))
    return second + len(third)


async def chosen_id(ctx: WorkflowContext) -> int:
    return await echo.options(id="mine")(1)


async def until_the_nap(ctx: WorkflowContext) -> None:
    first = await echo(1)
    await asyncio.gather(add(first, 2), keyed("x"))


async def other_delay(ctx: WorkflowContext) -> None:
    await until_the_nap(ctx)
    await ctx.sleep(11)


async def event_for_timer(ctx: WorkflowContext) -> None:
    await until_the_nap(ctx)
    await ctx.wait_event("go", model=int, timeout=60)


async def no_timer(ctx: WorkflowContext) -> None:
    await until_the_nap(ctx)


async def activity_for_timer(ctx: WorkflowContext) -> None:
    await until_the_nap(ctx)
    await slow(1)


async def other_event(ctx: WorkflowContext) -> None:
    await until_the_nap(ctx)
    await ctx.sleep(10)
    await ctx.wait_event("gone", model=int, timeout=60)


async def other_key(ctx: WorkflowContext) -> None:
    await until_the_nap(ctx)
    await ctx.sleep(10)
    await ctx.wait_event("go", model=int, timeout=60, key="k")


async def other_timeout(ctx: WorkflowContext) -> None:
    await until_the_nap(ctx)
    await ctx.sleep(10)
    await ctx.wait_event("go", model=int, timeout=61)


async def until_the_child(ctx: WorkflowContext) -> int:
    await until_the_nap(ctx)
    await ctx.sleep(10)
    return (await ctx.wait_event("go", model=int, timeout=60)).data


async def activity_for_child(ctx: WorkflowContext) -> None:
    await echo(await until_the_child(ctx))


async def other_child(ctx: WorkflowContext) -> None:
    await until_the_child(ctx)
    await child_that_sleeps()


async def other_child_input(ctx: WorkflowContext) -> None:
    await child_that_adds(await until_the_child(ctx) + 1)


async def other_publication(ctx: WorkflowContext) -> int:
    child = await child_that_adds(await until_the_child(ctx))
    await ctx.publish("finished", child)
    return 3 + len("x keyed:1 32")


async def no_publication(ctx: WorkflowContext) -> int:
    await child_that_adds(await until_the_child(ctx))
    return 3 + len("x keyed:1 32")


async def other_result(ctx: WorkflowContext) -> int:
    child = await child_that_adds(await until_the_child(ctx))
    await ctx.publish("done", child)
    return -1


async def fails_now(ctx: WorkflowContext) -> int:
    child = await child_that_adds(await until_the_child(ctx))
    await ctx.publish("done", child)
    raise LookupError("new")


async def goes_on(ctx: WorkflowContext) -> int:
    await original(ctx)
    return await slow(1)


async def ends_early(ctx: WorkflowContext) -> int:
    return await echo(1)


CHANGES: list[tuple[Body, str, str, str]] = [
    (removed, "start of changing", "activity echo as echo:1", "activity add as add:1; activity keyed as keyed:1"),
    (added_before, "start of changing", "activity echo as echo:1", "activity slow as slow:1"),
    (added_beside, "ActivityCompleted of echo:1", "nothing", "activity slow as slow:1"),
    (reordered, "start of changing", "activity echo as echo:1", "activity keyed as keyed:1"),
    (one_after_another, "ActivityCompleted of echo:1", "activity keyed as keyed:1", "nothing"),
    (renamed, "start of changing", "activity echo as echo:1", "activity slow as slow:1"),
    (other_arguments, "start of changing", "activity echo as echo:1", "activity echo as echo:1"),
    (other_arguments_later, "ActivityCompleted of echo:1", "activity add as add:1", "activity add as add:1"),
    (chosen_id, "start of changing", "activity echo as echo:1", "activity echo as mine"),
    (other_delay, "ActivityCompleted of keyed:1", "timer timer:1 until 10 s", "timer timer:1 until 11 s"),
    (event_for_timer, "ActivityCompleted of keyed:1", "timer timer:1 until 10 s", "wait for event go"),
    (no_timer, "ActivityCompleted of keyed:1", "timer timer:1 until 10 s", "return of a result"),
    (activity_for_timer, "ActivityCompleted of keyed:1", "timer timer:1 until 10 s", "activity slow as slow:1"),
    (other_event, "TimerFired of timer:1", "wait for event go", "wait for event gone"),
    (other_key, "TimerFired of timer:1", "wait for event go", "wait for event go with key k"),
    (other_timeout, "TimerFired of timer:1", "wait for event go", "wait for event go"),
    (activity_for_child, "MessageReceived of go:1", "child workflow child_that_adds", "activity echo as echo:2"),
    (other_child, "MessageReceived of go:1", "child workflow child_that_adds", "child workflow child_that_sleeps"),
    (other_child_input, "MessageReceived of go:1", "child workflow child_that_adds", "child workflow child_that_adds"),
    (other_publication, "ChildCompleted of", "publication of done", "publication of finished"),
    (no_publication, "ChildCompleted of", "publication of done", "nothing"),
    (other_result, "ChildCompleted of", "return of a result", "return of a result"),
    (fails_now, "ChildCompleted of", "return of a result", "failure with LookupError"),
    (goes_on, "ChildCompleted of", "return of a result", "activity slow as slow:1"),
    (ends_early, "ActivityCompleted of echo:1", "activity add as add:1", "return of a result"),
]


def test_there_are_many_kinds_of_change() -> None:
    assert len(CHANGES) >= 20


def history(body: Body, **scenario: Any) -> list[list[Any]]:
    world = World(
        Scenario(as_workflow(body), events=((1, "go", 5),), children=(child_that_adds, child_that_sleeps), **scenario)
    )
    world.finish()
    return [decode_commit(body) for id, body in world.commits if id == "main"]


@pytest.mark.parametrize(("change", "where", "says", "does"), CHANGES, ids=[row[0].__name__ for row in CHANGES])
def test_a_change_is_found_and_told(change: Body, where: str, says: str, does: str) -> None:
    changed = as_workflow(change)
    with pytest.raises(NonDeterminismError) as caught:
        replay(changed, history(original), instance_id="main", code=changed.code)
    lines = str(caught.value).splitlines()
    assert lines[0] == "workflow changing, instance main: the code no longer fits the log."
    assert where in lines[1]
    assert lines[2].removeprefix("  the log says:      ").startswith(says)
    assert lines[3].removeprefix("  the code now does: ").startswith(does)
    assert change.__name__ in str(caught.value)
    assert "ctx.patched" in lines[-1]
    assert isinstance(caught.value, DivergedError)
    recorded = divergence_of(str(caught.value), caught.value.departure)
    assert recorded is not None
    assert recorded == divergence_of(str(caught.value)), "reports of older versions are read from these words"


def test_same_calls_with_other_arguments_are_named_as_such() -> None:
    with pytest.raises(NonDeterminismError, match="the same calls, but with other arguments"):
        replay(as_workflow(other_arguments_later), history(original), instance_id="main")


def test_code_that_did_not_change_is_told_to_depend_on_something_else() -> None:
    clock = iter(range(2))

    async def by_the_clock(ctx: WorkflowContext) -> int:
        return await echo(next(clock))

    same = as_workflow(by_the_clock)
    (started, *first), *rest = history(by_the_clock)
    recorded = [[structs.replace(started, code=same.code), *first], *rest]
    with pytest.raises(NonDeterminismError) as caught:
        replay(same, recorded, instance_id="main", code=same.code)
    said = str(caught.value)
    assert ("ctx.now(), ctx.random()" in said, "Deploy the code that fits" in said) == (True, False)


def test_the_position_is_that_of_the_event_in_the_history_of_the_run() -> None:
    events = [event for commit in history(original) for event in commit]
    with pytest.raises(NonDeterminismError) as caught:
        replay(as_workflow(other_event), history(original), instance_id="main")
    fired = next(number for number, event in enumerate(events, 1) if type(event).__name__ == "TimerFired")
    assert f"event {fired}, after" in str(caught.value)


# ── what changes nothing ────────────────────────────────────────────────────────────────────────────────────────


async def same_with_helpers(ctx: WorkflowContext) -> int:
    async def both(n: int) -> tuple[int, str]:
        async with asyncio.TaskGroup() as group:
            third = group.create_task(keyed("x"))
            second = group.create_task(add(n, 2))
        return second.result(), third.result()

    second, third = await both(await echo(1))
    await asyncio.sleep(10)
    await ctx.report("half way")
    event = await ctx.wait_event("go", model=int, timeout=60)
    ctx.uuid4()
    await ctx.publish("done", await child_that_adds(event.data))
    return second + len(third)


async def with_a_patch(ctx: WorkflowContext) -> int:
    if ctx.patched("better"):
        await slow(1)
    return await original(ctx)


async def other_options(ctx: WorkflowContext) -> int:
    first = await echo.options(timeout=5)(1)
    second, third = await asyncio.gather(add(first, second=2), keyed(value="x"))
    await ctx.sleep(10.0)
    event = await ctx.wait_event("go", model=int, timeout=60)
    child = await child_that_adds(event.data)
    await ctx.publish("done", child)
    return second + len(third)


@pytest.mark.parametrize("change", [original, same_with_helpers, with_a_patch, other_options])
def test_a_harmless_change_is_not_flagged(change: Body) -> None:
    replayed = replay(as_workflow(change), history(original), instance_id="main")
    assert replayed.status == "completed"
    assert replayed.outstanding == ()


def test_a_patch_taken_may_be_forgotten_once_the_old_branch_is_gone() -> None:
    async def without(ctx: WorkflowContext) -> int:
        await slow(1)
        return await original(ctx)

    assert replay(as_workflow(without), history(with_a_patch), instance_id="main").status == "completed"


def test_an_old_history_keeps_the_old_branch_also_when_it_goes_on_live() -> None:
    old = history(original)
    world = World(
        Scenario(as_workflow(with_a_patch), events=((1, "go", 5),), children=(child_that_adds,)),
        [("main", encode_commit(commit)) for commit in old[:3]],
    )
    assert world.result() == 3 + len("x keyed:1 32")
    assert "slow:1" not in {step for _, step, _ in world.executed}


# ── sagas, types and broken logs ────────────────────────────────────────────────────────────────────────────────


async def pays(ctx: WorkflowContext) -> None:
    await book("room")
    await hire("car", 2)
    await charge(2, 1)


def test_a_compensation_taken_away_is_found() -> None:
    recorded = history(pays)

    @activity(name="book")
    async def book_without(item: str) -> str:
        return item

    async def changed(ctx: WorkflowContext) -> None:
        await book_without("room")
        await hire("car", 2)
        await charge(2, 1)

    with pytest.raises(NonDeterminismError, match="compensation undo_book of book:1"):
        replay(as_workflow(changed), recorded, instance_id="main")


def test_a_compensation_of_another_name_is_found() -> None:
    @compensation
    async def put_back(item: str) -> None:
        """Another one."""

    @activity(name="book", compensation=put_back)
    async def book_otherwise(item: str) -> str:
        return f"booked {item}"

    async def changed(ctx: WorkflowContext) -> None:
        await book_otherwise("room")
        await hire("car", 2)
        await charge(2, 1)

    with pytest.raises(NonDeterminismError, match="the code now does: compensation put_back of book:1"):
        replay(as_workflow(changed), history(pays), instance_id="main")


def test_an_error_now_caught_is_found() -> None:
    async def catches(ctx: WorkflowContext) -> str:
        try:
            await pays(ctx)
        except TerminalError:
            return "no matter"
        return "paid"

    with pytest.raises(NonDeterminismError, match="compensation undo_hire of hire:1"):
        replay(as_workflow(catches), history(pays), instance_id="main")


@dataclass
class Answer:
    text: str


def test_a_result_that_no_longer_fits_its_type_is_told_with_its_path() -> None:
    @activity(name="echo")
    async def echo_answer(value: int) -> Answer:
        return Answer(str(value))

    async def changed(ctx: WorkflowContext) -> int:
        await echo_answer(1)
        return 1

    with pytest.raises(NonDeterminismError, match=r"no longer fits the declared type.*echo"):
        replay(as_workflow(changed), history(original), instance_id="main")


def test_a_log_that_makes_no_sense_is_corrupt_and_not_a_divergence() -> None:
    recorded = history(original)
    with pytest.raises(HistoryCorruptError, match="answers nothing"):
        replay(as_workflow(original), [recorded[0], recorded[2], recorded[1]], instance_id="main")
    with pytest.raises(HistoryCorruptError, match="does not begin with its start"):
        replay(as_workflow(original), recorded[1:], instance_id="main")
    with pytest.raises(HistoryCorruptError, match="answers nothing"):
        replay(as_workflow(original), [*recorded, [CancelRequested(at=recorded[-1][0].at)]], instance_id="main")


def test_many_calls_of_an_older_version_are_not_each_compared_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    @activity(name="ship")
    async def ship_of_yesterday(item: str, count: int) -> int:
        return count

    @activity(name="ship")
    async def ship(item: str, count: int, by: str = "mail") -> int:
        return count

    async def yesterday(ctx: WorkflowContext) -> None:
        await asyncio.gather(*(ship_of_yesterday("book", count) for count in range(100)))

    async def today(ctx: WorkflowContext) -> None:
        await asyncio.gather(*(ship("book", count) for count in range(100)))

    recorded = history(yesterday)
    compared: list[Raw] = []
    same: Any = getattr(kinds, "_same_json")  # noqa: B009 - private to it

    def counting(one: Raw, other: Raw) -> bool:
        compared.append(one)
        return bool(same(one, other))

    monkeypatch.setattr(kinds, "_same_json", counting)
    assert replay(as_workflow(today), recorded, instance_id="main").status == "completed"
    assert len(compared) <= 200
