"""Plain functions on a limited number of threads. Waiting for a thread does not count towards a timeout.

A thread cannot be stopped from outside. An abandoned function keeps its thread until it ends, so the limit on threads
holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from typing import TYPE_CHECKING, Any, Protocol

from romancy._logs import get_logger
from romancy.engine.activities.places import Places
from romancy.engine.surroundings import here
from romancy.errors import ActivityError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

__all__ = ["Caller", "Threads", "exit_refused"]

logger = get_logger("romancy.engine")


class Caller(Protocol):
    """Who waits for a function on a thread."""

    def waits(self) -> bool:
        """Whether it goes on waiting for a function that has begun, although its task was cancelled."""
        ...

    def left(self) -> None:
        """It waits no longer, and the function goes on alone."""
        ...

    def came_back(self, ended: Future[Any]) -> None:
        """That function has ended."""
        ...


class Threads:
    """At most `limit` threads, each started when it is first needed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.places = Places(limit)
        self._pool = here().threads(limit, "romancy-activity")
        self._alone: set[Future[Any]] = set()
        """Functions that still run although nobody waits for them any more."""

    async def call(
        self,
        name: str,
        fn: Callable[..., Any],
        positional: tuple[Any, ...],
        named: dict[str, Any],
        caller: Caller,
        begins: Callable[[float], None] | None = None,
    ) -> Any:
        """Return what the function returns. Its exceptions pass through.

        `begins` is called on the event loop once the function begins, with the loop's time of that moment. A call
        cancelled before that never begins. One cancelled later lasts as long as its `caller` waits.
        """
        await self.places.acquire()
        told = None if begins is None else functools.partial(_tell, asyncio.get_running_loop(), begins)
        try:
            begun = self._pool.submit(contextvars.copy_context().run, _plainly, name, told, fn, positional, named)
        except BaseException:
            self.places.release()
            raise
        try:
            return await _end_of(begun, caller)
        finally:
            if begun.done() or begun.cancel():
                self.places.release()
            else:
                self._leave_alone(begun, caller)

    def _leave_alone(self, begun: Future[Any], caller: Caller) -> None:
        self._alone.add(begun)
        caller.left()
        if len(self._alone) == self._limit:
            logger.error(
                "all %d threads run functions that were given up and do not stop: activities that are plain functions "
                "wait until one of them ends. Let them look at activity_context().cancelled now and then, bound what "
                "they wait for, or declare them with executor='process'",
                self._limit,
            )
        loop = asyncio.get_running_loop()

        def ended(begun: Future[Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended first
                loop.call_soon_threadsafe(self._is_free, begun, caller)

        begun.add_done_callback(ended)

    def _is_free(self, begun: Future[Any], caller: Caller) -> None:
        self._alone.discard(begun)
        self.places.release()
        caller.came_back(begun)

    def close(self) -> None:
        """Begin no further function. Running functions continue."""
        self._pool.shutdown(wait=False, cancel_futures=True)


async def _end_of(begun: Future[Any], caller: Caller) -> Any:
    """What the function returns. A cancellation ends the wait only if the caller does not go on waiting."""
    while True:
        try:
            return await asyncio.wrap_future(begun)
        except asyncio.CancelledError:
            if begun.cancelled():
                raise  # it never began
            if begun.done():
                return begun.result()  # it ended at the same moment, or raised this error itself
            if not caller.waits():
                raise


def exit_refused(name: str, error: SystemExit | KeyboardInterrupt | GeneratorExit) -> ActivityError:
    """The error for an activity whose exception would end its process and everything that runs there."""
    cause = ActivityError(
        f"{name} raised {type(error).__name__}, which does not end its worker: let it return, or raise an exception "
        "(a TerminalError if it is not to be tried again)"
    )
    cause.__cause__ = error
    return cause


def _tell(loop: asyncio.AbstractEventLoop, begins: Callable[[float], None]) -> None:
    """Report that the function begins. Runs on the thread."""
    loop.call_soon_threadsafe(begins, loop.time())


def _plainly(
    name: str,
    told: Callable[[], None] | None,
    fn: Callable[..., Any],
    positional: tuple[Any, ...],
    named: dict[str, Any],
) -> Any:
    if told is not None:
        told()
    try:
        return fn(*positional, **named)
    except (KeyboardInterrupt, SystemExit) as error:
        raise exit_refused(name, error) from error
    except (StopIteration, GeneratorExit) as error:
        # A future cannot hold StopIteration. GeneratorExit would make an awaiting task look ended.
        raise RuntimeError(f"{name} raised {type(error).__name__}") from error
