"""Runs of OpenAI Agents in a body: what is a step, what survives a crash, and what a failure undoes."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from agents import (
    Agent,
    CustomTool,
    GuardrailFunctionOutput,
    InputGuardrail,
    InputGuardrailTripwireTriggered,
    RunConfig,
    RunContextWrapper,
    Runner,
    ShellTool,
    ToolOutputImage,
    function_tool,
    handoff,
)
from agents.run import AgentRunner, set_default_agent_runner
from agents.testing import assistant_message
from agents.testing.model import ScriptedModel

from romancy import WorkflowContext, WorkflowFailedError, activity, activity_context, in_workflow, workflow
from romancy.core import ActivityScheduled
from romancy.ext.openai_agents import (
    RomancyRunner,
    StepOptions,
    WorkflowSession,
    activity_tool,
    body_tool,
    install,
    step_tool,
)
from romancy.retry import RetryPolicy
from romancy.testing import TestApp, crash_at_every_commit
from tests.ext.openai_agents.scripted import Script, Scripted, call, one_of_each, seen, shell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy import Handle

pytestmark = pytest.mark.anyio

booked: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Begin with nothing booked and nothing seen, and with the runner of the SDK."""
    booked.clear()
    seen.clear()
    yield
    set_default_agent_runner(AgentRunner())


async def steps_of(handle: Handle[Any]) -> list[ActivityScheduled]:
    return [one for one in await handle.history() if isinstance(one, ActivityScheduled)]


# ── what is a step ──────────────────────────────────────────────────────────────────────────────────────────────────


@activity
async def book(city: str, nights: int = 1) -> str:
    """Book a room.

    Args:
        city: Where.
        nights: For how long.
    """
    booked[city] += 1
    return f"{nights} in {city}"


@book.compensation
async def cancel_booking(city: str, nights: int = 1) -> None:
    booked[city] -= 1


@function_tool
def look(city: str) -> str:
    """Look at a city, on a thread."""
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    assert activity_context().attempt > 0
    return f"{city} is there"


@function_tool
async def waits(context: RunContextWrapper[Any], hours: int) -> str:
    """Wait in the body."""
    assert in_workflow()
    await asyncio.sleep(hours * 3600)
    return f"waited {hours} h"


def plans(turn: int, outputs: list[Any]) -> list[Any]:
    match turn:
        case 0:
            return [call("look", "c1", city="Rome"), call("book", "c2", city="Rome", nights=2)]
        case 2:
            return [call("waits", "c3", hours=30)]
        case _:
            return [assistant_message("; ".join(str(one["output"]) for one in outputs))]


traveller = Agent(name="traveller", model=Scripted(plans), tools=[activity_tool(book), look, body_tool(waits)])


@workflow
async def oa_travels(ctx: WorkflowContext, wish: str) -> list[Any]:
    begun = ctx.now()
    result = await RomancyRunner.run(traveller, wish)
    assert result.context_wrapper.usage.total_tokens == 21
    return [result.final_output, (ctx.now() - begun).total_seconds() > 100_000, len(result.new_items)]


@pytest.mark.long
async def test_a_run_survives_a_crash_at_every_commit() -> None:
    crashes = await crash_at_every_commit(oa_travels, "a weekend")
    assert len(crashes) > 8
    assert {tuple(one.result) for one in crashes} == {("Rome is there; 2 in Rome; waited 30 h", True, 7)}


async def test_each_call_is_a_step_under_a_name_that_stays() -> None:
    async with TestApp([oa_travels]) as app:
        handle = await app.start(oa_travels, "a weekend")
        await handle.result()
        asked = await steps_of(handle)
    assert Counter(one.name for one in asked) == {"traveller.model": 3, "book": 1, "traveller.tool:look": 1}
    about = [msgspec.json.decode(one.about) for one in asked if one.name != "book"]
    run = about[0]["run"]
    assert about[0] == {
        "agent": "traveller", "run": run, "turn": 1, "model": "Scripted", "prompts": [["user", "a weekend"]],
    }  # fmt: skip
    assert {"agent": "traveller", "run": run, "turn": 1, "tool": "look", "call": "c1"} in about
    assert booked == {"Rome": 1}


async def test_outside_of_a_workflow_a_run_is_what_it_was() -> None:
    model = ScriptedModel([[call("book", "c1", city="Oslo")], [assistant_message("plain")]])
    agent = Agent(name="plain", model=model, tools=[activity_tool(book)])
    assert (await RomancyRunner.run(agent, "go")).final_output == "plain"
    install()
    model.extend([[assistant_message("again")]])
    assert (await Runner.run(agent, "go")).final_output == "again"
    assert booked == {"Oslo": 1}


def test_the_schema_of_an_activity_is_that_of_its_function() -> None:
    tool = activity_tool(book, needs_approval=True)
    assert (tool.name, tool.description, tool.needs_approval) == ("book", "Book a room.", True)
    assert tool.params_json_schema["properties"]["city"]["description"] == "Where."
    assert set(tool.params_json_schema["properties"]) == {"city", "nights"}


# ── tools in parallel ───────────────────────────────────────────────────────────────────────────────────────────────


