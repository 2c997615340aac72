"""Order never depends on memory addresses: many runs of one workflow, with other allocations between, write one log."""

from __future__ import annotations

import asyncio
import random
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from romancy.context import WorkflowContext
from romancy.core.loop import stable
from romancy.workflow import Workflow, workflow
from romancy_conformance.workflows import Scenario
from romancy_conformance.workflows.activities import add, charge, echo
from tests.core.driver import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNS = 30


async def tidy(n: int) -> int:
    try:
        await echo(n)
        return await echo(n)
    finally:
        await echo(100 + n)


@workflow
async def waits(ctx: WorkflowContext) -> None:
    tasks = [asyncio.create_task(tidy(n)) for n in range(8)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done | pending:
        await asyncio.gather(task, return_exceptions=True)


@workflow
async def completes(ctx: WorkflowContext) -> None:
    for result in asyncio.as_completed([tidy(n) for n in range(8)]):
        await add(await result, 1)


@workflow
async def completes_by_type(ctx: WorkflowContext) -> None:
    for result in asyncio.as_completed({asyncio.ensure_future(tidy(n)) for n in range(8)}):
        await add(await result, 1)


@workflow
async def breaks_a_group(ctx: WorkflowContext) -> None:
    async with asyncio.TaskGroup() as group:
        for n in range(8):
            group.create_task(tidy(n))
        await charge(2, 1)


@workflow
async def cancels_scopes(ctx: WorkflowContext) -> None:
    async def scoped(n: int) -> None:
        with anyio.CancelScope():
            try:
                await echo(n)
                await ctx.sleep(60)
            finally:
                with anyio.CancelScope(shield=True):
                    await echo(100 + n)

    with anyio.move_on_after(5):
        async with anyio.create_task_group() as group:
            for n in range(8):
                group.start_soon(scoped, n)


@workflow
async def waits_for_gatherings(ctx: WorkflowContext) -> None:
    pairs = [asyncio.gather(echo(n), echo(n + 10)) for n in range(8)]
    done, _ = await asyncio.wait(pairs)
    for pair in done:
        await add(*pair.result())


TABLE = 512
"""Tasks whose numbers differ by this collide in a set, so its order is the one in which they were added."""


@workflow
async def asks_for_all_tasks(ctx: WorkflowContext) -> None:
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[int]] = []
    for n in range(8):
        tasks.append(asyncio.create_task(tidy(n)))
        numbered = {loop.create_future() for _ in range(TABLE - 1)}
        assert len(numbered) == TABLE - 1
    await asyncio.sleep(0)
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@workflow
async def keeps_tasks_in_a_set(ctx: WorkflowContext) -> None:
    for task in {asyncio.create_task(tidy(n)): n for n in range(8)}.keys() | {asyncio.create_task(echo(9))}:
        await add(await task, 1)


@workflow
async def keeps_futures_in_a_set(ctx: WorkflowContext) -> None:
    loop = asyncio.get_running_loop()
    order: dict[asyncio.Future[None], int] = {loop.create_future(): n for n in range(8)}
    for future in set(order):
        await add(order[future], 1)


def kinds() -> list[Callable[[], Any]]:
    """Return the objects of asyncio and anyio that user code may put into a set."""

    def one_end(which: int) -> Any:
        ends = anyio.create_memory_object_stream[int]()
        ends[1 - which].close()
        return ends[which]

    streams: list[Callable[[], Any]] = [lambda: one_end(0), lambda: one_end(1)]
    others: list[Callable[[], Any]] = [
        asyncio.Lock,
        asyncio.Event,
        asyncio.Condition,
        lambda: asyncio.Semaphore(1),
        lambda: asyncio.BoundedSemaphore(1),
        lambda: asyncio.Barrier(2),
        asyncio.Queue,
        asyncio.PriorityQueue,
        asyncio.LifoQueue,
        asyncio.TaskGroup,
        lambda: asyncio.timeout(None),
        lambda: asyncio.get_running_loop().call_soon(int),
        lambda: asyncio.get_running_loop().call_later(0, int),
        anyio.Event,
        anyio.Lock,
        anyio.Condition,
        lambda: anyio.Semaphore(1),
        lambda: anyio.CapacityLimiter(1),
        anyio.CancelScope,
        anyio.create_task_group,
    ]
    return [*others, *streams]


