"""Calls the function of an attempt: on the event loop, on a thread or in a process, within its limits."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Raw

from romancy._sizes import fitting
from romancy.attempt_context import enter_activity
from romancy.core import ActivityCompleted, CompensationCompleted, StartCompensation
from romancy.engine.activities.heartbeat import watched
from romancy.engine.activities.limits import Limit
from romancy.engine.activities.places import Kind
from romancy.engine.activities.processes import Processes
from romancy.engine.activities.threads import Threads
from romancy.errors import ActivityTimeoutError, HeartbeatTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from concurrent.futures import Future
    from contextvars import Context

    from romancy.core import Input
    from romancy.depends import Dependencies
    from romancy.engine.activities.attempt import Attempt
    from romancy.engine.clock import DatabaseClock

__all__ = ["Calling", "Slots"]


class Slots(Protocol):
    """What the calls report to those who give out the slots."""

    def reached(self, attempt: Attempt, error: Exception) -> bool:
        """A limit of the attempt is reached. False: it was asked to stop before."""
        ...

    def left_on_thread(self, attempt: Attempt) -> None:
        """The task of the attempt ends, and its function goes on alone on its thread."""
        ...

    def came_back(self, attempt: Attempt, ended: Future[Any]) -> None:
        """A function that went on alone has ended."""
        ...


class _OnThread:
    """What a thread's call asks and tells about its attempt."""

    __slots__ = ("_attempt", "_slots")

    def __init__(self, attempt: Attempt, slots: Slots) -> None:
        self._attempt = attempt
        self._slots = slots

    def waits(self) -> bool:
        return self._attempt.waits_for_thread()

    def left(self) -> None:
        self._slots.left_on_thread(self._attempt)

    def came_back(self, ended: Future[Any]) -> None:
        self._slots.came_back(self._attempt, ended)


class Calling:
    """The threads and processes of one worker, and how functions are called on them."""

    def __init__(
        self,
        slots: Slots,
        *,
        max_threads: int,
        errors: Collection[str],
        dependencies: Dependencies,
        context: Context,
        clock: DatabaseClock,
        completed: Callable[[Attempt, object], Input],
    ) -> None:
        """`completed` makes the input for a returned value. Dependencies belong to the app: they open in `context`."""
        self._slots = slots
        self._threads = Threads(max_threads)
        self._processes = Processes(errors)
        self.places = {Kind.THREAD: self._threads.places, Kind.PROCESS: self._processes.places}
        """The places that attempts of these kinds need beside a slot."""
        self._dependencies = dependencies
        self._context = context
        self._clock = clock
        self._completed = completed

    def close(self) -> None:
        """Begin no further call on a thread, and kill the processes."""
        self._threads.close()
        self._processes.close()

    async def make(self, attempt: Attempt, definition: Any) -> Input:
        """Call the function of the definition and report its success. Its exceptions pass through."""
        effect = attempt.effect
        if isinstance(effect, StartCompensation):
            return await self._undo(attempt, definition, effect)
        given = definition.given
        if given.executor == "process":
            return await self._in_process(attempt, definition)
        positional, named = definition.signature.decode_arguments(effect.args)
        if definition.dependencies:
            named |= await self._resolved(attempt, definition)
        if given.pass_context:
            positional = (attempt(), *positional)
        enter_activity(attempt)
        if given.heartbeat_timeout is not None:
            value = await self._watched(attempt, definition, positional, named)
        else:
            value = await self._call(attempt, definition, definition.fn, positional, named)
        await attempt.finish()
        return self._completed(attempt, value)

    async def _undo(self, attempt: Attempt, definition: Any, effect: StartCompensation) -> Input:
        positional, named = definition.arguments(effect.activity, effect.args, effect.result)
        if definition.dependencies:
            named |= await self._resolved(attempt, definition)
        enter_activity(attempt)
        await self._call(attempt, definition, definition.fn, positional, named)
        await attempt.finish()
        return CompensationCompleted(at=self._clock.now(), id=attempt.id, attempt=effect.attempt, queued=attempt.queued)

    async def _resolved(self, attempt: Attempt, definition: Any) -> dict[str, Any]:
        """The dependencies of the definition. A dependency that opens now sees no variable of the body."""
        apart = None if attempt.effect.context is None else self._context
        return await self._dependencies.resolve(definition.dependencies, apart)

    async def _in_process(self, attempt: Attempt, definition: Any) -> Input:
        effect: Any = attempt.effect
        timeout = definition.given.timeout
        args = bytes(effect.args)
        if timeout is None:
            stored = await self._processes.call(definition, args, attempt.was_killed)
        else:
            async with self._limit(attempt, definition, timeout) as limit:
                begins = functools.partial(limit.count_from, seconds=timeout)
                stored = await self._processes.call(definition, args, attempt.was_killed, begins)
        attempt.returned = True
        fitting(stored, f"result of activity {attempt.id}")
        return ActivityCompleted(
            at=self._clock.now(), id=attempt.id, result=Raw(stored), attempt=effect.attempt, queued=attempt.queued
        )

    async def _watched(
        self, attempt: Attempt, definition: Any, positional: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        port, silence = attempt.open(), definition.given.heartbeat_timeout

        def begun(*args: Any, **kwargs: Any) -> Any:
            port.heartbeat(None)  # its beginning is the first heartbeat
            return definition.fn(*args, **kwargs)

        error = HeartbeatTimeoutError(
            f"activity {definition.name} sent no heartbeat for {silence:g} s, its heartbeat_timeout: "
            "call activity_context().heartbeat() more often in it, or allow more"
        )
        async with watched(port, Limit(attempt, error, self._slots.reached), silence):
            return await self._call(attempt, definition, begun, positional, named)

    async def _call(
        self,
        attempt: Attempt,
        definition: Any,
        fn: Callable[..., Any],
        positional: tuple[Any, ...],
        named: dict[str, Any],
    ) -> Any:
        timeout = definition.given.timeout
        if timeout is None:
            if definition.is_async:
                return await fn(*positional, **named)
            return await self._threads.call(definition.name, fn, positional, named, _OnThread(attempt, self._slots))
        async with self._limit(attempt, definition, timeout) as limit:
            begins = functools.partial(limit.count_from, seconds=timeout)
            if definition.is_async:
                begins(_now())
                return await fn(*positional, **named)
            on_thread = _OnThread(attempt, self._slots)
            return await self._threads.call(definition.name, fn, positional, named, on_thread, begins)

    def _limit(self, attempt: Attempt, definition: Any, timeout: float) -> Limit:
        error = ActivityTimeoutError(f"{definition.kind} {definition.name} took longer than {timeout:g} s, its timeout")
        return Limit(attempt, error, self._slots.reached)


def _now() -> float:
    return asyncio.get_running_loop().time()
