"""Many calls of one function at once, with a rule for when they are done. It is plain asyncio."""

from __future__ import annotations

import asyncio
import inspect
import math
import re
from collections import deque
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from romancy.errors import Failure, InternalError, NonDeterminismError, TooManyFailedError, UsageError
from romancy.retry import whole_number
from romancy.serialization import describe_exception, failures_in

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Generator,
        Iterable,
        Sequence,
    )
    from contextvars import Context
    from typing import TypeAlias

    Undo: TypeAlias = Callable[[Callable[[Context], bool]], Awaitable[None]]
    """Undoes what the calls have done whose context variables are these."""

__all__ = ["Many", "MapOutcome", "Mapped", "all_ended", "first_done", "many"]

T = TypeVar("T")

_SHARE: Final = re.compile(r"(\d{1,3}(?:\.\d+)?)%")
_MISTAKES: Final = (UsageError, NonDeterminismError)
"""Errors in the code, which are no outcome of an input: they end the map at once."""
_BRANCHES: Final[ContextVar[tuple[_Branch, ...]]] = ContextVar("romancy_branches", default=())
"""The calls of `ctx.first` that this code works for, the outermost first."""


@dataclass(frozen=True, slots=True)
class MapOutcome(Generic[T]):
    """How the call for one input has ended."""

    index: int
    """Which input it was."""
    _result: Any = None
    error: Exception | None = None
    """What it has raised. None: it has succeeded."""

    @property
    def result(self) -> T:
        """The result. Raises the error of a call that has failed."""
        if self.error is not None:
            raise self.error
        result: T = self._result
        return result

    @property
    def failure(self) -> Failure | None:
        """What it has raised, as data that can be a result or a message. None: it has succeeded."""
        return None if self.error is None else failures_in(describe_exception(self.error))[0]


class Mapped(list[T], Generic[T]):
    """The results of the calls that succeeded, in the order of the inputs."""

    def __init__(self, outcomes: Iterable[MapOutcome[T]]) -> None:
        self.outcomes = sorted(outcomes, key=lambda one: one.index)
        """How each call has ended, in the order of the inputs. Those that were stopped, or not begun, are not here."""
        super().__init__(one.result for one in self.outcomes if one.error is None)

    @property
    def failed(self) -> list[MapOutcome[T]]:
        """Those that have failed."""
        return [one for one in self.outcomes if one.error is not None]


@dataclass(frozen=True, slots=True)
class _Rule:
    """When enough calls have succeeded, and when too many have failed."""

    enough: int
    may_fail: int

    def is_met(self, done: int, failed: int) -> bool:
        """Whether no more calls are needed: enough have succeeded, or too many failed."""
        return done >= self.enough or failed > self.may_fail


class Many(Generic[T]):
    """Calls for many inputs: `await` them all, or receive `async for` how each ends, in the order of the ends."""

    __slots__ = (
        "_at_once", "_call", "_done", "_ended", "_failed", "_fatal", "_inputs", "_next", "_rule", "_running",
        "_stopped", "_wake", "made",
    )  # fmt: skip

    def __init__(
        self, call: Callable[[Any], Coroutine[Any, Any, T]], inputs: list[Any], at_once: int, rule: _Rule
    ) -> None:
        self._call = call
        self._inputs = inputs
        self._at_once = at_once
        self._rule = rule
        self.made: Coroutine[Any, Any, Mapped[T]] | None = None
        """What `await` awaits, so that the run knows of a call that is forgotten."""
        self._next = 0
        """The number of the next input."""
        self._running: dict[asyncio.Task[T], int] = {}
        self._ended: deque[MapOutcome[T]] = deque()
        """Those that nobody has received yet."""
        self._done = self._failed = 0
        self._fatal: BaseException | None = None
        """What ends the run itself, and is no outcome of a call."""
        self._stopped = False
        self._wake: asyncio.Future[None] | None = None

    def __await__(self) -> Generator[Any, Any, Mapped[T]]:
        self._once()
        made = all_ended(self) if self.made is None else self.made
        return made.__await__()

    def __aiter__(self) -> AsyncIterator[MapOutcome[T]]:
        if self.made is not None:
            self.made.close()
        return self.ends()

    async def ends(self) -> AsyncGenerator[MapOutcome[T]]:
        """How each call has ended, in this order. Raises when too many have failed."""
        self._once()
        failed = 0
        try:
            self._begin_some()
            while self._ended or self._running:
                while self._ended:
                    outcome = self._ended.popleft()
                    failed += outcome.error is not None
                    self._refuse(outcome, failed)
                    yield outcome
                if self._running:
                    self._wake = asyncio.get_running_loop().create_future()
                    await self._wake
            if self._fatal is not None:
                raise self._fatal
        finally:
            await self._stop()

    def _once(self) -> None:
        if self._next or self._ended:
            raise UsageError("a ctx.map(…) can be awaited, or iterated over, once: call it again for another time")

    def _refuse(self, outcome: MapOutcome[T], failed: int) -> None:
        """Raise an error of the code, and that of the call by which too many have failed."""
        error, rule = outcome.error, self._rule
        if error is None:
            return
        if isinstance(error, _MISTAKES) or (failed > rule.may_fail and not rule.may_fail):
            raise error
        if failed > rule.may_fail:
            told = f"{failed} of {len(self._inputs)} calls have failed, and at most {rule.may_fail} may"
            raise TooManyFailedError(f"{told}; the last one with {type(error).__name__}: {error}") from error

    def _begin_some(self) -> None:
        """Begin calls until so many are at work as may be."""
        loop = asyncio.get_running_loop()
        while len(self._running) < self._at_once and self._next < len(self._inputs):
            number, self._next = self._next, self._next + 1
            task = loop.create_task(self._call(self._inputs[number]), name=f"map {number}")
            self._running[task] = number
            task.add_done_callback(self._has_ended)

    def _has_ended(self, task: asyncio.Task[T]) -> None:
        """Begin the next calls, or stop the others if no more are needed."""
        number = self._running.pop(task)
        if not task.cancelled():
            error = task.exception()
            if error is None:
                self._ended.append(MapOutcome(number, task.result()))
                self._done += 1
            elif isinstance(error, Exception):
                self._ended.append(MapOutcome(number, error=error))
                self._failed += 1
            else:
                self._fatal = error
        if self._is_over():
            self._cancel()
        else:
            self._begin_some()
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _is_over(self) -> bool:
        return self._fatal is not None or self._stopped or self._rule.is_met(self._done, self._failed)

    def _cancel(self) -> None:
        """Cancel the calls that are at work, once: what they do then is not interrupted."""
        if not self._stopped:
            self._stopped = True
            for task in list(self._running):
                task.cancel()

    async def _stop(self) -> None:
        """Cancel the calls that are at work, and wait until they have ended."""
        stopped: asyncio.CancelledError | None = None
        self._cancel()
        while self._running:
            try:
                await asyncio.wait(list(self._running))
            except asyncio.CancelledError as error:
                stopped = error
        if stopped is not None:
            raise stopped


