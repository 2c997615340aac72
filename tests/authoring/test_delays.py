"""A start refuses a delay or a moment that is impossible, and says what is wrong with it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from romancy import UsageError, WorkflowContext, workflow
from romancy_conformance.workflows import Scenario
from tests.core.driver import World

CENTURY = 100 * 366 * 86_400


@workflow(name="started later")
async def started_later(ctx: WorkflowContext) -> int:
    return 1


WRONG: list[tuple[Any, str]] = [
    (float("nan"), "a finite number of seconds"),
    (float("inf"), "a finite number of seconds"),
    (10**400, "a finite number of seconds"),
    (-1, "at least 0"),
    (-timedelta(seconds=1), "at least 0"),
    (True, "a number of seconds or a timedelta, not bool"),
    ("5", "a number of seconds or a timedelta, not str"),
    (1e18, "at most 3162240000 seconds (a century), not 1e+18"),
    (timedelta.max, "at most 3162240000 seconds (a century)"),
    (CENTURY + 1, "at most 3162240000 seconds (a century)"),
]


@pytest.mark.parametrize(("delay", "words"), WRONG, ids=[str(delay)[:20] for delay, _ in WRONG])
def test_an_impossible_delay_of_a_start_is_refused(delay: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        started_later.options(delay=delay)

    assert "the delay of the start must be" in str(caught.value)
    assert words in str(caught.value)


@workflow(name="starts a child at a time that never comes")
async def starts_a_child_too_late(ctx: WorkflowContext) -> None:
    await ctx.start(started_later.options(delay=1e18))


def test_an_impossible_delay_of_a_child_is_refused() -> None:
    outcome = World(Scenario(starts_a_child_too_late, children=(started_later,))).finish()

    assert outcome.error is not None
    assert "romancy.errors.UsageError" == outcome.error.type
    assert "(a century)" in outcome.error.message


def test_a_delay_of_a_century_is_accepted() -> None:
    assert CENTURY == started_later.options(delay=CENTURY).delay
    assert CENTURY == started_later.options(delay=timedelta(seconds=CENTURY)).delay


NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
NOT_MOMENTS: list[tuple[Any, str]] = [
    (datetime(2030, 1, 1), "it has no time zone; write datetime.now(UTC)"),  # noqa: DTZ001 - this is refused
    (date(2030, 1, 1), "must be a datetime with a time zone, not date"),
    (60, "must be a datetime with a time zone, not int"),
    ("2030-01-01T12:00:00Z", "must be a datetime with a time zone, not str"),
    (datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))), "outside of the years 1 to 9999"),
]


@pytest.mark.parametrize(("at", "words"), NOT_MOMENTS, ids=[words[-9:] for _, words in NOT_MOMENTS])
def test_what_is_no_moment_is_refused(at: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        started_later.options(at=at)

    assert "at= of the start of workflow started later: " in str(caught.value)
    assert words in str(caught.value)


def test_a_start_has_a_delay_or_a_moment() -> None:
    with pytest.raises(UsageError, match=r"workflow started later: give one of delay= and at=, not both"):
        started_later.options(delay=0, at=NOON)

    assert started_later.options(delay=60).options(at=NOON).given == started_later.options(at=NOON).given
    assert started_later.options(at=NOON).options(delay=60).given == started_later.options(delay=60).given


def test_a_moment_is_the_same_in_each_time_zone() -> None:
    far = NOON.astimezone(timezone(timedelta(hours=9)))

    assert started_later.options(at=NOON).given == started_later.options(at=far).given


@workflow(name="starts a child for a moment")
async def starts_a_child_for_a_moment(ctx: WorkflowContext) -> None:
    await ctx.start(started_later.options(at=datetime(2030, 1, 1)))  # noqa: DTZ001 - this is refused


def test_a_moment_of_a_child_without_a_time_zone_is_refused() -> None:
    outcome = World(Scenario(starts_a_child_for_a_moment, children=(started_later,))).finish()

    assert outcome.error is not None
    assert "it has no time zone" in outcome.error.message
