"""The part of an activity before its first wait, which may run before its task has had a turn of the event loop."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from romancy import ActivityError, RetryPolicy, Romancy, WorkflowContext, activity, workflow
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Coroutine

pytestmark = pytest.mark.anyio

told: list[str] = []
ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    told.clear()


@activity
async def fs_looks() -> list[str]:
    mine: Any = asyncio.current_task()
    seen = [mine.get_name(), str(mine in asyncio.all_tasks()), str(mine.get_loop() is asyncio.get_running_loop())]
    return [*seen, str(mine.get_coro() is not None), str(mine.done())]


@activity
async def fs_adds(number: int) -> int:
    return number + 1


@activity
async def fs_waits(number: int) -> int:
    await asyncio.sleep(0)
    return number + 1


@activity(retry=ONCE)
async def fs_fails() -> None:
    raise ValueError("at once")


@activity(retry=ONCE)
async def fs_cancels_itself() -> None:
    mine: Any = asyncio.current_task()
    mine.cancel()
    told.append("went on")
    await asyncio.sleep(30)
    told.append("was not cancelled")


@activity
async def fs_bounded() -> list[str]:
    seen: list[str] = []
    try:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(30)
    except TimeoutError:
        seen.append("late")
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0))
    with anyio.move_on_after(0.01) as scope:
        await anyio.sleep(30)
    return [*seen, str(scope.cancelled_caught)]


@workflow
async def fs_calls(ctx: WorkflowContext) -> list[Any]:
    looked = await fs_looks()
    number = await fs_waits(await fs_adds(1))
    async with asyncio.TaskGroup() as group:
        several = [group.create_task(fs_adds(each)) for each in range(5)]
    return [looked, number, [each.result() for each in several], await fs_bounded()]


EVERYTHING = [["fs_looks:1", "True", "True", "True", "False"], 3, [1, 2, 3, 4, 5], ["late", "True"]]


@workflow
async def fs_meets_a_failure(ctx: WorkflowContext, *, cancels: bool) -> str:
    try:
        await (fs_cancels_itself if cancels else fs_fails)()
    except ActivityError as error:
        return str(error)
    return "no error"


@pytest.mark.parametrize("together", [1, 20])
async def test_an_activity_finds_its_task_and_its_limits_hold(storage_url: str, together: int) -> None:
    async with Romancy(storage_url, workflows=[fs_calls, fs_meets_a_failure]) as app:
        results = await asyncio.gather(*(app.run(fs_calls) for _ in range(together)))

    assert results == [EVERYTHING] * together


async def test_an_activity_that_cancels_itself_stops_at_its_first_wait(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[fs_calls, fs_meets_a_failure]) as app:
        assert "raised CancelledError, but it had not been cancelled" in await app.run(fs_meets_a_failure, cancels=True)

    assert told == ["went on"]


async def test_an_activity_that_fails_at_once_is_told_with_its_error(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[fs_calls, fs_meets_a_failure]) as app:
        assert "at once" in await app.run(fs_meets_a_failure, cancels=False)


async def test_a_task_factory_of_the_program_makes_the_tasks_of_attempts(storage_url: str) -> None:
    loop = asyncio.get_running_loop()
    former = loop.get_task_factory()
    made: list[asyncio.Task[Any]] = []

    def make_task(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=loop, **options)
        made.append(task)
        return task

    factory: Any = make_task
    async with Romancy(storage_url, workflows=[fs_calls, fs_meets_a_failure]) as app:
        loop.set_task_factory(factory)
        try:
            assert await app.run(fs_calls) == EVERYTHING
        finally:
            loop.set_task_factory(former)

    assert {"fs_looks:1", "fs_adds:1", "fs_waits:1"} <= {task.get_name() for task in made}


@pytest.mark.backends("sqlite")
async def test_an_attempt_does_not_begin_once_the_lease_is_in_doubt(
    storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Romancy(storage_url, workflows=[fs_calls, fs_meets_a_failure]) as app:
        worker = app._access.worker  # pyright: ignore[reportPrivateUsage]
        assert worker is not None
        asked: list[None] = []

        def in_doubt() -> bool:
            asked.append(None)
            return False

        with monkeypatch.context() as patched:
            patched.setattr(worker.leases, "fresh", in_doubt)
            handle = await app.start(fs_calls)
            await until(lambda: bool(asked))
            await asyncio.sleep(0)
            assert worker.driver.attempts.idle  # it holds no slot, and `drain` does not wait for it
        worker.driver.attempts.resume()
        assert await handle.result() == EVERYTHING


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks begin at once from Python 3.12 on")
@pytest.mark.backends("sqlite")
async def test_an_activity_that_does_not_wait_takes_no_turn_of_its_own(storage_url: str) -> None:
    @activity
    async def fs_counts() -> bool:
        asyncio.get_running_loop().call_soon(told.append, "turn")
        return "turn" in told

    @workflow
    async def fs_counting(ctx: WorkflowContext) -> bool:
        return await fs_counts()

    async with Romancy(storage_url, workflows=[fs_counting]) as app:
        assert not await app.run(fs_counting)
