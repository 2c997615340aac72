"""Plain functions on a limited number of threads. Waiting for a thread does not count towards a timeout.

A thread cannot be stopped from outside. An abandoned function keeps its thread until it ends, so the limit on threads
holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from romancy._logs import get_logger
from romancy.engine.activities.places import Places
from romancy.errors import ActivityError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Threads", "exit_refused"]

logger = get_logger("romancy.engine")


class Threads:
    """At most `limit` threads, each started when it is first needed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.places = Places(limit)
        self._pool = ThreadPoolExecutor(limit, thread_name_prefix="romancy-activity")
        self._given_up: set[Future[Any]] = set()
        """Abandoned functions, which still run although the engine no longer waits for them."""
        self._left = asyncio.Event()

    async def call(
        self,
        name: str,
        fn: Callable[..., Any],
        positional: tuple[Any, ...],
        named: dict[str, Any],
        timeout: float | None,
    ) -> Any:
        """Return what the function returns. Its exceptions pass through.

        The timeout counts from the moment the function begins on its thread. A call cancelled before that never begins.
        """
        await self.places.acquire()
        scope = asyncio.timeout(None)
        begins = None if timeout is None else functools.partial(_count, asyncio.get_running_loop(), scope, timeout)
        try:
            begun = self._pool.submit(contextvars.copy_context().run, _plainly, name, begins, fn, positional, named)
        except BaseException:
            self.places.release()
            raise
        try:
            async with scope:
                return await asyncio.wrap_future(begun)
        finally:
            if begun.done() or begun.cancel():
                self.places.release()
            else:
                self._leave_alone(begun)

    def _leave_alone(self, begun: Future[Any]) -> None:
        self._given_up.add(begun)
        if len(self._given_up) == self._limit:
            logger.error(
                "all %d threads run functions that were given up and do not stop: activities that are plain functions "
                "wait until one of them ends. Let them call activity_context().heartbeat() now and then, which ends "
                "them, bound what they wait for, or declare them with executor='process'",
                self._limit,
            )
        loop = asyncio.get_running_loop()

        def ended(begun: Future[Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended first
                loop.call_soon_threadsafe(self._is_free, begun)

        begun.add_done_callback(ended)

    def _is_free(self, begun: Future[Any]) -> None:
        self._given_up.discard(begun)
        self.places.release()
        self._left.set()

    async def all_left(self) -> None:
        """Return when no abandoned function runs on a thread."""
        while self._given_up:
            self._left.clear()
            await self._left.wait()

    def close(self) -> None:
        """Begin no further function. Running functions continue."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def exit_refused(name: str, error: SystemExit | KeyboardInterrupt) -> ActivityError:
    """The error for an activity whose exception would end its process and everything that runs there."""
    cause = ActivityError(
        f"{name} raised {type(error).__name__}, which does not end its worker: let it return, or raise an exception "
        "(a TerminalError if it is not to be tried again)"
    )
    cause.__cause__ = error
    return cause


def _count(loop: asyncio.AbstractEventLoop, scope: asyncio.Timeout, timeout: float) -> None:
    """Start the timeout. Runs on the thread."""
    loop.call_soon_threadsafe(_limit, scope, loop.time() + timeout)


def _limit(scope: asyncio.Timeout, deadline: float) -> None:
    with contextlib.suppress(RuntimeError):  # the event loop is closed
        scope.reschedule(deadline)


def _plainly(
    name: str,
    begins: Callable[[], None] | None,
    fn: Callable[..., Any],
    positional: tuple[Any, ...],
    named: dict[str, Any],
) -> Any:
    if begins is not None:
        begins()
    try:
        return fn(*positional, **named)
    except (KeyboardInterrupt, SystemExit) as error:
        raise exit_refused(name, error) from error
    except (StopIteration, GeneratorExit) as error:
        # A future cannot hold StopIteration. GeneratorExit would make an awaiting task look ended.
        raise RuntimeError(f"{name} raised {type(error).__name__}") from error
