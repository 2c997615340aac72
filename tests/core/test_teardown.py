"""Generators, forgotten tasks and dropped runs: user code runs in its run or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from msgspec import Raw

from romancy.context import WorkflowContext
from romancy.core import ActivityCompleted, Run
from romancy.core.loop import deterministic_loop, stable, teardown
from romancy.workflow import Workflow, workflow
from romancy_conformance.workflows import FAMILY, Scenario
from romancy_conformance.workflows.activities import book, echo, slow
from tests.core.driver import START, World, started
from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

seen: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


def begin(wf: Workflow[..., Any], instance_id: str = "x") -> Run:
    run = Run(wf, instance_id=instance_id)
    run.activate([started(wf)])
    return run


async def numbers() -> AsyncGenerator[int, None]:
    try:
        for n in range(5):
            yield await echo(n)
    finally:
        seen.append(type(asyncio.get_running_loop()).__name__)
        await echo(99)


@workflow
async def leaves_a_generator(ctx: WorkflowContext) -> str:
    async for n in numbers():
        if n == 1:
            break
    gc.collect()
    await ctx.sleep(1)
    return "left"


def test_a_generator_left_by_break_cleans_up_in_its_run() -> None:
    world = World(Scenario(leaves_a_generator))
    assert world.result() == "left"
    assert seen == ["DeterministicLoop"]
    assert [step for _, step, _ in world.executed] == ["echo:1", "echo:2", "echo:3"]
    assert world.warnings == []


def test_a_generator_left_by_break_cleans_up_in_its_run_inside_an_asyncio_host() -> None:
    async def host() -> Any:
        world = World(Scenario(leaves_a_generator))
        world.finish()
        gc.collect()
        await asyncio.sleep(0)
        return world

    world = asyncio.run(host())
    assert seen == ["DeterministicLoop"]
    assert [step for _, step, _ in world.executed] == ["echo:1", "echo:2", "echo:3"]


@workflow
async def holds_everything_open(ctx: WorkflowContext) -> None:
    async def tidy(n: int) -> None:
        try:
            await slow(n)
        finally:
            seen.append(f"finally {n} {ctx.is_replaying}")
            await echo(100 + n)
            seen.append("after the run")

    generator = numbers()
    await generator.__anext__()
    async with asyncio.TaskGroup() as group:
        for n in range(3):
            group.create_task(tidy(n))


def test_a_dropped_run_lets_no_command_escape() -> None:
    run = begin(holds_everything_open)
    activation = run.activate([ActivityCompleted(at=START, id="echo:1", result=Raw(b"0"))])
    assert len(activation.effects) == 3
    state = run.state
    before = dict(state.activities)
    run.close()
    gc.collect()
    assert state.activities == before
    assert "after the run" not in seen
    assert {line for line in seen if line.startswith("finally")} == {f"finally {n} True" for n in range(3)}


def test_teardown_happens_in_the_run_and_not_in_the_host() -> None:
    async def host() -> None:
        run = begin(holds_everything_open)
        run.activate([ActivityCompleted(at=START, id="echo:1", result=Raw(b"0"))])
        run.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(host())
    assert "_UnixSelectorEventLoop" not in seen


@workflow
async def stubborn(ctx: WorkflowContext) -> None:
    while True:
        try:
            await slow(1)
        except BaseException:  # noqa: BLE001 - the worst a workflow can do
            seen.append("refuses")


def test_code_that_catches_everything_is_still_put_down(capsys: pytest.CaptureFixture[str]) -> None:
    run = begin(stubborn)
    run.close()
    gc.collect()
    assert len(seen) <= 2 * teardown.PATIENCE
    assert capsys.readouterr() == ("", "")


@contextlib.contextmanager
def held() -> Generator[None]:
    yield


async def refuses_to_end() -> AsyncGenerator[int, None]:
    with held():
        while True:
            try:
                yield 1
            except BaseException:  # noqa: BLE001 - the worst a workflow can do
                seen.append("refuses")


@workflow
async def left_with_a_generator(ctx: WorkflowContext) -> None:
    async for _ in refuses_to_end():
        await slow(1)


def test_what_a_kept_generator_holds_is_not_reported_when_python_ends() -> None:
    """Python ends each by itself, at a time when the names of its module may be gone."""
    kept = len(teardown.undying)
    begin(left_with_a_generator).close()
    new = teardown.undying[kept:]
    assert new

    found = teardown._suspended_in(new)  # pyright: ignore[reportPrivateUsage]

    names = sorted(one.__name__ for one in gc.get_objects() if id(one) in found)
    assert {"held", "refuses_to_end"} <= set(names)


IN_A_PROCESS = """
import atexit
atexit.register(lambda: print("seen:", seen))
from tests.core.test_teardown import begin, seen, tidies_slowly
run = begin(tidies_slowly)
"""


BESIDE_A_THREAD = f"""{IN_A_PROCESS}
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


