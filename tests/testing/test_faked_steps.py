"""Fakes and faults in the place of steps, which are given by their names."""

from __future__ import annotations

from typing import Any

import pytest

from romancy import RetryExhaustedError, RetryPolicy, UsageError, WorkflowContext, activity, workflow
from romancy.testing import TestApp

pytestmark = pytest.mark.anyio

asked: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    asked.clear()


@activity
async def store(text: str) -> None: ...


@workflow
async def asks(ctx: WorkflowContext) -> str:
    async def ask() -> str:
        asked.append("model")
        return "a real answer"

    try:
        answer = await ctx.step("ask", ask, retry=RetryPolicy.fixed(3, 60.0))
    except RetryExhaustedError as error:
        return str(error)
    await store(answer)
    return answer


async def answers() -> str:
    return "an async fake"


def needs(text: str) -> str:
    return text


@pytest.mark.parametrize(
    ("fake", "result"), [("a fake", "a fake"), (lambda: "a function", "a function"), (answers, "an async fake")]
)
async def test_a_fake_is_called_in_the_place_of_a_step(fake: Any, result: str) -> None:
    async with TestApp([asks]) as app:
        app.mock("ask", fake)
        assert await app.run(asks) == result
        assert asked == []
        call = app.calls.of("ask")[0]
        assert (call.args, call.result, call.mocked, call.outcome) == ((), result, True, "completed")
        app.unmock("ask")
        assert await app.run(asks) == "a real answer"
        with app.mocked("ask", fake):
            assert await app.run(asks) == result


async def test_a_fake_raises_or_returns_what_the_step_could_not() -> None:
    async with TestApp([asks]) as app:
        app.mock("ask", OSError("no model"))
        assert "after 3 attempt(s): OSError: no model" in await app.run(asks)
        app.mock("ask", 3)
        assert "result of step 'ask'" in await app.run(asks)


async def test_faults_of_a_step_are_tried_again() -> None:
    async with TestApp([asks]) as app:
        app.fail("ask")
        app.time_out("ask")
        assert await app.run(asks) == "a real answer"
        assert [call.outcome for call in app.calls.of("ask")] == ["failed", "failed", "completed"]
        app.lose_answer("ask")
        assert await app.run(asks) == "a real answer"
        assert asked == ["model"] * 3


async def test_a_fake_with_parameters_and_the_name_of_an_activity_are_refused() -> None:
    async with TestApp([asks]) as app:
        with pytest.raises(UsageError, match=r"the fake of step 'ask' is called without arguments: .*'text'"):
            app.mock("ask", needs)
        with pytest.raises(UsageError, match="a fake needs the activity itself, not its name 'store'"):
            app.mock("store", None)
        with pytest.raises(UsageError, match="a fake needs the activity itself, not its name 'store'"):
            app.fail("store")