@function_tool
async def slow(number: int) -> int:
    """Take some time."""
    await asyncio.sleep(random.uniform(0, 0.02))
    seen.append(str(number))
    return number * number


def sixteen(turn: int, outputs: list[Any]) -> list[Any]:
    if turn:
        return [assistant_message(" ".join(str(one["output"]) for one in outputs))]
    return [call("slow", f"c{number}", number=number) for number in range(16)]


squarer = Agent(name="squarer", model=Scripted(sixteen), tools=[slow])


@workflow
async def oa_squares(ctx: WorkflowContext) -> str:
    return str((await RomancyRunner.run(squarer, "square")).final_output)


async def test_sixteen_tools_that_answer_in_any_order_replay() -> None:
    orders: set[tuple[str, ...]] = set()
    for _ in range(5):
        seen.clear()
        async with TestApp([oa_squares], sticky=0) as app:
            assert await app.run(oa_squares) == " ".join(str(number * number) for number in range(16))
        orders.add(tuple(seen))
    assert len(orders) > 1


# ── undone ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@function_tool(failure_error_function=None)
async def breaks(after: int) -> str:
    """Fail for good."""
    seen.append("tried")
    raise ConnectionError(f"after {after}")


class Quick(RomancyRunner):
    """Two attempts."""

    tools = StepOptions(retry=RetryPolicy.fixed(2, 0.01))


@workflow
async def oa_stumbles(ctx: WorkflowContext, number: int) -> str:
    def books_and_breaks(turn: int, outputs: list[Any]) -> list[Any]:
        if turn < number:
            return [call("book", f"c{turn}", city=f"city {turn}")]
        return [call("breaks", "c99", after=turn)]

    clumsy = Agent(name="clumsy", model=Scripted(books_and_breaks), tools=[activity_tool(book), breaks])
    return str((await Quick.run(clumsy, "go")).final_output)


@pytest.mark.parametrize("number", range(1, 6))
async def test_a_failure_after_booked_tools_leaves_nothing_booked(number: int) -> None:
    async with TestApp([oa_stumbles]) as app:
        with pytest.raises(WorkflowFailedError, match=f"after {number}"):
            await app.run(oa_stumbles, number)
    assert set(booked) == {f"city {one}" for one in range(number)}
    assert not +booked
    assert seen == ["tried", "tried"]


# ── handoffs, agents as tools, guardrails ───────────────────────────────────────────────────────────────────────────


def to_spanish(turn: int, outputs: list[Any]) -> list[Any]:
    return [call("transfer_to_spanish_agent", "h1")]


def looks_once(turn: int, outputs: list[Any]) -> list[Any]:
    if turn == 1:
        return [call("look", "s1", city="Sevilla")]
    return [assistant_message(f"hola {turn}")]


spanish = Agent(name="Spanish agent", model=Scripted(looks_once), tools=[look])
by_agent = Agent(name="triage", model=Scripted(to_spanish), handoffs=[spanish])
by_handoff = Agent(name="triage", model=Scripted(to_spanish), handoffs=[handoff(spanish)])
spanish.handoffs = [by_agent]


@workflow
async def oa_hands_over(ctx: WorkflowContext, way: str) -> list[str]:
    result = await RomancyRunner.run(by_agent if way == "agent" else by_handoff, "hello")
    return [str(result.final_output), result.last_agent.name]


@pytest.mark.parametrize("way", ["agent", "handoff"])
async def test_a_handoff_survives_a_crash_at_every_commit(way: str) -> None:
    crashes = await crash_at_every_commit(oa_hands_over, way)
    assert {tuple(one.result) for one in crashes} == {("hola 2", "Spanish agent")}
    async with TestApp([oa_hands_over]) as app:
        handle = await app.start(oa_hands_over, way)
        await handle.result()
        names = [one.name for one in await steps_of(handle)]
    assert names == ["triage.model", "Spanish agent.model", "Spanish agent.tool:look", "Spanish agent.model"]


def asks_agent(turn: int, outputs: list[Any]) -> list[Any]:
    if turn:
        return [assistant_message(str(outputs[0]["output"])[:9])]
    return [call("squares", "a1", input="square"), call("squares", "a2", input="square")]


async def is_rude(context: RunContextWrapper[Any], agent: Agent[Any], given: Any) -> GuardrailFunctionOutput:
    judged = await Runner.run(judge, given, context=context.context)
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=judged.final_output == "rude")


judge = Agent(
    name="judge",
    model=Scripted(lambda turn, outputs: [assistant_message("polite" if not seen else "rude")]),
)
delegating = Agent(
    name="delegating",
    model=Scripted(asks_agent),
    tools=[squarer.as_tool("squares", "Square.")],
    input_guardrails=[InputGuardrail(guardrail_function=is_rude)],
)


@workflow
async def oa_delegates(ctx: WorkflowContext) -> str:
    try:
        return str((await Runner.run(delegating, "go")).final_output)
    except InputGuardrailTripwireTriggered:
        return "refused"


