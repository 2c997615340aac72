"""What a place under a limit with room costs a workflow of one step.

On SQLite and PostgreSQL it is a row with the start, and no commit of its own. On MySQL and MariaDB a dispatch gives it.

The least of some rounds counts, since a claim or a look for news may fall into any of them.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

import pytest

from romancy import Limit, Romancy, WorkflowContext, activity, workflow
from romancy_conformance.behaviour.costs.counting import is_bracket

if TYPE_CHECKING:
    from romancy import Workflow
    from romancy_conformance.behaviour.costs.counting import Statements

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")]

ROUNDS: Final = 5
MANY: Final = 60
FEW: Final = 15
NOT_WORK: Final = re.compile(r"romancy_workers|romancy_schema|data_version")
LONE: Final = {"sqlite": (0, 6), "postgres": (2, 8), "mysql": (6, 65), "mariadb": (6, 65)}
"""Commits and statements that a lone workflow takes more with a limit than without one.

On SQLite they are: a look at the lane, a row, the row gone, a look at the lane; and the look of a dispatch, which finds
nothing. On PostgreSQL the end leaves a mark, and a dispatch removes it. On MySQL and MariaDB a dispatch gives the place
as well, and a worker then claims the instance.
"""
OF_MANY: Final = {
    "sqlite": (FEW, MANY + FEW),  # where a statement is no round trip, there is one for each row
    "postgres": (FEW, FEW),
    "mysql": (FEW, 3 * MANY),  # a dispatch gives many places, and one commit has what many instances do then
    "mariadb": (FEW, 3 * MANY),
}
"""The same for many that start together."""


@activity
async def answer(number: int) -> int:
    return number


@workflow
async def free(ctx: WorkflowContext, number: int) -> int:
    return await answer(number)


@workflow(limits=[Limit("wide", concurrency=1_000)])
async def limited(ctx: WorkflowContext, number: int) -> int:
    return await answer(number)


async def asked(statements: Statements, flow: Workflow[[int], int], count: int) -> tuple[int, int]:
    """The commits and the other statements of so many workflows that start together, up to the close of their app."""
    found: list[tuple[int, int]] = []
    for _ in range(ROUNDS):
        async with Romancy(statements.url, workflows=[free, limited]) as app:
            await app.run(flow, 0)
            statements.clear()
            handles = await app.start_many([flow.bind(one) for one in range(count)])
            await asyncio.gather(*(handle.result(60) for handle in handles))
        work = [one for one in statements.of_work() if not NOT_WORK.search(one)]
        commits = sum(one.lower().startswith("commit") for one in work)
        found.append((commits, sum(not is_bracket(one) for one in work)))
    return min(commits for commits, _ in found), min(others for _, others in found)


async def test_a_lone_workflow(statements: Statements, backend: str) -> None:
    (commits, others), (more_commits, more) = [await asked(statements, flow, 1) for flow in (free, limited)]

    most_commits, most = LONE[backend]
    assert more_commits - commits <= most_commits
    assert more - others <= most


async def test_many_at_once(statements: Statements, backend: str) -> None:
    (commits, others), (more_commits, more) = [await asked(statements, flow, MANY) for flow in (free, limited)]

    most_commits, most = OF_MANY[backend]
    assert more_commits - commits <= most_commits
    assert more - others <= most
