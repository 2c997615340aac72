"""The documented examples run as documented: in virtual time, after a crash at every commit, and in a real app."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from examples import concurrent_fetch, loan_approval, order_saga, research_agent, user_registration
from romancy import RetryPolicy, TerminalError, WorkflowContext, activity, workflow
from romancy.core import ActivityAttemptFailed, ActivityScheduled
from romancy.errors import RetryExhaustedError
from romancy_conformance.workflows import Scenario
from tests.core.driver import SECOND, World

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

MAINS: dict[str, tuple[Callable[[str], Coroutine[Any, Any, Any]], Any]] = {
    "user registration": (
        user_registration.main,
        user_registration.UserResult("user_123", "ACC-user_123", "completed"),
    ),
    "order saga": (order_saga.main, "failed: 250 is more than the card allows"),
    "research agent": (
        research_agent.main,
        research_agent.Report("durable execution", "[Synthesize: [Analyze: [Research: durable execution]]]"),
    ),
    "loan approval": (
        loan_approval.main,
        [
            loan_approval.Decision("A-7", approved=True, reason="good credit"),
            loan_approval.Decision("B-3", approved=False, reason="credit too low"),
        ],
    ),
    "concurrent fetch": (
        concurrent_fetch.main,
        {"a.example": 9, "bb.example": 10, "ccc.example": 11, "total": 30},
    ),
}


@pytest.mark.parametrize("name", MAINS)
def test_in_a_real_app(name: str) -> None:
    main, expected = MAINS[name]
    answer = asyncio.run(main("memory://"))
    if isinstance(expected, str):
        assert expected.removeprefix("failed: ") in answer
    else:
        assert answer == expected


def ids(world: World) -> list[str]:
    return [event.id for event in world.log() if isinstance(event, ActivityScheduled)]


def test_registration_survives_a_crash_at_any_point(capsys: pytest.CaptureFixture[str]) -> None:
    user = user_registration.UserInput("user_123", "user@example.com", "John Doe")
    whole = World(Scenario(user_registration.user_registration, (user,)))
    assert whole.result() == {"user_id": "user_123", "account_id": "ACC-user_123", "status": "completed"}
    assert capsys.readouterr().out.splitlines() == [
        "Creating user user_123 in database",
        "Sending welcome email to user@example.com",
        "Creating profile for ACC-user_123",
    ]
    resumed = whole.cut(2)
    assert resumed.result() == whole.result()
    assert capsys.readouterr().out.splitlines() == [
        "Sending welcome email to user@example.com",
        "Creating profile for ACC-user_123",
    ]


def test_the_saga_takes_back_the_latest_first(capsys: pytest.CaptureFixture[str]) -> None:
    World(Scenario(order_saga.order_workflow, ("item1", "item2", 250))).finish()
    assert capsys.readouterr().out.splitlines() == [
        "Reserved item1",
        "Reserved item2",
        "Cancelled reservation for item2",
        "Cancelled reservation for item1",
    ]


def test_both_branches_of_the_loan_have_automatic_ids() -> None:
    for applicant, branch in (("A-7", "approve:1"), ("B-3", "reject:1")):
        world = World(Scenario(loan_approval.loan_approval, (applicant,)))
        world.finish()
        assert ids(world) == ["check_credit:1", branch]
        assert world.cut(1).result() == world.result()


def test_ids_under_concurrency() -> None:
    world = World(Scenario(concurrent_fetch.concurrent_workflow, (["a", "b", "c"],)))
    world.finish()
    assert ids(world) == ["fetch_data:1", "fetch_data:2", "fetch_data:3", "fetch_data:total"]


def test_automatic_ids_count_per_name() -> None:
    @activity
    async def validate(n: int) -> int:
        return n

    @activity
    async def process(n: int) -> int:
        return n

    @workflow
    async def counting(ctx: WorkflowContext) -> None:
        await validate(1)
        await validate(2)
        await process(3)

    world = World(Scenario(counting))
    world.finish()
    assert ids(world) == ["validate:1", "validate:2", "process:1"]


# ── retries ─────────────────────────────────────────────────────────────────────────────────────────────────────


@activity
async def call_payment_api(amount: float) -> None:
    raise ConnectionError("no answer")


@activity(retry=RetryPolicy(10, 0.5, 1.5, 30.0))
async def critical_payment(amount: float) -> None:
    raise ConnectionError("no answer")


@activity
async def validate_order(order_id: str) -> None:
    raise TerminalError(f"order {order_id} not found")


async def attempt(call: Any, *args: Any) -> str:
    try:
        await call(*args)
    except RetryExhaustedError as error:
        return f"exhausted after {error.attempts}"
    except TerminalError as error:
        return f"terminal: {error}"
    return "worked"


@workflow
async def tries(ctx: WorkflowContext, which: str) -> str:
    calls = {"default": call_payment_api, "own": critical_payment}
    if which == "terminal":
        return await attempt(validate_order, "42")
    if which == "call":
        return await attempt(call_payment_api.options(retry=RetryPolicy.fixed(2, 7)), 1.0)
    return await attempt(calls[which], 1.0)


def pauses(which: str, app: RetryPolicy | None = None) -> tuple[str, list[float]]:
    world = World(Scenario(tries, (which,), retry=app))
    result = world.result()
    failed = [event for event in world.log() if isinstance(event, ActivityAttemptFailed)]
    return result, [(event.next_at - event.at) / SECOND for event in failed]


def test_the_default_schedule() -> None:
    assert pauses("default") == ("exhausted after 5", [1.0, 2.0, 4.0, 8.0])


def test_the_policy_of_the_activity_goes_before_that_of_the_app_and_that_before_the_default() -> None:
    app = RetryPolicy.fixed(3, 5.0)
    assert pauses("default", app) == ("exhausted after 3", [5.0, 5.0])
    result, delays = pauses("own", app)
    assert result == "exhausted after 10"
    assert delays == pytest.approx([0.5 * 1.5**n for n in range(9)], abs=1e-6)


def test_the_policy_of_the_call_goes_before_all() -> None:
    assert pauses("call", RetryPolicy.fixed(3, 5.0)) == ("exhausted after 2", [7.0])


def test_a_terminal_error_is_not_tried_again() -> None:
    assert pauses("terminal") == ("terminal: order 42 not found", [])
