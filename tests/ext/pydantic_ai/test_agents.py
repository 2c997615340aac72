"""Agents of pydantic-ai in a body: what is a step, what survives a crash, and what a failure undoes."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from pydantic_ai import Agent, AgentRunResultEvent, FunctionToolset, ModelRetry, RunContext, Tool, models
from pydantic_ai.exceptions import RunTimedOut
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel

from romancy import WorkflowContext, WorkflowFailedError, activity, activity_context, in_workflow, workflow
from romancy.core import ActivityScheduled
from romancy.ext.pydantic_ai import RomancyDurability, StepOptions
from romancy.retry import RetryPolicy
from romancy.testing import TestApp, crash_at_every_commit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio
models.ALLOW_MODEL_REQUESTS = False

booked: Counter[str] = Counter()
seen: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Begin with nothing booked and nothing seen."""
    booked.clear()
    seen.clear()


def calls(*wanted: ToolCallPart | str) -> ModelResponse:
    return ModelResponse(parts=[TextPart(one) if isinstance(one, str) else one for one in wanted])


def turns(messages: list[ModelMessage]) -> int:
    """How often the model has answered before."""
    return sum(isinstance(one, ModelResponse) for one in messages)


def returned(messages: list[ModelMessage]) -> list[str]:
    last = messages[-1]
    assert isinstance(last, ModelRequest)
    return [str(one.content) for one in last.parts if isinstance(one, ToolReturnPart)]


# ── what is a step ──────────────────────────────────────────────────────────────────────────────────────────────


@activity
async def book(city: str) -> str:
    """Book a room."""
    booked[city] += 1
    return f"a room in {city}"


@book.compensation
async def cancel_booking(city: str) -> None:
    booked[city] -= 1


def look(city: str) -> str:
    """Look at a city, on a thread."""
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    assert activity_context().attempt > 0
    return f"{city} is there"


async def waits(ctx: RunContext[object], hours: int) -> str:
    """Wait in the body."""
    assert in_workflow()
    await asyncio.sleep(hours * 3600)
    return f"waited {hours} h"


async def refuses(number: int) -> int:
    """Take only large numbers."""
    if number < 10:
        raise ModelRetry("larger")
    return number