@pytest.mark.parametrize(("script", "seen"), [(IN_A_PROCESS, "['outer']"), (BESIDE_A_THREAD, "[]")])
def test_runs_are_torn_down_before_python_takes_modules_apart(script: str, seen: str) -> None:
    """Except those that a thread may still drive, for which Python does not wait."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"seen: {seen}\n", "")


@workflow
async def tidies_slowly(ctx: WorkflowContext) -> None:
    try:
        try:
            await slow(1)
        finally:
            await asyncio.sleep(5)
            seen.append("after the run")
    finally:
        seen.append("outer")
        await asyncio.Event().wait()
        seen.append("after the run")


def test_clean_up_that_waits_is_ended_at_once_and_nothing_is_kept() -> None:
    kept = len(teardown.undying)
    run = begin(tidies_slowly)
    run.close()
    assert seen == ["outer"]
    assert len(teardown.undying) == kept


@workflow
async def leaves(ctx: WorkflowContext) -> None:
    await slow(1)
    sys.exit(3)


def test_an_exit_in_a_workflow_fails_it_and_not_the_worker() -> None:
    outcome = World(Scenario(leaves)).finish()
    assert outcome.error is not None
    assert outcome.error.type == "SystemExit"


@pytest.mark.parametrize("name", FAMILY)
def test_closing_at_any_point_is_silent(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(FAMILY[name])
    while world.main.outcome is None:
        dropped = world.cut(len(world.commits))
        dropped.close()
        assert world.step()
    world.close()
    gc.collect()
    assert capsys.readouterr() == ("", "")


@workflow
async def forgets_its_tasks(ctx: WorkflowContext) -> int:
    queue: asyncio.Queue[int] = asyncio.Queue()

    async def feed() -> None:
        queue.put_nowait(await slow(7))

    async def forward() -> None:
        wake.set_result(await queue.get())

    wake: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    tasks = [asyncio.create_task(feed()), asyncio.create_task(forward())]
    del tasks
    await asyncio.sleep(0)
    gc.collect()
    return await wake


def test_tasks_without_a_reference_are_kept() -> None:
    world = World(Scenario(forgets_its_tasks, durations={"slow": 5}))
    gc.collect()
    assert world.result() == 7


@workflow
async def forgets_who_waits_for_nobody(ctx: WorkflowContext) -> list[str]:
    ended: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    tasks = [asyncio.create_task(wait())]
    del tasks
    for _ in range(3):
        await asyncio.sleep(0)  # until nothing in the loop refers to its first step
    gc.collect()
    return list(ended)


def test_a_task_that_only_it_itself_refers_to_ends_with_its_run() -> None:
    """C5: if it were collected, it would clean up wherever that happens."""
    assert World(Scenario(forgets_who_waits_for_nobody)).result() == []


@workflow
async def never_ending_cancel(ctx: WorkflowContext) -> str:
    async def tidy() -> None:
        try:
            await slow(1)
        finally:
            await echo(2)

    with anyio.move_on_after(1):
        async with asyncio.TaskGroup() as group:
            group.create_task(tidy())
    return "over"


def test_a_cancellation_delivered_again_and_again_ends_with_the_input_it_waits_for() -> None:
    world = World(Scenario(never_ending_cancel, durations={"slow": 30}))
    assert world.result() == "over"
    assert [step for _, step, _ in world.executed] == ["echo:1"]
    world.check_every_cut()


@workflow
async def leaves_tasks_behind(ctx: WorkflowContext) -> str:
    async def tidy(n: int) -> None:
        try:
            await slow(n)
        finally:
            seen.append(f"tidy {n}")
            with contextlib.suppress(asyncio.CancelledError):
                await echo(n)
            seen.append(f"done {n}")

    tasks = [asyncio.create_task(tidy(n)) for n in range(2)]
    await book("room")
    raise LookupError(f"{len(tasks)} left")


def test_tasks_left_at_the_end_are_cancelled_in_order_and_may_await_nothing() -> None:
    world = World(Scenario(leaves_tasks_behind, durations={"slow": 30}))
    assert world.finish().error is not None
    assert seen == ["tidy 0", "done 0", "tidy 1", "done 1"]
    assert [step for _, step, _ in world.executed] == ["book:1", "compensate:book:1"]


@workflow
async def cleans_up(ctx: WorkflowContext) -> None:
    try:
        await slow(1)
    finally:
        await echo(666)


def test_a_run_that_nobody_closed_is_never_heard_in_another_one() -> None:
    @workflow
    async def collects_garbage(ctx: WorkflowContext) -> str:
        dropped.clear()
        gc.collect()
        await echo(1)
        gc.collect()
        return "done"

    dropped: list[Any] = []
    for n in range(20):
        run = begin(cleans_up, f"dropped-{n}")
        dropped.append([run, dropped])
        del run
    world = World(Scenario(collects_garbage))
    assert world.result() == "done"
    assert [step for _, step, _ in world.executed] == ["echo:1"]
    gc.collect()


def test_a_dropped_run_is_let_go() -> None:
    gc.collect()
    begin(cleans_up, "buries the others").close()
    before = len(deterministic_loop.alive)
    run = begin(cleans_up)
    assert len(deterministic_loop.alive) == before + 1
    del run
    gc.collect()
    begin(cleans_up, "another").close()
    assert len(deterministic_loop.alive) == before
    assert deterministic_loop.orphans == []


@pytest.mark.timeout(120)
def test_collecting_a_run_in_the_middle_of_entering_another_one_does_not_block() -> None:
    """Any allocation may collect garbage, also while the lock of the hooks is held."""
    run = begin(cleans_up)
    with stable.seams.lock:
        del run
    begin(cleans_up, "another").close()
    assert deterministic_loop.orphans == []
