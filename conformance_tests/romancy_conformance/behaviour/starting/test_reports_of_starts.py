"""A report before the first step is there when `start` returns, where one commit holds the start and that step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import WorkflowContext, activity, workflow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy import Romancy

pytestmark = pytest.mark.anyio


class Scene:
    """What the tests and their activity share."""

    go_on: asyncio.Event


@pytest.fixture(autouse=True)
async def go_on(app: Romancy) -> AsyncIterator[None]:
    """Let activities end after the test, so that the app closes at once."""
    Scene.go_on = asyncio.Event()
    yield
    Scene.go_on.set()


@activity
async def first_step() -> str:
    await Scene.go_on.wait()
    return "done"


@workflow
async def reports_first(ctx: WorkflowContext, shape: str) -> str:
    await ctx.report({"about": shape})
    match shape:
        case "an activity":
            return await first_step()
        case "two activities":
            return " ".join(await asyncio.gather(first_step(), first_step()))
        case "a short sleep":
            await ctx.sleep(1)
        case "a long sleep":
            await ctx.sleep(3600)
        case _:
            pass
    return shape


SHAPES = ["an activity", "two activities", "a short sleep", "a long sleep", "the end"]


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_report_before_the_first_step_is_there_when_start_returns(app: Romancy, shape: str) -> None:
    handle = await app.start(reports_first, shape)

    assert {"about": shape} == await handle.report()


async def test_so_are_those_of_many_starts(app: Romancy) -> None:
    handles = await app.start_many([reports_first.bind(shape) for shape in SHAPES])

    assert [{"about": shape} for shape in SHAPES] == [await handle.report() for handle in handles]
