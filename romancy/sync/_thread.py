"""A thread with an event loop, on which an app lives, and the waiting of other threads for what it does there.

A caller's transaction stays in the caller's thread: while it waits, it carries out what the loop leaves to it.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from concurrent.futures import ThreadPoolExecutor  # its handler is registered before ours, and called after it
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

from romancy._access import instead_of
from romancy.core import is_in_a_workflow
from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from concurrent.futures import Future

__all__ = ["Errands", "LoopThread", "refuse_loop"]

T = TypeVar("T")

_AWAKE_EVERY: Final = 0.5
"""Python notices a signal that comes just before a thread begins to wait only when that wait ends."""


def refuse_loop(what: str) -> None:
    """Raise UsageError in code that an event loop runs: it would stand still while this waits."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    if is_in_a_workflow():
        remedy = instead_of(what.rpartition(".")[2].removesuffix("()"))
        raise UsageError(f"{what} was called in a workflow, whose replay would repeat it: {remedy}")
    raise UsageError(
        f"{what} blocks, and an event loop is running in this thread; use `romancy.Romancy` and await it, or leave the "
        "call to a thread: `await asyncio.to_thread(…)`"
    )


class Errands:
    """Work on a caller's transaction, which the loop leaves to the thread that waits for the call."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Have the work done by the thread that waits."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def errand() -> None:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - it belongs to the one who asked
                loop.call_soon_threadsafe(_fail, answer, error)
            else:
                loop.call_soon_threadsafe(_answer, answer, result)

        self._queue.put(errand)
        return answer

    def run_until(self, done: Future[Any]) -> None:
        """Carry out what comes, until the call is done."""
        done.add_done_callback(lambda _: self._queue.put(None))
        while (errand := self._next()) is not None:
            errand()

    def _next(self) -> Callable[[], None] | None:
        while True:
            try:
                return self._queue.get(timeout=_AWAKE_EVERY)
            except Empty:
                continue


def _result_of(future: Future[T]) -> T:
    while not future.done():
        try:
            return future.result(_AWAKE_EVERY)
        except TimeoutError:
            continue  # of this wait, or of the work itself, which is then done
    return future.result()


def _fail(answer: asyncio.Future[Any], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


def _answer(answer: asyncio.Future[T], result: T) -> None:
    if not answer.done():
        answer.set_result(result)


class LoopThread:
    """An event loop in a thread of its own. `at_exit` runs on it if the interpreter ends before `stop`."""

    def __init__(self, at_exit: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self._pid = os.getpid()
        self._at_exit = at_exit
        self._loop = asyncio.new_event_loop()
        self._pool = ThreadPoolExecutor()
        self._loop.set_default_executor(self._pool)
        self._thread = threading.Thread(target=self._run, name="romancy-loop", daemon=True)
        self._thread.start()
        _running.add(self)

    @property
    def is_of_this_process(self) -> bool:
        """Whether the process was not forked since: no other thread survives a fork."""
        return self._pid == os.getpid()

    @property
    def has_ended(self) -> bool:
        """Whether its loop runs no more, because the interpreter ends."""
        return self._loop.is_closed() or not self._thread.is_alive()

    def call(self, work: Coroutine[Any, Any, T], errands: Errands | None = None) -> T:
        """Wait for the work. If the wait is interrupted (Ctrl-C), the work is cancelled."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            if errands is not None:
                errands.run_until(future)
            return _result_of(future)
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the loop and its thread."""
        _running.discard(self)
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._end_pool()
            self._loop.close()

    def _end_pool(self) -> None:
        try:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        except RuntimeError:  # at the end of the interpreter 3.12.0 and 3.12.1 begin no thread (gh-113964)
            self._pool.shutdown()

    def leave(self) -> None:
        """The interpreter ends."""
        if self.is_of_this_process and self._thread.is_alive():
            self.call(self._at_exit())
            self.stop()


_running: set[LoopThread] = set()


def _leave_all() -> None:
    for thread in tuple(_running):
        thread.leave()


# Public handlers run when the pools of threads are closed already, without which a database cannot be left.
_early: Callable[[Callable[[], None]], object] = getattr(threading, "_register_atexit", atexit.register)
_early(_leave_all)
