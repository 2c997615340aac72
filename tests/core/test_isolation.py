"""A run does not affect its host, nor the host the run: asyncio, uvloop, anyio, no loop at all."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import decimal
import gc
import sys
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from romancy.context import WorkflowContext
from romancy.core import CancelRequested, Run, driving
from romancy.core.loop import stable
from romancy.core.loop.thread_state import threads as states
from romancy.status import Status
from romancy.workflow import workflow
from romancy_conformance.workflows import FAMILY, Scenario
from romancy_conformance.workflows.activities import echo
from tests.core.driver import START, World, started

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from tests.core.interpreters import Interpreter

ambient: contextvars.ContextVar[str] = contextvars.ContextVar("ambient", default="unset")


@workflow
async def looks_around(ctx: WorkflowContext) -> list[str]:
    before = ambient.get()
    ambient.set("set by the run")
    precision = decimal.getcontext().prec
    decimal.getcontext().prec = 3
    task = asyncio.current_task()
    await echo(1)
    return [before, ambient.get(), str(precision), task.get_name() if task else "no task"]


EXPECTED = ["unset", "set by the run", "28", "workflow"]


def surroundings() -> tuple[Any, ...]:
    loop = asyncio.get_running_loop()
    return (
        loop,
        asyncio.current_task(),
        sys.get_asyncgen_hooks(),
        ambient.get(),
        decimal.getcontext().prec,
        len(asyncio.all_tasks()),
        asyncio.current_task().cancelling() if sys.version_info >= (3, 11) else 0,  # type: ignore[union-attr]
    )


async def play_in_a_task() -> list[str]:
    ambient.set("host")
    decimal.getcontext().prec = 5
    before = surroundings()
    world = World(Scenario(looks_around))
    result = world.result()
    for name in ("task_group_that_breaks", "anyio_cancel", "generator_left_early", "waited_for", "trip-2"):
        played = World(FAMILY[name])
        played.finish()
        played.cut(1).close()
    assert surroundings() == before
    await asyncio.sleep(0)
    return result  # type: ignore[no-any-return]


async def play_in_a_callback() -> list[str]:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def play() -> None:
        try:
            answer.set_result(World(Scenario(looks_around)).result())
        except BaseException as error:  # noqa: BLE001 - handed to the test
            answer.set_exception(error)

    loop.call_soon(play)
    return await answer


async def play_in_an_anyio_group() -> list[str]:
    results: list[list[str]] = []

    async def play() -> None:
        results.append(await play_in_a_task())

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(play)
    return results[0]


def run_uvloop(play: Callable[[], Any]) -> Any:
    uvloop: Any = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(play())


HOSTS: dict[str, Callable[[Callable[[], Any]], Any]] = {
    "asyncio": lambda play: asyncio.run(play()),
    "asyncio in debug mode": lambda play: asyncio.run(play(), debug=True),
    "uvloop": run_uvloop,
    "anyio": anyio.run,
}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("play", [play_in_a_task, play_in_a_callback, play_in_an_anyio_group])
def test_a_run_leaves_its_host_as_it_was(host: str, play: Callable[[], Any]) -> None:
    assert HOSTS[host](play) == EXPECTED


def test_a_run_needs_no_loop_of_a_host() -> None:
    assert World(Scenario(looks_around)).result() == EXPECTED
    assert asyncio._get_running_loop() is None


def test_an_exception_in_the_host_after_a_drive_is_its_own() -> None:
    async def host() -> None:
        World(Scenario(looks_around)).finish()
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(host())


def test_two_runs_side_by_side_know_nothing_of_each_other() -> None:
    runs = [Run(looks_around, instance_id=f"run-{n}") for n in range(2)]
    for run in runs:
        run.activate([started(looks_around)])
    runs[0].activate([CancelRequested(at=START)])
    assert [run.status() for run in runs] == [Status.CANCELLING, Status.RUNNING]
    for run in runs:
        run.close()


@workflow
async def names_all_tasks(ctx: WorkflowContext) -> list[str]:
    sleeper = asyncio.create_task(asyncio.sleep(60))
    await echo(1)
    names = sorted(task.get_name() for task in asyncio.all_tasks())
    sleeper.cancel()
    return names


def test_neither_the_run_nor_its_host_sees_the_others_tasks() -> None:
    async def host() -> list[str]:
        of_the_host = asyncio.create_task(asyncio.Event().wait(), name="of the host")
        world = World(Scenario(names_all_tasks))
        assert asyncio.all_tasks() == {of_the_host, asyncio.current_task()}
        of_the_host.cancel()
        return world.result()  # type: ignore[no-any-return]

    with asyncio.Runner() as runner:
        names = runner.run(host())
    assert len(names) == 2
    assert "workflow" in names
    assert "of the host" not in names


def test_several_runs_in_one_go() -> None:
    """Within `driving`, the host's loop is restored after each run, its task and generator hooks after the last."""

    async def host() -> None:
        before = surroundings()
        runs = [World(FAMILY[name]) for name in ("anyio_group", "as_they_complete", "generator_left_early")]
        with driving():
            for run in runs:
                run.finish()
                assert asyncio.get_running_loop() is before[0]
        assert surroundings() == before
        assert vars(asyncio.tasks)["set"] is set
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))

    asyncio.run(host())


