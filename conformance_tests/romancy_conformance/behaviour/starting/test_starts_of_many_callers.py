"""Starts that many tasks ask for in one turn of the event loop: cut into turns, in order, together in few commits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Handle, InstanceConflictError, PayloadTooLargeError, Romancy, UsageError, WorkflowContext, workflow
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

MANY = 2500
AT_ONCE = 50
"""How many begin in one turn."""
IN_ONE_COMMIT = 1000


class Counting(WrappedStore):
    """A store that counts the starts in each commit."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.starts: list[int] = []

    async def commit(self, batch: Any, /, **options: Any) -> Any:
        if starts := sum(item.seq == 1 for item in batch):
            self.starts.append(starts)
        return await self._store.commit(batch, **options)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> list[Counting]:
    """The stores of the apps opened from here on."""
    return wrap_stores(monkeypatch, Counting)


begun: list[int] = []


@pytest.fixture(autouse=True)
def _nothing_begun() -> None:
    begun.clear()


@workflow
async def numbered(ctx: WorkflowContext, number: int, ballast: str = "") -> int:
    begun.append(number)
    return number


async def begun_in_each_turn(tasks: list[asyncio.Task[Handle[int]]]) -> list[int]:
    """Return how many starts began in each turn of the event loop until all are durable or failed."""
    counts: list[int] = []
    while not all(task.done() for task in tasks):
        before = len(begun)
        await asyncio.sleep(0)
        counts.append(len(begun) - before)
    return counts


def starting(app: Romancy, numbers: range) -> list[asyncio.Task[Handle[int]]]:
    return [asyncio.create_task(app.start(numbered, number)) for number in numbers]


async def test_so_many_begin_in_one_turn_and_in_the_order_of_the_calls(open_app: Open, stores: list[Counting]) -> None:
    app = await open_app()
    tasks = starting(app, range(MANY))

    assert max(await begun_in_each_turn(tasks)) <= AT_ONCE
    assert begun == list(range(MANY))
    assert [await task.result().result(timeout=60) for task in tasks] == list(range(MANY))


@pytest.mark.parametrize("worker", [True, False], ids=["worker", "no worker"])
async def test_they_share_commits_as_those_of_one_call_do(
    open_app: Open,
    stores: list[Counting],
    worker: bool,  # noqa: FBT001
) -> None:
    app = await open_app(worker=worker)

    await asyncio.gather(*starting(app, range(MANY)))

    assert sum(stores[-1].starts) == MANY
    assert len(stores[-1].starts) <= MANY / IN_ONE_COMMIT + 1


async def test_one_that_fails_fails_alone(app: Romancy) -> None:
    await app.start(numbered.options(instance_id="taken"), -1)
    large, taken = 2 * AT_ONCE, 3 * AT_ONCE

    async def start(number: int) -> Handle[int]:
        wf = numbered.options(instance_id="taken") if number == taken else numbered
        return await app.start(wf, number, "x" * 3_000_000 if number == large else "")

    answers = await asyncio.gather(*map(start, range(4 * AT_ONCE)), return_exceptions=True)

    failed = {number: type(answer) for number, answer in enumerate(answers) if not isinstance(answer, Handle)}
    assert failed == {large: PayloadTooLargeError, taken: InstanceConflictError}
    results = {await answer.result(timeout=60) for answer in answers if isinstance(answer, Handle)}
    assert results == set(range(4 * AT_ONCE)) - failed.keys()


async def test_one_that_is_cancelled_before_its_turn_starts_nothing(app: Romancy) -> None:
    tasks = starting(app, range(6 * AT_ONCE))
    await asyncio.sleep(0)
    for task in tasks[2 * AT_ONCE : 5 * AT_ONCE]:
        task.cancel()

    await asyncio.gather(*tasks, return_exceptions=True)

    assert begun == [*range(2 * AT_ONCE), *range(5 * AT_ONCE, 6 * AT_ONCE)]
    assert all(task.cancelled() for task in tasks[2 * AT_ONCE : 5 * AT_ONCE])
    assert len([one async for one in app.iter_instances()]) == len(begun)
    assert await app.run(numbered, 7) == 7


@pytest.mark.parametrize("worker", [True, False], ids=["worker", "no worker"])
async def test_those_that_wait_when_the_app_is_closed_start_nothing(
    storage_url: str,
    open_app: Open,
    worker: bool,  # noqa: FBT001
) -> None:
    async with Romancy(storage_url, workflows=[numbered], worker=worker) as app:
        tasks = starting(app, range(4 * AT_ONCE))
        await asyncio.sleep(0)
    answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)

    assert [type(answer) for answer in answers[1:]] == [UsageError] * (4 * AT_ONCE - 1)
    assert "closed before the instance could be started" in str(answers[-1])
    again = await open_app()
    there = {instance.instance_id async for instance in again.iter_instances()}
    handles = {answer.instance_id for answer in answers if isinstance(answer, Handle)}
    if worker:
        assert len(handles) == 1  # the first one was alone when it came
        assert there == handles
    else:  # it closes without waiting for the database: the one that was sent may be there
        assert handles <= there
        assert len(there) <= 1


async def test_calls_for_many_take_turns_with_calls_for_one(app: Romancy) -> None:
    many = [asyncio.create_task(app.start_many([numbered.bind(-1)] * (8 * AT_ONCE))) for _ in range(2)]
    tasks = starting(app, range(3 * AT_ONCE))

    counts = await begun_in_each_turn(tasks)

    assert max(counts) <= 5 * AT_ONCE  # a call for many begins 200, and others begin before it in the same turn
    assert [number for number in begun if number >= 0] == list(range(3 * AT_ONCE))
    assert [len(handles) for handles in await asyncio.gather(*many)] == [8 * AT_ONCE] * 2
