"""Faults of activities: attempts that fail, time out, or do their work and lose the answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from romancy import (
    ActivityTimeoutError,
    RetryPolicy,
    TerminalError,
    UsageError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.testing import TestApp

pytestmark = pytest.mark.anyio


@activity(retry=RetryPolicy.exponential(4, timedelta(minutes=1), timedelta(hours=1)))
async def ship(parcel: str) -> str:
    shipped.append(parcel)
    return f"tracking {parcel}"


shipped: list[str] = []


@workflow
async def delivery(ctx: WorkflowContext, parcel: str) -> str:
    return await ship(parcel)


@pytest.fixture(autouse=True)
def no_parcels() -> None:
    shipped.clear()


async def test_the_next_attempts_fail_and_a_later_one_succeeds() -> None:
    async with TestApp([delivery]) as app:
        app.fail(ship, times=3)
        assert await app.run(delivery, "a") == "tracking a"
        assert [call.outcome for call in app.calls] == ["failed", "failed", "failed", "completed"]
        assert shipped == ["a"]
        assert app.calls[-1].at - app.calls[0].at >= timedelta(minutes=3)


async def test_too_many_failures_fail_the_workflow() -> None:
    async with TestApp([delivery]) as app:
        app.fail(ship, ConnectionError("no road"), times=4)
        with pytest.raises(WorkflowFailedError, match="no road"):
            await app.run(delivery, "a")
        assert shipped == []
        assert await app.run(delivery, "b") == "tracking b"


async def test_faults_follow_each_other_in_the_order_in_which_they_were_asked_for() -> None:
    async with TestApp([delivery]) as app:
        app.time_out(ship)
        app.fail(ship, TerminalError("closed"))
        with pytest.raises(WorkflowFailedError, match="closed"):
            await app.run(delivery, "a")
        assert [type(call.error) for call in app.calls] == [ActivityTimeoutError, TerminalError]


async def test_a_lost_answer_repeats_what_was_done() -> None:
    async with TestApp([delivery]) as app:
        app.lose_answer(ship)
        assert await app.run(delivery, "a") == "tracking a"
        assert shipped == ["a", "a"]
        assert {call.activity_id for call in app.calls} == {app.calls[0].activity_id}


@pytest.mark.parametrize("times", [0, -1, 1.5, True])
async def test_a_number_of_times_that_is_none_is_refused(times: Any) -> None:
    async with TestApp([delivery]) as app:
        with pytest.raises(UsageError, match="times"):
            app.fail(ship, times=times)
