"""The task of an attempt during its first stretch, in which Python 3.11 has no task of its own for it yet."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from romancy.engine.activities import tasks
from romancy.engine.activities.tasks import maker_of_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Work = Coroutine[Any, Any, Any]


def task_of(work: Callable[[], Work]) -> list[asyncio.Task[None]]:
    """The task, begun outside of any task as the engine does it."""
    made: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: made.append(maker_of_tasks(loop)(work(), loop, "a:1", contextvars.copy_context())))
    return made


def ends_of(work: Callable[[], Work]) -> asyncio.Task[None]:
    """The task after it has ended, on a loop of its own."""

    async def main() -> asyncio.Task[None]:
        made = task_of(work)
        await asyncio.sleep(0)
        await asyncio.wait(made)
        return made[0]

    return asyncio.run(main())


def current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def test_it_is_a_task_like_any() -> None:
    async def work() -> None:
        task = current()
        seen = [task.get_name(), task.done(), task in asyncio.all_tasks(), task.get_loop(), task.cancelling()]
        assert seen == ["a:1", False, True, asyncio.get_running_loop(), 0]
        assert "a:1" in repr(task)
        assert task.get_stack()[-1].f_code.co_name == "work"  # a task that asyncio began early also shows its callers
        with pytest.raises(asyncio.InvalidStateError):
            task.result()
        with pytest.raises(asyncio.InvalidStateError):
            task.exception()
        task.set_name("renamed")
        await asyncio.sleep(0)
        assert (current(), task.get_name(), task in asyncio.all_tasks()) == (task, "renamed", True)

    assert ends_of(work).exception() is None


@pytest.mark.parametrize("waits", [False, True])
def test_its_end_is_told(waits: bool) -> None:  # noqa: FBT001 - a parameter of the test
    told: list[str] = []

    async def work() -> None:
        current().add_done_callback(lambda task: told.append(task.get_name()))
        removed = current().add_done_callback(told.append)  # type: ignore[func-returns-value, arg-type]
        assert (removed, current().remove_done_callback(told.append)) == (None, 1)  # type: ignore[arg-type]
        if waits:
            await asyncio.sleep(0)

    ended = ends_of(work)
    assert (ended.done(), ended.result(), told) == (True, None, ["a:1"])


@pytest.mark.parametrize("what", [lambda: asyncio.sleep(0), lambda: asyncio.sleep(60), lambda: asyncio.Event().wait()])
def test_an_early_cancellation_ends_the_first_wait(what: Callable[[], Work]) -> None:
    async def work() -> None:
        current().cancel("early")
        with pytest.raises(asyncio.CancelledError, match="early"):
            await what()
        assert (current().cancelling(), current().uncancel()) == (1, 0)
        await asyncio.sleep(0)

    assert ends_of(work).exception() is None


def test_an_early_cancellation_taken_back_ends_the_first_wait_all_the_same() -> None:
    async def work() -> None:
        current().cancel()
        assert current().uncancel() == 0
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)

    if not hasattr(asyncio.Task, "get_context"):  # from Python 3.13 on it does not
        assert ends_of(work).exception() is None


def test_a_cancellation_reaches_what_it_waits_for() -> None:
    async def inner() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)

    async def main() -> None:
        inside: list[asyncio.Task[None]] = []

        async def work() -> None:
            inside.append(asyncio.create_task(inner()))
            await inside[0]

        made = task_of(work)
        await asyncio.sleep(0)
        made[0].cancel()
        await asyncio.wait(made)
        assert (made[0].cancelled(), inside[0].cancelled()) == (True, True)

    asyncio.run(main())


def test_a_cancelled_wait_has_the_frames_of_the_work_alone() -> None:
    async def work() -> None:
        with pytest.raises(TimeoutError) as caught:
            await asyncio.wait_for(asyncio.Event().wait(), 0.001)
        cause: Any = caught.value.__cause__
        files = [frame.filename for frame in traceback.extract_tb(cause.__traceback__)]
        assert files
        assert not [name for name in files if name.endswith("engine/activities/tasks.py")]

    assert ends_of(work).exception() is None


@pytest.mark.parametrize("error", [ValueError("mine"), asyncio.CancelledError()])
def test_an_error_of_the_first_stretch_is_its_own(error: BaseException) -> None:
    async def work() -> None:
        raise error

    ended = ends_of(work)
    assert ended.cancelled() or ended.exception() is error


def test_a_call_from_a_thread_is_not_lost_while_the_task_is_made_whole() -> None:
    called: list[str] = []

    class Interrupted(asyncio.SelectorEventLoop):
        """Another thread asks for a call right after a task has asked for its first step."""

        def call_soon(  # type: ignore[override]
            self, callback: Any, *args: Any, context: contextvars.Context | None = None
        ) -> asyncio.Handle:
            handle = super().call_soon(callback, *args, context=context)
            if isinstance(getattr(callback, "__self__", None), asyncio.Task):
                other = threading.Thread(target=self.call_soon_threadsafe, args=(called.append, "from a thread"))
                other.start()
                other.join()
            return handle

    async def main() -> None:
        async def work() -> None:
            called.append("begun")
            await asyncio.sleep(0)
            called.append("resumed")

        made = task_of(work)
        await asyncio.sleep(0)
        called.clear()
        await asyncio.wait(made)

    loop = Interrupted()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert "from a thread" in called
    assert "resumed" in called


def test_a_task_factory_makes_it() -> None:
    async def main() -> None:
        made_by: list[str] = []

        def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
            made_by.append(work.__name__)
            return asyncio.Task(work, loop=loop, **options)

        asyncio.get_running_loop().set_task_factory(factory)

        async def work() -> None:
            await asyncio.sleep(0)

        made = task_of(work)
        await asyncio.sleep(0)
        await asyncio.wait(made)
        assert made_by == ["work"]

    asyncio.run(main())


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="asyncio begins tasks early itself")
@pytest.mark.anyio
async def test_a_task_that_nobody_keeps_is_never_made_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def note(*ended: object) -> None:
        made.append(ended)

    monkeypatch.setattr(tasks._EarlyTask, "_ends", note)  # pyright: ignore[reportPrivateUsage]

    async def work() -> None:
        assert asyncio.current_task() is not None

    begun = asyncio.Event()

    def begin() -> None:
        loop = asyncio.get_running_loop()
        _ = maker_of_tasks(loop)(work(), loop, "a:1", contextvars.copy_context())
        del _
        begun.set()

    asyncio.get_running_loop().call_soon(begin)
    await begun.wait()
    assert made == []
