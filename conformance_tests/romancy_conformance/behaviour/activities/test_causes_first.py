"""Lists, explanations and errors name what was raised first, not our own errors around it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import RetryPolicy, Romancy, WorkflowFailedError, activity
from romancy_conformance.behaviour.calling import calling

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

TWICE = RetryPolicy.fixed(2, 0)


@activity(retry=TWICE)
async def first_charge(amount: int) -> None:
    raise ConnectionError(f"bank down for {amount}")


@activity(retry=TWICE)
async def first_patience() -> None:
    async with asyncio.timeout(0):
        await asyncio.get_running_loop().create_future()


calls_first_charge = calling(first_charge)
calls_calls_first_charge = calling(calls_first_charge)
calls_first_patience = calling(first_patience)


@pytest.fixture
async def app(open_app: Open) -> Romancy:
    return await open_app(workflows=[calls_first_charge, calls_calls_first_charge, calls_first_patience])


async def test_what_was_raised_comes_first_everywhere(app: Romancy) -> None:
    why = "ConnectionError: bank down for 7, after 2 attempts of first_charge:1"
    for called, line in (
        (calls_first_charge, why),
        (calls_calls_first_charge, f"{why}, in child workflow calls_first_charge:1"),
    ):
        handle = await app.start(called, 7)
        with pytest.raises(WorkflowFailedError) as failed:
            await handle.result(timeout=60)
        assert str(failed.value) == f"instance {handle.instance_id} failed with {line}"
        shown = await app.get_instance(handle.instance_id)
        assert shown is not None
        assert shown.error == line
        assert f"It has ended (failed): {line}." in await app.explain(handle.instance_id)
        listed = (await app.list_instances(workflow_name=called.name)).instances
        assert [one.error for one in listed if one.parent_id is None] == [line]


async def test_an_exception_without_a_message_has_a_text(app: Romancy) -> None:
    handle = await app.start(calls_first_patience)
    with pytest.raises(WorkflowFailedError, match=r"failed with TimeoutError \(no message\) raised in first_patience"):
        await handle.result(timeout=60)
    shown = await app.get_instance(handle.instance_id)
    assert shown is not None
    assert shown.error is not None
    assert shown.error.startswith("TimeoutError (no message) raised in first_patience (test_causes_first.py:")
    assert shown.error.endswith("after 2 attempts of first_patience:1")