async def all_ended(calls: Many[T]) -> Mapped[T]:
    """Wait until the rule is met, and the calls that it stops have ended."""
    return Mapped([outcome async for outcome in calls.ends()])


def many(
    call: Callable[[Any], Coroutine[Any, Any, T]],
    inputs: Iterable[Any],
    at_once: int | None,
    enough: int | None,
    may_fail: int | str | None,
) -> Many[T]:
    """The calls of `ctx.map`. Raises UsageError for a rule that cannot be met, and for what is no such function."""
    if not callable(call):
        raise UsageError(
            f"ctx.map takes a function to call and the inputs, as in ctx.map(charge, orders), not {call!r}"
        )
    given = list(inputs)
    if at_once is not None:
        whole_number(at_once, "at_once")
    if enough is not None and whole_number(enough, "enough") > len(given):
        raise UsageError(f"ctx.map: enough={enough} can never be met with {len(given)} input{'s' * (len(given) != 1)}")
    if may_fail is None:
        may_fail = 0 if enough is None else len(given)
    needed = len(given) if enough is None else enough
    most = len(given) if enough is None else len(given) - enough
    rule = _Rule(needed, min(_number(may_fail, len(given)), most))
    return Many(call, given, len(given) if at_once is None else at_once, rule)


def _number(may_fail: int | str, inputs: int) -> int:
    """How many may fail."""
    if not isinstance(may_fail, str):
        return whole_number(may_fail, "may_fail", 0)
    share = _SHARE.fullmatch(may_fail)
    if share is None or float(share[1]) > 100:  # noqa: PLR2004 - percent
        raise UsageError(f'may_fail takes a number of calls, or a share of them as "20%", not {may_fail!r}')
    return math.floor(inputs * float(share[1]) / 100)


async def first_done(calls: Sequence[Awaitable[T]], undo: Undo) -> T:
    """The result of the first call that succeeds. The others are stopped, and what they have done is undone."""
    if not calls:
        raise UsageError("ctx.first() has nothing to wait for: give it some calls, as in ctx.first(ask(a), ask(b))")
    for call in calls:
        if not inspect.isawaitable(call):
            raise UsageError(
                "ctx.first takes calls one by one, as in ctx.first(ask(a), ask(b)) or ctx.first(*calls), not "
                f"an object of type {type(call).__name__}"
            )
    branches = [_Branch(call) for call in calls]
    try:
        winner = await _winner(branches)
    except Exception as error:
        if not isinstance(error, _MISTAKES):
            await undo(_of(branches))
        raise
    await undo(_of([branch for branch in branches if branch is not branches[winner.index]]))
    result: T = winner.result
    return result


class _Branch:
    """One of the calls of `ctx.first`. Whatever it calls knows by a context variable that it belongs to it."""

    __slots__ = ("_call",)

    def __init__(self, call: Awaitable[Any]) -> None:
        self._call = call

    async def result(self) -> Any:
        _BRANCHES.set((*_BRANCHES.get(), self))  # of this task, and of those that it makes
        return await self._call


def _of(branches: Sequence[_Branch]) -> Callable[[Context], bool]:
    """Whether a call with these context variables belongs to one of the branches."""
    meant = frozenset(branches)

    def belongs(context: Context) -> bool:
        calls: tuple[_Branch, ...] = context.get(_BRANCHES, ())
        return not meant.isdisjoint(calls)

    return belongs


async def _winner(branches: Sequence[_Branch]) -> MapOutcome[Any]:
    async with aclosing(many(_Branch.result, branches, None, 1, None).ends()) as ends:
        async for outcome in ends:
            if outcome.error is None:
                return outcome
    raise InternalError("none of the calls of ctx.first has succeeded, and too few have failed")
