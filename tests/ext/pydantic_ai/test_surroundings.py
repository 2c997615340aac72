"""What stands around an agent: MCP servers, instrumentation, operations of capabilities, and a quiet stderr."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from mcp.server import MCPServer
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic_ai import Agent, ModelRetry, RunContext, Tool
from pydantic_ai.capabilities import Instrumentation
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.models.test import TestModel

from romancy import Romancy, WorkflowCancelledError, WorkflowContext, activity, in_workflow, workflow
from romancy.core import ActivityScheduled
from romancy.ext.pydantic_ai import RomancyDurability
from romancy.testing import TestApp, crash_at_every_commit
from romancy_conformance.behaviour.coded import Masking

if TYPE_CHECKING:
    from pathlib import Path

    from romancy.handle import Handle

pytestmark = pytest.mark.anyio


async def steps_of(handle: Handle[Any]) -> Counter[str]:
    return Counter(one.name for one in await handle.history() if isinstance(one, ActivityScheduled))


server = MCPServer("calculator")


@server.tool()
async def add(a: int, b: int) -> int:
    """Add."""
    await asyncio.sleep(0.01)
    return a + b


async def adds(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    if len(messages) > 1:
        return ModelResponse(parts=[TextPart("added")])
    return ModelResponse(parts=[ToolCallPart("add", {"a": 1, "b": number}) for number in range(3)])


@workflow
async def uses_mcp(ctx: WorkflowContext) -> list[str]:
    from pydantic_ai.mcp import MCPToolset  # noqa: PLC0415 - it takes a second

    toolset = MCPToolset[object](server, id="calculator")
    agent = Agent(FunctionModel(adds), name="adder", capabilities=[RomancyDurability()], toolsets=[toolset])
    both = await asyncio.gather(agent.run("go"), agent.run("go"))
    return [one.output for one in both]


async def test_calls_of_an_mcp_server_are_steps_side_by_side() -> None:
    async with TestApp([uses_mcp], sticky=0) as app:
        handle = await app.start(uses_mcp)
        assert await handle.result() == ["added", "added"]
        steps = await steps_of(handle)
    assert steps["adder__mcp_server__calculator.call_tool"] == 6
    assert steps["adder__mcp_server__calculator.get_tools"] >= 2


spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))


def look(city: str) -> str:
    """Look."""
    return city


watched = Agent(
    TestModel(),
    name="watched",
    capabilities=[RomancyDurability(), Instrumentation(InstrumentationSettings(tracer_provider=provider))],
    tools=[look],
)


@workflow
async def is_watched(ctx: WorkflowContext) -> str:
    return (await watched.run("go")).output


async def test_spans_of_replayed_work_are_not_told_again() -> None:
    spans.clear()
    async with TestApp([is_watched], sticky=0, check_replay=False) as app:
        await app.run(is_watched)
    names = Counter(one.name for one in spans.get_finished_spans())
    assert names["chat test"] == 2
    assert names["execute_tool look"] == 1


asked: list[bool] = []


async def is_allowed(ctx: RunContext[object], city: str) -> None:
    asked.append(in_workflow())
    if city == "a":
        raise ModelRetry("another city")


async def corrects(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    turn = sum(isinstance(one, ModelResponse) for one in messages)
    if turn == 2:
        return ModelResponse(parts=[TextPart("looked")])
    return ModelResponse(parts=[ToolCallPart("look", {"city": "ab"[turn]})])


validated = Agent(
    FunctionModel(corrects),
    name="validated",
    capabilities=[RomancyDurability()],
    tools=[Tool(look, args_validator=is_allowed)],
)


@workflow
async def is_validated(ctx: WorkflowContext) -> str:
    return (await validated.run("go")).output


async def test_a_validator_is_a_step_and_its_answer_reaches_the_model() -> None:
    asked.clear()
    async with TestApp([is_validated]) as app:
        handle = await app.start(is_validated)
        assert await handle.result() == "looked"
        steps = await steps_of(handle)
    assert asked == [False, False]
    assert steps["validated__function_toolset__<agent>.validate_args"] == 2
    assert steps["validated__function_toolset__<agent>.call_tool:look"] == 1


@dataclass
class Client:
    """A thing that is no JSON and belongs to a body."""

    calls: int = 0


async def counts(ctx: RunContext[Client]) -> int:
    """Count."""
    ctx.deps.calls += 1
    return ctx.deps.calls


dependent = Agent(
    TestModel(), name="dependent", deps_type=Client, capabilities=[RomancyDurability[Client]()], tools=[counts]
)


@workflow
async def depends(ctx: WorkflowContext) -> str:
    return (await dependent.run("go", deps=Client())).output


async def test_dependencies_are_made_by_the_body_and_nothing_is_said_on_stderr(
    capfd: pytest.CaptureFixture[str],
) -> None:
    crashes = await crash_at_every_commit(depends)
    assert {one.result for one in crashes} == {'{"counts":1}'}
    said = capfd.readouterr()
    assert [line for line in said.err.splitlines() if "Exception ignored" in line or "was never" in line] == []
    assert "different Context" not in said.err + said.out


# ── cancelled, sealed and continued ─────────────────────────────────────────────────────────────────────────────────


held: Counter[str] = Counter()
thinks = asyncio.Event()


@activity
async def hold(seat: str) -> str:
    """Hold a seat."""
    held[seat] += 1
    return f"held {seat}"


@hold.compensation
async def free(seat: str) -> None:
    held[seat] -= 1


async def holds_then_waits(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    if len(messages) == 1:
        return ModelResponse(parts=[ToolCallPart("hold", {"seat": seat}) for seat in ("1a", "1b")])
    thinks.set()
    await asyncio.sleep(600)
    return ModelResponse(parts=[TextPart("never")])


HOLDER = Agent(FunctionModel(holds_then_waits), name="holder", capabilities=[RomancyDurability()], tools=[hold])


@workflow
async def sur_holds(ctx: WorkflowContext) -> str:
    return (await HOLDER.run("two seats")).output


async def test_what_an_agent_has_booked_is_undone_when_it_is_cancelled() -> None:
    thinks.clear()
    async with Romancy("memory://", workflows=[sur_holds]) as app:
        handle = await app.start(sur_holds)
        await asyncio.wait_for(thinks.wait(), 30)
        assert {"1a": 1, "1b": 1} == dict(held)
        await handle.cancel()
        with pytest.raises(WorkflowCancelledError):
            await handle.result(timeout=30)
    assert {"1a": 0, "1b": 0} == dict(held)


def counts_turns(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    return ModelResponse(parts=[TextPart(f"{len(messages)} messages")])


TALKER = Agent(FunctionModel(counts_turns), name="talker", capabilities=[RomancyDurability()])


@workflow
async def sur_talks(ctx: WorkflowContext, left: int) -> str:
    said = (await TALKER.run(f"turn {left}")).output
    return sur_talks.recur(left - 1) if left else said


def all_of(folder: Path) -> bytes:
    return b"".join(one.read_bytes() for one in folder.iterdir())


async def test_an_agent_in_runs_that_recur_is_sealed_by_codecs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sealed.db'}"
    async with Romancy(url, workflows=[sur_talks], codecs=[Masking()], sticky=0) as app:
        assert "1 messages" == await app.run(sur_talks, 3)
        written = all_of(tmp_path)
    assert b"sur_talks" in written
    assert not [text for text in (b"1 messages", b"turn 3", b"model.request") if text in written]
