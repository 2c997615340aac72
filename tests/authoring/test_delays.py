"""A start refuses a delay that is impossible, and says what is wrong with it."""

from __future__ import annotations

from datetime import timedelta
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
