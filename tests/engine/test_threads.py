"""Functions in threads: cases that the behaviour suite cannot produce, because its threads begin at once."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import pytest

from romancy.engine import surroundings
from romancy.engine.activities.threads import Caller, Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Late(ThreadPoolExecutor):
    """Its threads begin late, as on a busy machine."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def late() -> Any:
            time.sleep(0.3)
            return fn(*args, **kwargs)

        return super().submit(late)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened at the end of the test, if not earlier."""
    gate = threading.Event()
    yield gate
    gate.set()


class Impatient:
    """A caller that does not wait for a function once its task was cancelled."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def waits(self) -> bool:
        return False

    def left(self) -> None:
        self.told.append("left")

    def came_back(self, ended: Future[Any]) -> None:
        self.told.append(f"came back: {ended.exception()!r}")


async def call(
    threads: Threads, fn: Callable[..., Any], timeout: float | None, *args: object, caller: Caller | None = None
) -> Any:
    async with asyncio.timeout(None) as scope:

        def begins(at: float) -> None:
            if timeout is not None:
                scope.reschedule(at + timeout)

        return await threads.call("it", fn, args, {}, caller or Impatient(), begins)


def test_the_time_before_a_function_begins_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "ThreadPoolExecutor", Late)

    assert asyncio.run(call(Threads(1), str, 0.1, 5)) == "5"


class Patient(Impatient):
    """A caller that waits for a function, so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left_to_wait = times

    def waits(self) -> bool:
        self.left_to_wait -= 1
        return self.left_to_wait >= 0


def test_a_caller_decides_how_long_it_waits_for_a_function_that_it_no_longer_wants(gate: threading.Event) -> None:
    async def cancelled_twice(caller: Patient) -> list[str]:
        threads, begun, loop = Threads(1), asyncio.Event(), asyncio.get_running_loop()
        gate.clear()

        def holds() -> None:
            loop.call_soon_threadsafe(begun.set)
            gate.wait(60)

        task = asyncio.create_task(call(threads, holds, None, caller=caller))
        await begun.wait()
        for _ in range(2):
            task.cancel()
            await asyncio.wait([task], timeout=0.1)
        how = "gone" if task.done() else "waits"
        gate.set()
        await asyncio.wait([task])
        await call(threads, int, None, "7")  # its thread is free
        return [how, *caller.told]

    assert asyncio.run(cancelled_twice(Patient(2))) == ["waits"]
    assert asyncio.run(cancelled_twice(Patient(1))) == ["gone", "left", "came back: None"]


class Kept(ThreadPoolExecutor):
    """Its last future can be waited for."""

    last: Future[Any]

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        Kept.last = super().submit(fn, *args, **kwargs)
        return Kept.last


def test_a_function_that_ends_as_its_task_is_cancelled_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "ThreadPoolExecutor", Kept)

    async def main() -> object:
        task = asyncio.create_task(call(Threads(1), str, None, "done"))
        await asyncio.sleep(0)
        wait([Kept.last])  # its loop has not heard of the end
        task.cancel()
        return await task

    assert asyncio.run(main()) == "done"


def test_one_that_outlives_its_loop_ends_quietly(gate: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    """A function that had no turn before then never runs."""
    begun: list[str] = []

    async def main(threads: Threads) -> None:
        with pytest.raises(TimeoutError):
            await call(threads, gate.wait, 0.1, 60)
        waiting = asyncio.create_task(call(threads, begun.append, None, "second"))
        await asyncio.sleep(0)  # it waits for the thread
        waiting.cancel()
        await asyncio.wait([waiting])
        threads.close()

    before = set(threading.enumerate())
    asyncio.run(main(Threads(1)))
    gate.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(60)

    assert begun == []
    assert [record.name for record in caplog.records] == ["romancy.engine"]
    assert "all 1 threads run functions that were given up" in caplog.text


def test_a_thread_is_free_again_after_every_end(gate: threading.Event) -> None:
    async def main() -> list[object]:
        threads = Threads(1)
        ends: list[object] = [await call(threads, int, None, "7")]
        for fn, args in ((int, ("x",)), (next, (iter([]),)), (gate.wait, (60,))):
            try:
                ends.append(await call(threads, fn, 0.2, *args))
            except (ValueError, RuntimeError, TimeoutError) as error:
                ends.append(type(error))
        gate.set()
        return [*ends, await call(threads, int, 60, "8")]

    assert asyncio.run(main()) == [7, ValueError, RuntimeError, TimeoutError, 8]
