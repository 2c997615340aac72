"""Retry policies: compute when a failed activity is tried again. Pure values.

Nothing here waits or reads a clock. The engine carries out an attempt, asks `decide`, and writes the answer to the log,
so that a crash does not reset the count.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, Self, TypeAlias, cast

from romancy._expected_options import OF_POLICIES, answer_options
from romancy.errors import (
    ChannelModeConflictError,
    InstanceConflictError,
    InstanceNotFoundError,
    TerminalError,
    UsageError,
    WorkflowUnknownError,
)

__all__ = [
    "FRAMEWORK_DEFAULT",
    "Duration",
    "GiveUp",
    "Retry",
    "RetryPolicy",
    "policy",
    "resolve",
    "seconds",
    "whole_number",
]

Duration: TypeAlias = float | timedelta
ErrorTypes: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]
ErrorFilter: TypeAlias = ErrorTypes | Callable[[Exception], bool]


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after `delay` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The failure is final. `exhausted`: only because no attempts are left."""

    exhausted: bool


def seconds(value: Duration, what: str = "duration", *, least: float | None = 0) -> float:
    """The duration in seconds. Raises UsageError for anything that is not a finite number of at least `least`."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"{what} must be a number of seconds or a timedelta, not {type(value).__name__}")
    try:
        value = float(value)
    except OverflowError:  # an int beyond all floats
        value = math.inf
    if not math.isfinite(value) or (least is not None and value < least):
        at_least = "" if least is None else f", at least {least:g}"
        raise UsageError(f"{what} must be a finite number of seconds{at_least}, not {value!r}")
    return value


def whole_number(value: Any, what: str, least: int = 1) -> int:
    """A whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{what} must be a whole number, at least {least}, not {value!r}")
    return value


@dataclass(frozen=True, slots=True, init=False)
class RetryPolicy:
    """How often and how fast a failed activity is tried again.

    `max_attempts` counts the first attempt too; 0 is for ever. The delay before attempt n+1 is `initial_interval *
    multiplier ** (n - 1)`, at most `max_interval`, and `jitter` (0 to 1) takes away up to that share of it. If the
    error has a `retry_after`, in seconds, the delay is at least that, but no more than `max_interval`. A
    `TerminalError` is never tried again, whatever the filters say. Nor is a `UsageError`, apart from those that depend
    on the state of other instances (`InstanceNotFoundError`, `InstanceConflictError`, `ChannelModeConflictError`,
    `WorkflowUnknownError`). An error that is not an `Exception` is tried again
    only if `retry_on` names it. What is of a class in `expected` belongs to the business: it is retried like others,
    and told like an `Expected`. A filter that raises ends the attempts with its exception. No policy applies to a
    result that cannot be stored: the activity has done its work, and fails at once.

    `record="last"` is for polls: of the failed attempts, the log keeps how many there were, and the last one. A poll of
    a month is then no longer than one of a minute.
    """

    max_attempts: int
    initial_interval: float
    multiplier: float
    max_interval: float
    jitter: float
    retry_on: ErrorFilter
    give_up_on: ErrorTypes
    expected: ErrorTypes
    record: Literal["all", "last"]

    def __init__(
        self,
        max_attempts: int = 5,
        initial_interval: Duration = 1.0,
        multiplier: float = 2.0,
        max_interval: Duration = 60.0,
        *,
        jitter: float = 0.0,
        retry_on: ErrorFilter = Exception,
        give_up_on: ErrorTypes = (),
        expected: ErrorTypes = (),
        record: Literal["all", "last"] = "all",
    ) -> None:
        attempts: Any = max_attempts
        if not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 0:
            raise UsageError(f"max_attempts must be 0 (for ever) or a positive whole number, not {max_attempts!r}")
        if not math.isfinite(multiplier) or multiplier < 1:
            raise UsageError(f"multiplier must be at least 1, not {multiplier!r}")
        if not 0 <= jitter <= 1:
            raise UsageError(f"jitter must be between 0 and 1, not {jitter!r}")
        if not _are_errors(retry_on) and (not callable(retry_on) or _answers_later(retry_on)):
            raise UsageError(
                "retry_on takes exception classes, one or a tuple, or a plain function that is given the exception and "
                f"answers True or False, not {retry_on!r}"
            )
        if not _are_errors(give_up_on):
            raise UsageError(f"give_up_on takes exception classes, one or a tuple, not {give_up_on!r}")
        if not _are_errors(expected):
            raise UsageError(f"expected takes exception classes, one or a tuple, not {expected!r}")
        if record not in ("all", "last"):
            raise UsageError(
                f"record must be 'all' or 'last' (of the failed attempts, what the log keeps), not {record!r}"
            )
        assign = object.__setattr__
        assign(self, "max_attempts", max_attempts)
        assign(self, "initial_interval", seconds(initial_interval, "initial_interval"))
        assign(self, "multiplier", float(multiplier))
        assign(self, "max_interval", seconds(max_interval, "max_interval"))
        assign(self, "jitter", float(jitter))
        assign(self, "retry_on", retry_on)
        assign(self, "give_up_on", give_up_on)
        assign(self, "expected", expected)
        assign(self, "record", record)

    @classmethod
    def default(cls) -> Self:
        """Five attempts: 1, 2, 4 and 8 seconds apart."""
        return cls()

    @classmethod
    def none(cls) -> Self:
        """One attempt."""
        return cls(max_attempts=1)

    @classmethod
    def fixed(cls, max_attempts: int, interval: Duration) -> Self:
        """The same pause between all attempts."""
        return cls(max_attempts, interval, 1.0, interval)

    @classmethod
    def exponential(cls, max_attempts: int, initial_interval: Duration, max_interval: Duration) -> Self:
        """Each pause is twice the one before, up to `max_interval`."""
        return cls(max_attempts, initial_interval, 2.0, max_interval)

    def delay(self, attempt: int, chance: float = 0.0) -> float:
        """Seconds between attempt number `attempt` and the next. `chance` (0 to 1) scales the jitter."""
        try:
            pause = self.initial_interval * self.multiplier ** (attempt - 1)
        except OverflowError:
            pause = math.inf if self.initial_interval else 0.0
        return min(pause, self.max_interval) * (1.0 - self.jitter * chance)

    def decide(self, attempt: int, error: BaseException, chance: float = 0.0) -> Retry | GiveUp:
        """Decide what follows the failure of attempt number `attempt` (from 1) with `error`."""
        if isinstance(error, TerminalError) or _is_misuse(error) or self._excludes(error) or not self._covers(error):
            return GiveUp(exhausted=False)
        if self.max_attempts and attempt >= self.max_attempts:
            return GiveUp(exhausted=True)
        return Retry(max(self.delay(attempt, chance), float(min(_asked_for(error), self.max_interval))))

    def _excludes(self, error: BaseException) -> bool:
        return isinstance(error, self.give_up_on)

    def _covers(self, error: BaseException) -> bool:
        kinds_or_filter: Any = self.retry_on
        if isinstance(kinds_or_filter, (type, tuple)):
            return isinstance(error, kinds_or_filter)
        if not isinstance(error, Exception):
            return False
        answer = kinds_or_filter(error)
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()
            raise UsageError(
                f"retry_on= was given {kinds_or_filter!r}, whose answer has to be awaited; give a plain function"
            )
        return bool(answer)


