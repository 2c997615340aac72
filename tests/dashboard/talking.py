"""Agents whose conversations are shown: reasoning, tools, a failed attempt, an agent in an agent, a question."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic_ai import Agent, RunContext, Tool
from pydantic_ai.capabilities import RequestInput
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage

from romancy import RetryPolicy, WorkflowContext, activity, activity_context, workflow
from romancy.ext.pydantic_ai import Inbox, RomancyDurability, StepOptions

__all__ = ["MARKUP", "lone_model", "talks", "talks_long"]

MARKUP = "<script>alert(1)</script>"
USED = RequestUsage(input_tokens=1_000, output_tokens=20, cost=Decimal("0.0125"))


def turns(messages: list[ModelMessage]) -> int:
    return sum(isinstance(one, ModelResponse) for one in messages)


@activity
async def book(city: str) -> str:
    """Book a room."""
    return f"a room in {city}"


async def weather(city: str) -> str:
    """Tell the weather."""
    if activity_context().attempt == 1:
        raise ConnectionError("the weather hung up")
    return f"sun in {city} {MARKUP}"


async def knows(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    return ModelResponse(parts=[TextPart("Take an umbrella.")], usage=USED)


GUIDE = Agent(FunctionModel(knows), name="guide", capabilities=[RomancyDurability()])


async def ask_guide(ctx: RunContext[object], question: str) -> str:
    """Ask another agent."""
    return (await GUIDE.run(question)).output


def plans(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    parts: list[Any] = [TextPart(f"All is well. {MARKUP}")]
    if turns(messages) == 0:
        parts = [
            ThinkingPart("They want to travel, and rain would spoil it."),
            TextPart("Let me look."),
            ToolCallPart("weather", {"city": "Rome"}, tool_call_id="c1"),
            ToolCallPart("ask_guide", {"question": "What to take?"}, tool_call_id="c2"),
        ]
    elif turns(messages) == 1:
        parts = [ToolCallPart("book", {"city": "Rome"}, tool_call_id="c3")]
    return ModelResponse(parts=parts, usage=USED)


TRAVELLER = Agent(
    FunctionModel(plans),
    name="traveller",
    capabilities=[
        RomancyDurability(tools=StepOptions(retry=RetryPolicy.fixed(3, 0.01))),
        RequestInput(ask=Inbox(to="finance")),
    ],
    tools=[weather, Tool(ask_guide, metadata={"romancy": "workflow"}), Tool(book, requires_approval=True)],
    system_prompt="Be brief.",
)


@workflow
async def talks(ctx: WorkflowContext, wish: str) -> str:
    return (await TRAVELLER.run(wish)).output


@workflow
async def talks_long(ctx: WorkflowContext) -> None:
    call: dict[str, Any] = {"part_kind": "tool-call", "tool_name": "look", "args": {}, "tool_call_id": "1"}

    async def answers() -> Any:
        return {"parts": [call]}

    async def looks() -> str:
        return "seen"

    for _ in range(500):
        await ctx.step("model", answers, model=Any, about={"agent": "long", "model": "m"})
        await ctx.step("look", looks, about={"agent": "long", "tool": "look", "call": "1"})


@workflow
async def lone_model(ctx: WorkflowContext, result: Any, about: Any) -> None:
    async def answers() -> Any:
        return result

    await ctx.step("model", answers, model=Any, about=about)