@contextlib.contextmanager
def turn() -> Generator[None]:
    states.state.stays = True
    try:
        yield
    finally:
        states.state.give_back()


async def numbers(closed: list[str]) -> AsyncGenerator[int]:
    try:
        yield 1
    finally:
        closed.append("closed")


def test_between_the_drives_of_a_turn_the_hosts_generators_are_its_own() -> None:
    """Hooks and seams stay exchanged, and do nothing for the host's code. Its loop finishes the generator."""

    async def host() -> None:
        before, closed = surroundings(), list[str]()
        with turn():
            World(FAMILY["generator_left_early"]).finish()
            assert vars(asyncio.tasks)["set"] is not set
            assert gc.isenabled()
            generator = numbers(closed)
            with contextlib.suppress(StopIteration):
                anext(generator).send(None)
            World(FAMILY["generator_left_early"]).finish()
            del generator
            assert sys.get_asyncgen_hooks() != before[2]
        assert surroundings() == before
        assert vars(asyncio.tasks)["set"] is set
        for _ in range(3):
            await asyncio.sleep(0)
        assert closed == ["closed"]

    asyncio.run(host())


@pytest.mark.parametrize("restores", [False, True])
def test_hooks_that_the_host_sets_in_a_turn_are_its_own(restores: bool) -> None:  # noqa: FBT001 - pytest's way
    met: list[object] = []

    async def host() -> None:
        before = sys.get_asyncgen_hooks()
        with turn():
            World(FAMILY["generator_left_early"]).finish()
            found = sys.get_asyncgen_hooks()
            sys.set_asyncgen_hooks(met.append, met.append)
            World(FAMILY["generator_left_early"]).finish()
            if restores:
                sys.set_asyncgen_hooks(*found)
        after = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(*before)
        assert after == (before if restores else (met.append, met.append))

    asyncio.run(host())
    assert met == []


@pytest.mark.long
def test_the_family_runs_in_each_host_on_every_python(python: Interpreter) -> None:
    assert python.run("-m", "tests.core.hosts_without_pytest").split() == ["ok"] * 9


def test_runs_in_several_threads_and_a_host_beside_them() -> None:
    """The hooks are installed while any thread drives, do nothing for a host's own code, and are removed afterwards."""
    before = [value for *_, value in stable.ORIGINAL]
    failures: list[BaseException] = []

    def drive() -> None:
        try:
            for name in ("anyio_group", "as_they_complete", "task_group_that_breaks", "anyio_cancel"):
                for _ in range(5):
                    assert World(FAMILY[name]).finish().status is FAMILY[name].status
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    async def host() -> list[int]:
        async def one(n: int) -> int:
            await asyncio.sleep(0)
            answers: list[int] = []
            with anyio.CancelScope():
                answers.append(await asyncio.to_thread(int, n))
            return sum(answers)

        results: list[int] = []
        while any(thread.is_alive() for thread in threads):
            results = [await answer for answer in asyncio.as_completed([one(n) for n in range(5)])]
            done, _ = await asyncio.wait({asyncio.create_task(one(n)) for n in range(3)})
            assert sorted(task.result() for task in done) == [0, 1, 2]
        return sorted(results)

    threads = [threading.Thread(target=drive) for _ in range(3)]
    for thread in threads:
        thread.start()
    results = asyncio.run(host())
    for thread in threads:
        thread.join()
    assert failures == []
    assert results in ([], [0, 1, 2, 3, 4])
    assert [namespace[name] for namespace, name, _ in stable.ORIGINAL] == before
