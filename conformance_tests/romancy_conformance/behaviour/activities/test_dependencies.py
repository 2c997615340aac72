"""What is provided for activities is provided for what undoes them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from romancy import (
    Depends,
    RetryPolicy,
    TerminalError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    compensation,
    workflow,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from romancy import Romancy

pytestmark = pytest.mark.anyio

undone: list[str] = []


async def till() -> AsyncIterator[list[str]]:
    yield undone


@compensation
async def dependencies_pay_back(amount: int, *, note: list[str] = Depends(till)) -> None:
    note.append(f"async {amount}")


@activity(compensation=dependencies_pay_back)
async def dependencies_pay(amount: int, *, note: list[str] = Depends(till)) -> int:
    return amount


@activity
def dependencies_book(amount: int) -> int:
    return amount


@dependencies_book.compensation
def dependencies_strike(result: int, amount: int, *, note: list[str] = Depends(till)) -> None:
    note.append(f"plain {result} {amount}")


@workflow
async def dependencies_saga(ctx: WorkflowContext) -> None:
    await dependencies_pay(1)
    await dependencies_book(2)
    raise TerminalError("no")


async def test_compensations_get_what_they_depend_on(open_app: Callable[..., Awaitable[Romancy]]) -> None:
    undone.clear()
    app = await open_app(retry=RetryPolicy.none())

    with pytest.raises(WorkflowFailedError) as told:
        await app.run(dependencies_saga)

    assert undone == ["plain 2 2", "async 1"]
    assert "not compensated" not in str(told.value)


@workflow
async def dependencies_in_steps(ctx: WorkflowContext) -> list[str]:
    async def awaits(*, note: list[str] = Depends(till)) -> None:
        note.append("async step")

    def plain(note: list[str] = Depends(till)) -> None:
        note.append("plain step")

    await ctx.step("awaits", awaits)
    await ctx.step("plain", plain)
    await ctx.step("bound", partial(note_of, "bound"))
    return await ctx.step("read", read)


def note_of(text: str, *, note: list[str] = Depends(till)) -> None:
    note.append(text)


async def read(*, note: list[str] = Depends(till)) -> list[str]:
    return list(note)


async def test_a_step_is_given_what_is_provided(app: Romancy) -> None:
    undone.clear()
    assert await app.run(dependencies_in_steps) == ["async step", "plain step", "bound"]


async def test_a_test_may_provide_something_else_for_a_step(app: Romancy) -> None:
    other: list[str] = []
    with app.override(till, lambda: other):
        assert await app.run(dependencies_in_steps) == ["async step", "plain step", "bound"]
    assert other == ["async step", "plain step", "bound"]
