"""The task of a body, which is stepped by hand while the body awaits one answer at a time."""

from __future__ import annotations

import asyncio
import gc
import io
import sys
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from romancy.activity import activity
from romancy.context import WorkflowContext
from romancy.core import driving
from romancy.workflow import workflow
from romancy_conformance.workflows import Scenario
from tests.core.driver import World

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.core.loop.body import BodyTask
    from romancy.workflow import Workflow


@activity
async def charge(amount: int = 1) -> int:
    return amount


def result_of(wf: Workflow[[], Any]) -> Any:
    """Return the result of the workflow, which is the same after a crash at any place."""
    world = World(Scenario(wf))
    result = world.result()
    world.check_every_cut()
    return result


def body_of(world: World) -> BodyTask:
    """Return the task of the body of the main instance."""
    run: Any = world.main.run
    body: BodyTask = run._body
    return body


def note_end(done: asyncio.Future[Any]) -> None:
    """Note the name of a task that has ended."""
    assert isinstance(done, asyncio.Task)
    ends.append(done.get_name())


def task() -> Any:
    return asyncio.current_task()


@workflow
async def looks_at_itself(ctx: WorkflowContext) -> list[str]:
    seen: list[str] = []
    for _ in range(2):
        mine = task()
        frames = [frame.f_code.co_name for frame in mine.get_stack()]
        seen.append(f"{mine.get_name()} {mine in asyncio.all_tasks()} {mine.get_coro().__name__} {frames}")
        seen.append(f"{mine.get_loop() is asyncio.get_running_loop()} {mine.done()} {mine.cancelling()}")
        await charge()
    return seen


def test_the_task_answers_as_one_of_asyncio() -> None:
    line = "workflow True looks_at_itself ['looks_at_itself']"
    assert result_of(looks_at_itself) == [line, "True False 0"] * 2


def test_while_it_waits_it_says_for_what() -> None:
    world = World(Scenario(looks_at_itself))
    body = body_of(world)
    assert "pending" in repr(body)
    assert "looks_at_itself" in repr(body)
    assert "wait_for=<ActivityCall pending>" in repr(body)
    assert body.waits_on is not None


@workflow
async def cancels_itself_before_a_wait(ctx: WorkflowContext) -> list[str]:
    seen: list[str] = []
    for _ in range(2):  # the second time, asyncio steps the body
        task().cancel("enough")
        try:
            await charge()
        except asyncio.CancelledError as stopped:
            seen.append(f"{stopped} {task().cancelling()}")
        task().uncancel()
        seen.append(f"{await charge(7)} {task().cancelling()}")
    return seen


def test_a_body_that_cancels_itself_stops_at_its_next_wait() -> None:
    assert result_of(cancels_itself_before_a_wait) == ["enough 1", "7 0"] * 2
    world = World(Scenario(cancels_itself_before_a_wait))
    world.finish()
    assert world.kinds().count("ActivityCancelRequested") == 2


@workflow
async def cancels_itself_before_a_task(ctx: WorkflowContext) -> str:
    child = asyncio.create_task(charge())
    task().cancel()
    try:
        await child
    except asyncio.CancelledError:
        return f"{child.cancelled()}"
    return "went on"


def test_a_cancelled_body_waits_for_the_end_of_the_task_that_it_awaits() -> None:
    assert result_of(cancels_itself_before_a_task) == "True"


@workflow
async def cancels_itself_and_returns(ctx: WorkflowContext) -> str:
    await charge()
    task().cancel()
    return "returned"


def test_a_body_that_cancels_itself_and_returns_is_cancelled() -> None:
    world = World(Scenario(cancels_itself_and_returns))
    assert world.finish().status == "cancelled"


@workflow
async def bounds_its_calls(ctx: WorkflowContext) -> list[str]:
    seen: list[str] = []
    for _ in range(2):
        try:
            async with asyncio.timeout(1):
                await charge(3)
        except TimeoutError:
            seen.append(f"late {task().cancelling()}")
        with anyio.move_on_after(1) as scope:
            await charge(3)
        seen.append(f"{scope.cancelled_caught}")
        async with asyncio.TaskGroup() as group:
            both = [group.create_task(charge(number)) for number in range(2)]
        seen.append(f"{[one.result() for one in both]}")
    return seen


def test_limits_scopes_and_groups_work_around_single_answers() -> None:
    scenario = Scenario(bounds_its_calls, durations={"charge": 0.5})
    assert World(scenario).result() == ["False", "[0, 1]"] * 2
    late = World(Scenario(bounds_its_calls, durations={"charge": 5.0}))
    assert late.result() == ["late 0", "True", "[0, 1]"] * 2
    late.check_every_cut()


