"""The cast of the behaviour suite: what `calling` makes of an activity is a workflow like one that is written out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, TerminalError, WorkflowContext, WorkflowFailedError, activity, workflow
from romancy.errors import SerializationError, UsageError
from romancy.status import Status
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.replaying.__main__ import found
from romancy_conformance.replaying.jobs import Job, source_of

if TYPE_CHECKING:
    from romancy import Workflow


@activity
async def weigh(box: str, *, pounds: float = 2.0) -> dict[str, float]:
    if box == "broken":
        raise TerminalError("no scales")
    return {box: pounds}


calls_weigh = calling(weigh)
calls_calls_weigh = calling(calls_weigh)


@workflow
async def weighs(ctx: WorkflowContext, box: str, *, pounds: float = 2.0) -> dict[str, float]:
    return await weigh(box, pounds=pounds)


@pytest.mark.anyio
@pytest.mark.parametrize("called", [calls_weigh, calls_calls_weigh, weighs], ids=lambda each: each.name)
async def test_it_returns_and_fails_as_what_it_calls(called: Workflow[..., Any]) -> None:
    async with Romancy("memory://", workflows={calls_weigh, called}) as app:
        assert {"a": 2.0} == await app.run(called, "a")
        assert {"b": 3.0} == await app.run(called, "b", pounds=3.0)
        with pytest.raises(WorkflowFailedError, match="no scales"):
            await app.run(called, "broken")


@pytest.mark.parametrize("called", [calls_weigh, calls_calls_weigh], ids=lambda each: each.name)
def test_its_input_and_result_are_declared_as_those_of_what_it_calls(called: Workflow[..., Any]) -> None:
    assert weighs.bind("a", pounds=3.0).encode() == called.bind("a", pounds=3.0).encode()
    assert weighs.signature.declared() == called.signature.declared()
    with pytest.raises(UsageError, match="box"):
        called.bind().encode()
    with pytest.raises(SerializationError, match="pounds"):
        called.bind("a", pounds="much").encode()


@pytest.mark.parametrize("called", [calls_weigh, calls_calls_weigh], ids=lambda each: each.name)
def test_it_is_found_by_its_name_beside_what_it_calls(called: Workflow[..., Any]) -> None:
    where = called.fn.__module__, called.fn.__qualname__

    assert called is found(Job(*where, called.name, source_of(called), "i", Status.COMPLETED, []))