async def test_agents_as_tools_and_guardrails_are_durable_one_by_one() -> None:
    install()
    async with TestApp([oa_delegates], sticky=0) as app:
        handle = await app.start(oa_delegates)
        assert await handle.result() == "0 1 4 9 1"
        names = Counter(one.name for one in await steps_of(handle))
    assert names == {"delegating.model": 2, "judge.model": 1, "squarer.model": 4, "squarer.tool:slow": 32}


async def test_a_guardrail_that_refuses_ends_the_run() -> None:
    install()
    seen.append("rude")
    async with TestApp([oa_delegates]) as app:
        assert await app.run(oa_delegates) == "refused"


@workflow
async def oa_forgets(ctx: WorkflowContext) -> str:
    return str((await RomancyRunner.run(delegating, "go")).final_output)


async def test_an_agent_as_a_tool_is_refused_without_install() -> None:
    async with TestApp([oa_forgets]) as app:
        with pytest.raises(WorkflowFailedError, match=r"'squares' of agent 'delegating'.*install\(\)"):
            await app.run(oa_forgets)


# ── streams and sessions ────────────────────────────────────────────────────────────────────────────────────────────


streamer = Agent(name="streamer", model=Scripted(plans), tools=[activity_tool(book), look, body_tool(waits)])


@workflow
async def oa_streams(ctx: WorkflowContext) -> list[Any]:
    result = RomancyRunner.run_streamed(streamer, "a weekend")
    kinds = [event.type async for event in result.stream_events()]
    return [result.final_output, kinds.count("raw_response_event"), kinds.count("run_item_stream_event")]


async def test_a_streamed_run_survives_a_crash_at_every_commit() -> None:
    crashes = await crash_at_every_commit(oa_streams)
    assert {tuple(one.result) for one in crashes} == {("Rome is there; 2 in Rome; waited 30 h", 3, 7)}


@workflow
async def oa_talks(ctx: WorkflowContext, items: list[dict[str, Any]], left: int) -> list[str]:
    session: Any = WorkflowSession(items)  # type: ignore[arg-type]
    agent = Agent(name="talker", model=Scripted(lambda turn, outputs: [assistant_message(f"answer {turn}")]))
    result = await RomancyRunner.run(agent, f"question {left}", session=session)
    kept: Any = await session.get_items()
    return oa_talks.recur(kept, left - 1) if left else [str(result.final_output), str(len(kept))]


async def test_a_session_goes_on_with_runs_that_recur() -> None:
    async with TestApp([oa_talks]) as app:
        assert await app.run(oa_talks, [], 3) == ["answer 3", "8"]


# ── other tools and options ─────────────────────────────────────────────────────────────────────────────────────────


async def custom(context: Any, given: str) -> str:
    seen.append(given)
    return given.upper()


@function_tool
async def shows() -> ToolOutputImage:
    """Show."""
    return ToolOutputImage(image_url="data:image/png;base64,AA==")


@function_tool
async def odd() -> tuple[int, str]:
    """Return what JSON would change."""
    return (1, "a")


handy = Agent(
    name="handy",
    model=Script(one_of_each),
    tools=[
        ShellTool(executor=shell),
        CustomTool(name="mine", description="Mine.", on_invoke_tool=custom),
        shows,
        odd,
    ],
)


@workflow
async def oa_handy(ctx: WorkflowContext) -> str:
    return str((await RomancyRunner.run(handy, "go")).final_output)


async def test_shell_and_custom_tools_and_images_are_steps() -> None:
    plain = str((await Runner.run(handy, "go")).final_output)
    seen.clear()
    async with TestApp([oa_handy], sticky=0) as app:
        handle = await app.start(oa_handy)
        assert await handle.result() == plain
        names = Counter(one.name for one in await steps_of(handle))
    assert sorted(seen) == ["given", "ls"]
    assert names == {
        "handy.model": 2,
        "handy.shell": 1,
        "handy.custom:mine": 1,
        "handy.tool:shows": 1,
        "handy.tool:odd": 1,
    }


@function_tool(failure_error_function=None)
async def flaky() -> str:
    """Work the third time."""
    seen.append(str(activity_context().attempt))
    if len(seen) < 3:
        raise ConnectionError("again")
    return "at last"


def tries(turn: int, outputs: list[Any]) -> list[Any]:
    return [assistant_message(str(outputs[0]["output"]))] if turn else [call("flaky", "f1")]


class Hidden(RomancyRunner):
    """One attempt, and no prompts."""

    tools = StepOptions(retry=RetryPolicy.none())
    show_prompts = False


@workflow
async def oa_is_patient(ctx: WorkflowContext) -> str:
    model = Scripted(tries)
    patient = Agent(name="patient", tools=[step_tool(flaky, StepOptions(retry=RetryPolicy.fixed(3, 0.01)))])
    return str((await Hidden.run(patient, "a secret", run_config=RunConfig(model=model))).final_output)


async def test_a_tool_has_options_of_its_own_and_prompts_may_be_kept_back() -> None:
    async with TestApp([oa_is_patient]) as app:
        handle = await app.start(oa_is_patient)
        assert await handle.result() == "at last"
        asked = await steps_of(handle)
    assert seen == ["1", "2", "3"]
    assert not [one for one in asked if b"secret" in bytes(one.about)]
