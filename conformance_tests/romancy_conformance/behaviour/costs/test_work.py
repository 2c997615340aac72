"""What work costs: a plain step is one statement that is a commit of its own, and nothing is asked between two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy import Romancy
from romancy_conformance.behaviour.cast import adds_up
from romancy_conformance.behaviour.costs.counting import SqliteStatements, is_bracket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy_conformance.behaviour.costs.counting import Statements

pytestmark = pytest.mark.anyio

STEPS = 200
BY_THE_CLOCK = 12
"""A run of any length may include a claim or two."""


@pytest.fixture
async def app(statements: Statements) -> AsyncIterator[Romancy]:
    """A worker that has sent its one-time statements."""
    async with Romancy(statements.url, workflows=[adds_up]) as app:
        await app.run(adds_up, 3)
        yield app


async def statements_of(statements: Statements, app: Romancy, steps: int) -> list[str]:
    """Return the statements of one job of so many steps, from the start to the result."""
    statements.clear()
    await app.run(adds_up, steps)
    return statements.of_work()


async def test_a_job_of_three_activities(statements: Statements, app: Romancy) -> None:
    # A periodic claim, or a connection made for it, may fall into one of them, but not into each.
    jobs = [await statements_of(statements, app, 3) for _ in range(3)]
    if isinstance(statements, SqliteStatements):  # there, beginning and ending a transaction is no round trip
        jobs = [[text for text in job if not is_bracket(text)] for job in jobs]
    asked = min(jobs, key=len)

    assert len(asked) <= 15, asked


async def test_a_step_is_one_statement_and_one_commit(statements: Statements, app: Romancy) -> None:
    short, long = [await statements_of(statements, app, steps) for steps in (3, 3 + STEPS)]

    assert abs(transactions(long) - transactions(short) - STEPS) <= BY_THE_CLOCK, long
    if not isinstance(statements, SqliteStatements):  # where a statement is no round trip, commits count
        assert abs(len(long) - len(short) - STEPS) <= BY_THE_CLOCK, long


@pytest.mark.parametrize(("count", "commits"), [(1, 1), (2, 1), (1000, 1), (2500, 3)])
async def test_starts_share_a_commit_up_to_a_thousand(statements: Statements, count: int, commits: int) -> None:
    async with Romancy(statements.url, workflows=[adds_up], worker=False) as app:
        await app.start(adds_up, 0)
        statements.clear()
        await app.start_many([adds_up.bind(0) for _ in range(count)])

        assert starting_transactions(statements.asked(), statements.of_starts()) == commits


def starting_transactions(asked: list[str], starts: list[str]) -> int:
    """Return the number of transactions with at least one of these statements."""
    count, begun, counted = 0, False, False
    for text in asked:
        word = text.lower().split(maxsplit=1)[0]
        if word in {"begin", "commit", "rollback"}:
            begun, counted = word == "begin", False
        elif text in starts:
            count += not counted
            counted = begun
    return count


def transactions(asked: list[str]) -> int:
    """Return the number of transactions, including those of a single statement."""
    count, inside = 0, False
    for text in asked:
        ends = text.lower().startswith(("commit", "rollback"))
        count += ends or not (inside or is_bracket(text))
        inside = not ends and (inside or is_bracket(text))
    return count
