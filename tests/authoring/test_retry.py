"""Retry policies: the documented table, to the digit."""

from __future__ import annotations

import functools
import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from romancy.errors import TerminalError, UsageError
from romancy.retry import FRAMEWORK_DEFAULT, GiveUp, Retry, RetryPolicy, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator


async def answers_later(error: Exception) -> bool:
    return isinstance(error, OSError)


class AnswersLater:
    async def __call__(self, _: Exception) -> bool:
        return False

    async def judge(self, _: Exception) -> bool:
        return False


def answers_in_parts(_: Exception) -> Iterator[bool]:
    yield False


def delays(policy: RetryPolicy, attempts: int) -> list[float | None]:
    decisions = [policy.decide(attempt, ValueError("x")) for attempt in range(1, attempts + 1)]
    return [decision.delay if isinstance(decision, Retry) else None for decision in decisions]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (RetryPolicy(), [1.0, 2.0, 4.0, 8.0, None]),
        (RetryPolicy.default(), [1.0, 2.0, 4.0, 8.0, None]),
        (RetryPolicy.none(), [None]),
        (RetryPolicy.fixed(5, 2.0), [2.0, 2.0, 2.0, 2.0, None]),
        (
            RetryPolicy.exponential(10, 0.1, 30.0),
            [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, None],
        ),
        (RetryPolicy(10, 0.5, 1.5, 30.0), [0.5 * 1.5**n for n in range(9)] + [None]),
        (RetryPolicy(0, 1.0, 2.0, 60.0), [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]),
        (RetryPolicy(3, timedelta(minutes=1), max_interval=timedelta(hours=1)), [60.0, 120.0, None]),
    ],
)
def test_schedule(policy: RetryPolicy, expected: list[float | None]) -> None:
    assert delays(policy, len(expected)) == pytest.approx(expected)


def test_a_terminal_error_is_never_tried_again() -> None:
    class RefusedError(TerminalError):
        pass

    for error in (TerminalError("no"), RefusedError("no")):
        assert RetryPolicy(0, retry_on=Exception).decide(1, error) == GiveUp(exhausted=False)


def test_filters_say_which_errors_are_tried_again() -> None:
    policy = RetryPolicy(retry_on=(OSError, ValueError), give_up_on=FileNotFoundError)
    assert policy.decide(1, ConnectionError()) == Retry(1.0)
    assert policy.decide(1, FileNotFoundError()) == GiveUp(exhausted=False)
    assert policy.decide(1, KeyError()) == GiveUp(exhausted=False)
    assert RetryPolicy(retry_on=lambda error: "busy" in str(error)).decide(1, ValueError("busy")) == Retry(1.0)


def test_what_is_no_exception_is_tried_again_only_where_that_is_said() -> None:
    severe = BaseExceptionGroup("severe", [GeneratorExit()])
    assert RetryPolicy().decide(1, severe) == GiveUp(exhausted=False)
    assert RetryPolicy(retry_on=lambda _: True).decide(1, severe) == GiveUp(exhausted=False)
    assert RetryPolicy(retry_on=(OSError, BaseExceptionGroup)).decide(1, severe) == Retry(1.0)


def test_resolution_goes_from_the_particular_to_the_general() -> None:
    activity, app = RetryPolicy.fixed(2, 1), RetryPolicy.fixed(3, 1)
    assert resolve(activity, app) is activity
    assert resolve(None, app) is app
    assert resolve(None, None) is FRAMEWORK_DEFAULT
    assert FRAMEWORK_DEFAULT == RetryPolicy(5, 1.0, 2.0, 60.0)


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_a_delay_is_never_longer_than_the_cap_nor_negative(attempt: int, jitter: float, chance: float) -> None:
    policy = RetryPolicy(0, 1.0, 2.0, 60.0, jitter=jitter)
    assert 0 <= policy.delay(attempt, chance) <= 60.0


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_attempts": -1},
        {"max_attempts": True},
        {"initial_interval": -1},
        {"initial_interval": float("nan")},
        {"max_interval": float("inf")},
        {"initial_interval": "5"},
        {"multiplier": 0.5},
        {"multiplier": float("nan")},
        {"jitter": 1.5},
        {"max_attempts": 2.5},
        {"max_attempts": "5"},
        {"retry_on": "ValueError"},
        {"retry_on": (ValueError, "OSError")},
        {"retry_on": answers_later},
        {"retry_on": functools.partial(answers_later)},
        {"retry_on": AnswersLater()},
        {"retry_on": AnswersLater().judge},
        {"retry_on": answers_in_parts},
        {"give_up_on": [ValueError]},
        {"give_up_on": str},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(arguments))):
        RetryPolicy(**arguments)


def test_an_answer_that_has_to_be_awaited_is_an_error() -> None:
    """The function does not show that it calls an `async def`."""

    def hides_it(error: Exception) -> Any:
        return answers_later(error)

    policy = RetryPolicy(retry_on=hides_it)

    with pytest.raises(UsageError, match="has to be awaited"):
        policy.decide(1, ValueError())


class _BusyError(Exception):
    def __init__(self, retry_after: object) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


@pytest.mark.parametrize(
    ("told", "delay"),
    [
        (7, 7.0), (7.5, 7.5), (timedelta(seconds=7), 7.0), (0.1, 1.0), (3600, 60.0), (math.inf, 60.0), (10**400, 60.0),
        (None, 1.0), (-7, 1.0), (math.nan, 1.0), ("7", 1.0), (True, 1.0),
    ],
)  # fmt: skip
def test_an_error_says_how_long_to_wait_at_least(told: object, delay: float) -> None:
    policy = RetryPolicy(initial_interval=1.0, max_interval=60.0)
    assert Retry(delay) == policy.decide(1, _BusyError(told))


def test_what_an_error_asks_for_is_not_shortened_by_jitter_and_adds_no_attempt() -> None:
    policy = RetryPolicy(2, initial_interval=10.0, jitter=1.0)
    assert Retry(8.0) == policy.decide(1, _BusyError(8), chance=1.0)
    assert GiveUp(exhausted=True) == policy.decide(2, _BusyError(8))