async def plans(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    match turns(messages):
        case 0:
            return calls(ToolCallPart("look", {"city": "Rome"}), ToolCallPart("book", {"city": "Rome"}))
        case 1:
            return calls(ToolCallPart("refuses", {"number": 1}), ToolCallPart("waits", {"hours": 30}))
        case 2:
            return calls(ToolCallPart("refuses", {"number": 11}))
        case _:
            return calls(f"done: {', '.join(returned(messages))}")


traveller = Agent(
    FunctionModel(plans),
    name="traveller",
    capabilities=[RomancyDurability()],
    tools=[book, look, refuses, Tool(waits, metadata={"romancy": "workflow"})],
)


@workflow
async def travels(ctx: WorkflowContext, wish: str) -> list[Any]:
    begun = ctx.now()
    result = await traveller.run(wish)
    return [result.output, (ctx.now() - begun).total_seconds() > 100_000, len(result.all_messages()), result.run_id]


@pytest.mark.long
async def test_an_agent_survives_a_crash_at_every_commit() -> None:
    crashes = await crash_at_every_commit(travels, "a weekend")
    assert len(crashes) > 15
    assert {tuple(one.result[:3]) for one in crashes} == {("done: 11", True, 8)}


async def test_each_operation_is_a_step_under_a_name_that_stays() -> None:
    async with TestApp([travels]) as app:
        handle = await app.start(travels, "a weekend")
        await handle.result()
        asked = [one for one in await handle.history() if isinstance(one, ActivityScheduled)]
    tool = "traveller__function_toolset__<agent>.call_tool"
    request = "traveller__model.request"
    assert Counter(one.name for one in asked) == {request: 4, "book": 1, f"{tool}:look": 1, f"{tool}:refuses": 2}
    about = [msgspec.json.decode(one.about) for one in asked]
    assert about[0] == {
        "agent": "traveller",
        "run": about[0]["run"],
        "turn": 1,
        "model": "function:plans:",
        "prompts": [["user", "a weekend"]],
    }
    looked = next(told for told, one in zip(about, asked, strict=True) if one.name == f"{tool}:look")
    assert (looked["tool"], looked["turn"], looked["run"]) == ("look", 1, about[0]["run"])
    assert booked == {"Rome": 1}


async def test_outside_of_a_workflow_the_agent_is_what_it_was() -> None:
    async def answers(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        assert not in_workflow()
        return calls("plain") if turns(messages) else calls(ToolCallPart("book", {"city": "Oslo"}))

    agent = Agent(FunctionModel(answers), name="plain", capabilities=[RomancyDurability()], tools=[book])
    assert (await agent.run("go")).output == "plain"
    assert booked == {"Oslo": 1}


# ── tools in parallel ───────────────────────────────────────────────────────────────────────────────────────────


async def slow(number: int) -> int:
    """Take some time."""
    await asyncio.sleep(random.uniform(0, 0.02))
    seen.append(str(number))
    return number * number


async def sixteen(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    if turns(messages):
        return calls(" ".join(returned(messages)))
    return calls(*(ToolCallPart("slow", {"number": number}, tool_call_id=f"c{number}") for number in range(16)))


squarer = Agent(FunctionModel(sixteen), name="squarer", capabilities=[RomancyDurability()], tools=[slow])


@workflow
async def squares(ctx: WorkflowContext) -> str:
    return (await squarer.run("square")).output


async def test_sixteen_tools_that_answer_in_any_order_replay() -> None:
    orders: set[tuple[str, ...]] = set()
    for _ in range(5):
        seen.clear()
        async with TestApp([squares], sticky=0) as app:  # it replays at each answer, and at the end in another process
            assert await app.run(squares) == " ".join(str(number * number) for number in range(16))
        orders.add(tuple(seen))
    assert len(orders) > 1


# ── undone ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def breaks(after: int) -> str:
    """Fail for good."""
    raise ConnectionError(f"after {after}")


async def books_and_breaks(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    wish = str(getattr(messages[0].parts[0], "content", ""))
    number = turns(messages)
    if number < int(wish):
        return calls(ToolCallPart("book", {"city": f"city {number}"}))
    return calls(ToolCallPart("breaks", {"after": number}))


clumsy = Agent(
    FunctionModel(books_and_breaks),
    name="clumsy",
    capabilities=[RomancyDurability(tools=StepOptions(retry=RetryPolicy.fixed(2, 0.01)))],
    tools=[book, breaks],
)


@workflow
async def stumbles(ctx: WorkflowContext, number: int) -> str:
    return (await clumsy.run(str(number))).output


@pytest.mark.parametrize("number", range(1, 6))
async def test_a_failure_after_booked_tools_leaves_nothing_booked(number: int) -> None:
    async with TestApp([stumbles]) as app:
        with pytest.raises(WorkflowFailedError, match=f"ConnectionError: after {number}"):
            await app.run(stumbles, number)
    assert set(booked) == {f"city {one}" for one in range(number)}
    assert not +booked


# ── ways to run an agent ────────────────────────────────────────────────────────────────────────────────────────


async def streams(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
    seen.append("streamed")
    if turns(messages):
        for word in ("all ", "is ", "well"):
            yield word
    else:
        yield {0: DeltaToolCall("look", '{"city": "Rome"}')}


streamer = Agent(
    FunctionModel(stream_function=streams), name="streamer", capabilities=[RomancyDurability()], tools=[look]
)


@workflow
async def runs(ctx: WorkflowContext, way: str) -> str:
    if way == "run_stream":
        async with streamer.run_stream("go") as result:
            return "".join([one async for one in result.stream_text(delta=True, debounce_by=None)])
    if way == "run_stream_events":
        async with streamer.run_stream_events("go") as events:
            found = [one async for one in events]
        assert any(isinstance(one, PartStartEvent | PartDeltaEvent) for one in found)
        return next(one.result.output for one in found if isinstance(one, AgentRunResultEvent))
    async with streamer.iter("go") as run:
        nodes = [type(node).__name__ async for node in run]
    assert nodes[-1] == "End"
    return "" if run.result is None else run.result.output


@pytest.mark.parametrize("way", ["run_stream", "run_stream_events"])
async def test_a_streamed_run_survives_a_crash_at_every_commit(way: str) -> None:
    crashes = await crash_at_every_commit(runs, way)
    assert {one.result for one in crashes} == {"all is well"}
    assert len(crashes) > 6


iterated = Agent(TestModel(), name="iterated", capabilities=[RomancyDurability()], tools=[look])


@workflow
async def iterates(ctx: WorkflowContext) -> list[str]:
    async with iterated.iter("go") as run:
        return [type(node).__name__ async for node in run]


async def test_an_iterated_run_survives_a_crash_at_every_commit() -> None:
    nodes = ["UserPromptNode", "ModelRequestNode", "CallToolsNode", "ModelRequestNode", "CallToolsNode", "End"]
    assert all(one.result == nodes for one in await crash_at_every_commit(iterates))


@workflow
async def runs_out_of_time(ctx: WorkflowContext) -> list[Any]:
    begun = ctx.now()
    try:
        await traveller.run("a weekend", timeout=3600)
    except RunTimedOut as late:
        return [(ctx.now() - begun).total_seconds() // 60, len(late.all_messages())]
    return []


@pytest.mark.long
async def test_the_timeout_of_a_run_is_durable() -> None:
    crashes = await crash_at_every_commit(runs_out_of_time)
    assert {one.result[0] for one in crashes} == {60}


async def nests(ctx: RunContext[object]) -> str:
    """Ask another agent, in the body."""
    return (await squarer.run("square", usage=ctx.usage)).output


delegating = Agent(
    TestModel(),
    name="delegating",
    capabilities=[RomancyDurability()],
    tools=[Tool(nests, metadata={"romancy": "workflow"})],
)


@workflow
async def delegates(ctx: WorkflowContext) -> list[str]:
    both = await asyncio.gather(delegating.run("a"), squarer.run("b"))
    return [one.output[:20] for one in both]


async def test_agents_that_run_agents_side_by_side_replay() -> None:
    async with TestApp([delegates], sticky=0) as app:
        handle = await app.start(delegates)
        assert len(await handle.result()) == 2
        names = Counter(one.name for one in await handle.history() if isinstance(one, ActivityScheduled))
    assert names["squarer__model.request"] == 4
    assert names["squarer__function_toolset__<agent>.call_tool:slow"] == 32


# ── options ─────────────────────────────────────────────────────────────────────────────────────────────────────

tries: list[int] = []


async def flaky(ctx: RunContext[object]) -> str:
    """Work the third time."""
    tries.append(activity_context().attempt)
    if len(tries) < 3:
        raise ConnectionError("again")
    return "at last"


patient = Agent(
    TestModel(),
    name="patient",
    capabilities=[RomancyDurability(tools=StepOptions(retry=RetryPolicy.none()), show_prompts=False)],
    toolsets=[
        FunctionToolset([Tool(flaky, metadata={"romancy": StepOptions(retry=RetryPolicy.fixed(3, 0.01))})], id="mine")
    ],
)


@workflow
async def is_patient(ctx: WorkflowContext) -> str:
    return (await patient.run("a secret")).output


async def test_a_tool_has_options_of_its_own_and_prompts_may_be_kept_back() -> None:
    tries.clear()
    async with TestApp([is_patient]) as app:
        handle = await app.start(is_patient)
        assert "at last" in await handle.result()
        asked = [one for one in await handle.history() if isinstance(one, ActivityScheduled)]
    assert tries == [1, 2, 3]
    assert asked[1].name == "patient__function_toolset__mine.call_tool:flaky"
    assert not [one for one in asked if b"secret" in bytes(one.about)]
