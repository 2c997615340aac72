"""The documented examples run as documented: in virtual time, after a crash at every commit, and in a real app."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from examples import concurrent_fetch, loan_approval, order_saga, research_agent, user_registration
from romancy_conformance.workflows import Scenario
from tests.core.driver import World

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
def test_each_example_gives_its_documented_result_in_a_real_app(name: str) -> None:
    main, expected = MAINS[name]
    answer = asyncio.run(main("memory://"))
    if isinstance(expected, str):
        assert expected.removeprefix("failed: ") in answer
    else:
        assert answer == expected


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
        assert world.scheduled() == ["check_credit:1", branch]
        assert world.cut(1).result() == world.result()


def test_concurrent_calls_have_ids_in_the_order_of_their_calls() -> None:
    world = World(Scenario(concurrent_fetch.concurrent_workflow, (["a", "b", "c"],)))
    world.finish()
    assert world.scheduled() == ["fetch_data:1", "fetch_data:2", "fetch_data:3", "fetch_data:total"]
