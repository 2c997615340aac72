"""The worker of a body that acts on another instance dies at each place, and what it has done is done once."""

from __future__ import annotations

from typing import Any

import pytest

from romancy import EventType, RequestFailedError, RequestType, WorkflowContext, activity, workflow
from romancy.testing import TestApp, crash_at_every_commit

pytestmark = pytest.mark.anyio

Put = EventType("errand_put", int)
Add = RequestType("errand_add", int, int)


@activity
async def errand_books(number: int) -> int:
    return number


@workflow
async def errand_account(ctx: WorkflowContext, needed: int) -> list[int]:
    """What it was given, until it was given enough."""
    given: list[int] = []

    async def put(number: int) -> None:
        given.append(number)

    async def add(number: int) -> int:
        await ctx.sleep(3600)
        given.append(await errand_books(number))
        if number == 13:
            raise LookupError("thirteen")
        return sum(given)

    async with ctx.handling(Put.by(put), Add.by(add)):
        await ctx.until(lambda: len(given) >= needed)
    return given


@workflow
async def errand_body(ctx: WorkflowContext) -> list[Any]:
    child = await ctx.start(errand_account, 4)
    other = ctx.instance(child.instance_id)
    await other.send(Put, 1)
    told: list[Any] = [await other.request(Add, 2)]
    try:
        await other.request(Add, 13)
    except RequestFailedError as error:
        told.append(repr(error.__cause__))
    told.append(await other.request(Add, 4))
    return [*told, await other.result(errand_account), await other.cancel(), await child.result()]


async def test_each_errand_is_run_once_wherever_the_worker_dies() -> None:
    crashes = await crash_at_every_commit(errand_body.bind(), workflows=[errand_body, errand_account])

    assert len(crashes) > 20
    assert {str(crash.result) for crash in crashes} == {
        str([3, "LookupError('thirteen')", 20, [1, 2, 13, 4], False, [1, 2, 13, 4]])
    }


async def test_the_time_of_a_test_moves_while_a_body_waits_for_another_one() -> None:
    async with TestApp([errand_body, errand_account]) as app:
        began = app.now
        assert (await app.run(errand_body))[0] == 3
        assert (app.now - began).total_seconds() >= 3 * 3600


async def test_the_time_of_a_test_stands_still_while_only_a_body_waits() -> None:
    async with TestApp([errand_body, errand_account]) as app:
        began = app.now
        await app.start(errand_body)
        await app.settle()
        await app.settle()
        assert app.now == began