@workflow
async def is_done_with_a_cancellation(ctx: WorkflowContext) -> str:
    try:
        await charge()
    except asyncio.CancelledError:
        pass
    handled = sys.exc_info()[0]
    try:
        raise ValueError("another error")
    except ValueError as error:
        return f"{handled} {error.__context__}"


def test_a_cancellation_that_the_body_has_caught_is_no_context_of_what_it_raises_later() -> None:
    world = World(Scenario(is_done_with_a_cancellation, durations={"charge": 5.0}, cancel_at=1.0))
    assert world.result() == "None None"
    world.check_every_cut()


@workflow
async def asks_for_its_own_end(ctx: WorkflowContext) -> list[str]:
    said: list[str] = []
    for _ in range(2):  # the second time, asyncio steps the body
        for ask in (task().result, task().exception):
            try:
                ask()
            except asyncio.InvalidStateError as error:
                said.append(str(error))
        await asyncio.sleep(0)
    return said


def test_a_body_that_asks_for_its_own_end_hears_what_asyncio_says() -> None:
    assert result_of(asks_for_its_own_end) == ["Result is not set.", "Exception is not set."] * 2


@workflow
async def prints_its_stack(ctx: WorkflowContext) -> list[str]:
    printed: list[str] = []
    for _ in range(2):  # the second time, asyncio steps the body
        text = io.StringIO()
        task().print_stack(file=text)
        printed.append(text.getvalue().splitlines()[-1].strip())
        await asyncio.sleep(0)
    return printed


def test_a_body_prints_its_stack() -> None:
    assert result_of(prints_its_stack) == ["task().print_stack(file=text)"] * 2


@workflow
async def has_itself_watched(ctx: WorkflowContext) -> int:
    ends.clear()
    task().set_name("renamed")
    task().add_done_callback(note_end)
    await charge()
    await asyncio.sleep(0)  # from here on, asyncio steps it
    return await charge()


ends: list[str] = []


def test_its_name_and_its_callbacks_stay_when_asyncio_takes_over() -> None:
    World(Scenario(has_itself_watched)).result()
    assert ends == ["renamed"]


@workflow
async def fails_after_an_answer(ctx: WorkflowContext) -> None:
    await charge()
    raise ValueError("broken")


def test_the_trace_of_its_error_begins_with_the_body() -> None:
    world = World(Scenario(fails_after_an_answer))
    body = body_of(world)
    world.finish()
    error = body.exception()
    assert error is not None
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_frame.f_code.co_name == "fails_after_an_answer"


async def numbers(closed: list[str], name: str) -> AsyncGenerator[int]:
    try:
        yield 1
    finally:
        closed.append(f"{name} {hasattr(asyncio.get_running_loop(), 'number')}")


def leaves_a_generator(name: str, closed: list[str]) -> Workflow[[], Any]:
    @workflow(name=name)
    async def leaves(ctx: WorkflowContext) -> list[str]:
        generator = numbers(closed, name)
        async for _ in generator:
            await charge()
            break
        del generator
        await charge()
        return closed

    return leaves


def test_an_abandoned_generator_is_finished_by_the_run_that_began_it() -> None:
    """Several runs share the hooks of a turn, and each generator remembers the hook of its first step."""
    closed: list[str] = []
    with driving():
        worlds = [World(Scenario(leaves_a_generator(name, closed))) for name in ("one", "other")]
        while any(world.main.outcome is None for world in worlds):
            for world in worlds:
                if world.main.outcome is None:
                    world.step()
    assert closed == ["one True", "other True"]


@workflow
async def waits_for_two(ctx: WorkflowContext) -> int:
    return await charge() + await charge()


def test_a_run_that_ends_by_hand_leaves_nothing_to_the_collector() -> None:
    world = World(Scenario(waits_for_two))
    world.result()
    body = weakref.ref(body_of(world))
    gc.disable()
    try:
        world.main.run.close()
        del world
        assert body() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("wf", [waits_for_two, bounds_its_calls, cancels_itself_before_a_wait], ids=lambda wf: wf.name)
def test_asyncio_would_write_the_same_log(wf: Workflow[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    by_hand = World(Scenario(wf))
    by_hand.finish()
    monkeypatch.setattr("romancy.core.loop.body.Answer", type("Nothing", (), {}))
    by_asyncio = World(Scenario(wf))
    by_asyncio.finish()
    assert by_hand.commits == by_asyncio.commits