_OF_THE_MOMENT: Final = (
    InstanceNotFoundError, InstanceConflictError, ChannelModeConflictError, WorkflowUnknownError,
)  # fmt: skip
"""Errors of use that depend on the state of other instances: it may be another one at the next attempt."""


def _asked_for(error: BaseException) -> float:
    """The seconds that an error asks to wait, as those of providers do. 0 if it says nothing that can be followed."""
    told: object = getattr(error, "retry_after", None)
    if isinstance(told, timedelta):
        told = told.total_seconds()
    if isinstance(told, bool) or not isinstance(told, (int, float)) or not told > 0:
        return 0.0
    return told  # may be infinite or too large for a float: the caller bounds it


def _is_misuse(error: BaseException) -> bool:
    """Whether Romancy was called in a way that no repetition mends."""
    return isinstance(error, UsageError) and not isinstance(error, _OF_THE_MOMENT)


def _answers_later(given: object) -> bool:
    """Whether it is an `async def` or a generator, or an object called as one. What it returns is always true."""
    kinds = inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction
    call = getattr(type(given), "__call__", None)  # noqa: B004 - the method is looked at
    return any(kind(one) for kind in kinds for one in (given, call))


def _are_errors(value: object) -> bool:
    kinds = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    return all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds)


answer_options(RetryPolicy, OF_POLICIES)

FRAMEWORK_DEFAULT: Final = RetryPolicy()


def policy(value: Any) -> RetryPolicy | None:
    """The given retry policy or None. Raises UsageError for anything else."""
    if value is not None and not isinstance(value, RetryPolicy):
        raise UsageError(f"retry= takes a RetryPolicy, not {type(value).__name__}")
    return value


def resolve(*policies: RetryPolicy | None) -> RetryPolicy:
    """The first policy that is given, from the most particular to the most general; else five attempts."""
    return next((policy for policy in policies if policy is not None), FRAMEWORK_DEFAULT)