def keeps_in_a_set(make: Callable[[], Any], number: int) -> Workflow[[], Any]:
    @workflow(name=f"keeps kind {number} in a set")
    async def keeps(ctx: WorkflowContext) -> None:
        made = [make() for _ in range(8)]
        order: dict[int, int] = {id(each): n for n, each in enumerate(made)}
        for each in set(made):
            await echo(order[id(each)])
        for each in made:
            if hasattr(each, "close"):
                each.close()

    return keeps


@pytest.mark.parametrize("number", range(len(kinds())))
def test_one_order_of_each_kind(number: int) -> None:
    logs = logs_of(keeps_in_a_set(kinds()[number], number))
    assert len({next(logs) for _ in range(10)}) == 1


def test_what_a_host_has_hashes_as_it_did() -> None:
    for lock in (asyncio.Lock(), asyncio.Event(), asyncio.Queue[int]()):
        assert hash(lock) == object.__hash__(lock)
        assert {lock: 1}[lock] == 1


@workflow
async def completes_a_set_of_coroutines(ctx: WorkflowContext) -> None:
    for result in asyncio.as_completed({tidy(n) for n in range(8)}):
        await result


def test_a_set_of_coroutines_is_refused() -> None:
    world = World(Scenario(completes_a_set_of_coroutines))
    assert world.main.parked is not None
    assert "await a list of them" in world.main.parked


@workflow
async def child_of_a_set(ctx: WorkflowContext, n: int) -> int:
    return n


@workflow
async def keeps_children_in_a_set(ctx: WorkflowContext) -> None:
    for child in {await ctx.start(child_of_a_set, n) for n in range(8)}:
        await add(await child.result(), 1)


def test_one_order_of_children() -> None:
    assert len(set(logs_of(keeps_children_in_a_set, child_of_a_set))) == 1


def noise() -> Iterator[list[object]]:
    """Allocate what may exist between two runs: objects of many sizes, and other runs with their tasks."""
    chance = random.Random(4)
    while True:
        others = [World(Scenario(waits)) for _ in range(chance.randrange(6))]
        yield [*others, *(bytearray(chance.randrange(40, 900)) for _ in range(chance.randrange(400)))]
        for world in others:
            world.close()


def logs_of(wf: Workflow[[], Any], *children: Workflow[..., Any]) -> Iterator[tuple[bytes, ...]]:
    for kept in (between for between, _ in zip(noise(), range(RUNS), strict=False)):
        world = World(Scenario(wf, children=children))
        world.finish()
        yield tuple(_without_traces(body) for _, body in world.commits)
        assert kept is not None


@pytest.mark.parametrize(
    "wf",
    [
        waits,
        completes,
        completes_by_type,
        breaks_a_group,
        cancels_scopes,
        waits_for_gatherings,
        asks_for_all_tasks,
        keeps_tasks_in_a_set,
        keeps_futures_in_a_set,
    ],
    ids=lambda wf: wf.name,
)
def test_every_run_writes_the_same_order(wf: Workflow[[], Any]) -> None:
    assert len(set(logs_of(wf))) == 1


@pytest.mark.parametrize(
    ("mend", "wf"),
    [
        ("set", completes),
        ("_GatheringFuture", waits_for_gatherings),
        ("CancelScope", cancels_scopes),
        pytest.param(
            "all_tasks",
            asks_for_all_tasks,
            marks=pytest.mark.skipif(
                sys.version_info >= (3, 14), reason="from 3.14 on asyncio itself keeps tasks in the order they came"
            ),
        ),
    ],
    ids=["set", "gather", "scopes", "all_tasks"],
)
def test_without_its_mend_the_order_is_another_each_time(
    mend: str, wf: Workflow[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # asyncio's own `all_tasks` no longer knows the tasks of a run; without the repair it would.
    monkeypatch.setattr(stable, "strike_off", _leave_it)
    left = [one for one in stable.STABLE if one[1] != mend]
    assert len(left) < len(stable.STABLE)
    monkeypatch.setattr(stable, "STABLE", left)

    first, *others = logs_of(wf)

    assert set(others) != {first}


def _leave_it(_: object) -> None:
    """Do nothing."""


def _without_traces(body: bytes) -> bytes:
    """A trace may show the address of an object; only the order of events matters here."""
    return body.partition(b'"trace"')[0]


def test_the_host_finds_everything_as_it_was() -> None:
    names = ("set", "_GatheringFuture", "all_tasks")
    before = [vars(asyncio.tasks)[name] for name in names]
    World(Scenario(waits)).finish()
    assert [vars(asyncio.tasks)[name] for name in names] == before
    assert vars(asyncio.tasks)["set"] is set
