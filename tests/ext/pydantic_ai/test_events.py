"""Live events of agents: what readers get, what handlers get, and that none of it is a step."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from pydantic_ai import Agent, RunContext, models
from pydantic_ai.exceptions import ModelConnectionError
from pydantic_ai.messages import (
    AgentStreamEvent,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    ModelMessage,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from romancy import UsageError, WorkflowContext, in_workflow, kept, workflow
from romancy.core import ActivityScheduled
from romancy.ext.pydantic_ai import AGENT_EVENTS, RomancyDurability
from romancy.testing import TestApp, crash_at_every_commit

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator

pytestmark = pytest.mark.anyio
models.ALLOW_MODEL_REQUESTS = False

handled: list[tuple[str, bool]] = []
failures: list[Exception] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Begin with nothing handled."""
    handled.clear()
    failures.clear()


async def look(city: str) -> str:
    """Look."""
    return f"{city} is there"


async def streams(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
    if not any(isinstance(one, ModelResponse) for one in messages):
        yield {0: DeltaToolCall("look", '{"city": "Rome"}')}
        return
    for word in ("all ", "is "):
        yield word
    await asyncio.sleep(0.1)  # what was said is on its way
    if failures:
        raise failures.pop()
    yield "well"


async def handle(ctx: RunContext[object], events: AsyncIterable[AgentStreamEvent]) -> None:
    handled.extend([(type(event).__name__, in_workflow()) async for event in events])


durability = RomancyDurability(stream=AGENT_EVENTS, event_stream_handler=handle)
told = Agent(FunctionModel(stream_function=streams), name="told", capabilities=[durability], tools=[look])
silent = RomancyDurability()


@workflow
async def ev_tells(ctx: WorkflowContext) -> str:
    return (await told.run("go")).output


def text_of(events: list[Any]) -> str:
    said = ""
    for event in events:
        if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
            said += event.part.content
        if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
            said += event.delta.content_delta
    return said


async def test_readers_get_typed_events_of_the_model_and_of_the_run() -> None:
    async with TestApp([ev_tells]) as app:
        handle = await app.start(ev_tells)
        assert await handle.result() == "all is well"
        live = [one async for one in durability.events(handle)]
        steps = Counter(one.name for one in await handle.history() if isinstance(one, ActivityScheduled))
    events = [one.event for one in live if one.event is not None]
    assert text_of(events) == "all is well"
    assert {one.agent for one in live if one.event is not None} == {"told"}
    by_body = [type(one.event) for one in live if one.event is not None and not one.source]
    assert [one for one in by_body if one in (FunctionToolCallEvent, FunctionToolResultEvent)] == [
        FunctionToolCallEvent,
        FunctionToolResultEvent,
    ]
    assert live[-1].kind == "end"
    assert steps == {"told__model.request_stream": 2, "told__function_toolset__<agent>.call_tool:look": 1}
    inside = {name for name, in_body in handled if in_body}
    assert {"FunctionToolCallEvent", "FunctionToolResultEvent"} <= inside
    assert {name for name, in_body in handled if not in_body} >= {"PartStartEvent", "PartDeltaEvent"}


async def test_what_a_failed_attempt_has_told_is_discarded() -> None:
    failures.append(ModelConnectionError("m", "reset", phase="read"))
    async with TestApp([ev_tells]) as app:
        handle = await app.start(ev_tells)
        assert await handle.result() == "all is well"
        items = [one async for one in handle.stream(AGENT_EVENTS)]
        live = [one async for one in durability.events(handle)]
    assert [one.kind for one in live].count("discard") == 1
    words = [each.event for each in kept(items)]
    assert sum(one["event_kind"] == "part_start" for one in words) == 2


async def test_events_survive_a_crash_at_every_commit() -> None:
    crashes = await crash_at_every_commit(ev_tells)
    assert {one.result for one in crashes} == {"all is well"}


async def test_an_agent_without_a_stream_has_no_events() -> None:
    async with TestApp([ev_tells]) as app:
        with pytest.raises(UsageError, match="stream=AGENT_EVENTS"):
            silent.events(await app.start(ev_tells))


async def test_outside_of_a_workflow_a_handler_gets_all_events() -> None:
    assert (await told.run("go")).output == "all is well"
    assert {"PartStartEvent", "FunctionToolCallEvent"} <= {name for name, _ in handled}
