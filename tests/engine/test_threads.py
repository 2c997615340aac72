"""Functions in threads: cases that the behaviour suite cannot produce, because its threads begin at once."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from romancy.engine.activities import threads
from romancy.engine.activities.threads import Threads

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


async def call(threads: Threads, fn: Callable[..., Any], timeout: float | None, *args: object) -> Any:
    return await threads.call("it", fn, args, {}, timeout)


def test_the_time_before_a_function_begins_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "ThreadPoolExecutor", Late)

    assert asyncio.run(call(Threads(1), str, 0.1, 5)) == "5"


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
