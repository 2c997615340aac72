"""Agents of LangChain in a body: model calls and tool calls are steps, and people approve what the agent wants."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# LangChain's packages are typed in part.

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.tools import StructuredTool, tool
from langgraph.types import interrupt
from pydantic import BaseModel

from romancy import Question, WorkflowContext, WorkflowFailedError, activity, activity_context, in_workflow, workflow
from romancy.core import ActivityScheduled
from romancy.ext.langgraph import DurableMiddleware, StepOptions, durable, invoke
from romancy.retry import RetryPolicy
from romancy.testing import TestApp, crash_at_every_commit
from tests.ext.langgraph.models import FakeModel, calls, returned, turns

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

    from romancy import Handle

pytestmark = pytest.mark.anyio

booked: Counter[str] = Counter()
seen: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Begin with nothing booked and nothing seen."""
    booked.clear()
    seen.clear()


def agent_of(answers: Any, tools: list[Any], *middleware: Any, **more: Any) -> Any:
    return create_agent(FakeModel(answers=answers), tools, middleware=list(middleware), **more)


def asking(text: str) -> Any:
    return {"messages": [("user", text)]}


# ── what is a step ──────────────────────────────────────────────────────────────────────────────────────────────


@activity
async def book(city: str) -> str:
    """Book a room."""
    booked[city] += 1
    return f"a room in {city}"


@book.compensation
async def cancel_booking(city: str) -> None:
    booked[city] -= 1


@tool
def look(city: str) -> str:
    """Look at a city, on a thread."""
    assert activity_context().attempt > 0
    return f"{city} is there"


@tool
async def waits(hours: int) -> str:
    """Wait in the body."""
    assert in_workflow()
    await asyncio.sleep(hours * 3600)
    return f"waited {hours} h"


waits.metadata = {"romancy": "workflow"}
booking = StructuredTool.from_function(coroutine=book, name="book", description="Book a room.")


def plans(messages: list[BaseMessage]) -> AIMessage:
    match turns(messages):
        case 0:
            return calls(("look", {"city": "Rome"}), ("book", {"city": "Rome"}))
        case 1:
            return calls(("waits", {"hours": 30}))
        case _:
            return calls(text=f"done: {', '.join(returned(messages))}")


TRAVELLER = agent_of(plans, [look, booking, waits], DurableMiddleware(), name="traveller", system_prompt="Be brief.")


@workflow
async def lc_travels(ctx: WorkflowContext, wish: str) -> list[Any]:
    begun = ctx.now()
    messages = (await invoke(TRAVELLER, asking(wish)))["messages"]
    return [messages[-1].text, (ctx.now() - begun).total_seconds() > 100_000, len(messages)]


async def test_model_calls_and_tools_are_steps_and_an_activity_stays_one() -> None:
    async with TestApp([lc_travels]) as app:
        handle = await app.start(lc_travels, "a weekend")
        assert await handle.result() == ["done: waited 30 h", True, 7]
        asked = [one for one in await handle.history() if isinstance(one, ActivityScheduled)]
    names = Counter(one.name for one in asked)
    assert names == {"traveller__model.request": 3, "traveller__call_tool:look": 1, "book": 1}
    about = msgspec.json.decode(asked[0].about)
    assert about.pop("turn") == 1
    assert about == {
        "agent": "traveller",
        "model": "FakeModel",
        "prompts": [["system", "Be brief."], ["user", "a weekend"]],
    }
    looked = next(msgspec.json.decode(one.about) for one in asked if one.name.endswith("look"))
    assert (looked["tool"], looked["call"]) == ("look", "look-0")
    assert booked == {"Rome": 1}


@pytest.mark.long
async def test_an_agent_survives_a_crash_at_every_commit(capfd: pytest.CaptureFixture[str]) -> None:
    crashes = await crash_at_every_commit(lc_travels, "a weekend")
    assert len(crashes) > 10
    assert {tuple(one.result) for one in crashes} == {("done: waited 30 h", True, 7)}
    assert capfd.readouterr().err == ""


async def test_outside_of_a_workflow_the_agent_is_what_it_was() -> None:
    def once(messages: list[BaseMessage]) -> AIMessage:
        return calls(text="plain") if turns(messages) else calls(("book", {"city": "Oslo"}))

    agent = agent_of(once, [booking], DurableMiddleware())
    assert (await agent.ainvoke(asking("go")))["messages"][-1].text == "plain"
    assert booked == {"Oslo": 1}


# ── tools in parallel ───────────────────────────────────────────────────────────────────────────────────────────


@tool
async def slow(number: int) -> int:
    """Take some time."""
    await asyncio.sleep(random.uniform(0, 0.02))
    seen.append(str(number))
    return number * number


def sixteen(messages: list[BaseMessage]) -> AIMessage:
    if turns(messages):
        return calls(text=" ".join(returned(messages)))
    return calls(*(("slow", {"number": number}) for number in range(16)))


SQUARER = agent_of(sixteen, [slow], DurableMiddleware(show_prompts=False))


@workflow
async def lc_squares(ctx: WorkflowContext) -> str:
    return str((await SQUARER.ainvoke(asking("a secret")))["messages"][-1].text)


async def test_sixteen_tools_that_answer_in_any_order_replay() -> None:
    orders: set[tuple[str, ...]] = set()
    log: list[Any] = []
    for _ in range(4):
        seen.clear()
        async with TestApp([lc_squares], sticky=0) as app:  # it replays at each answer
            handle = await app.start(lc_squares)
            assert await handle.result() == " ".join(str(number * number) for number in range(16))
            log.extend(await handle.history())
        orders.add(tuple(seen))
        assert not [one for one in log if isinstance(one, ActivityScheduled) and b"secret" in bytes(one.about)]
    assert len(orders) > 1


# ── approved ────────────────────────────────────────────────────────────────────────────────────────────────────


@tool
async def pay(cents: int) -> str:
    """Pay."""
    booked[str(cents)] += 1
    return f"paid {cents}"


def pays_twice(messages: list[BaseMessage]) -> AIMessage:
    if turns(messages):
        return calls(text="; ".join(returned(messages)))
    return calls(("pay", {"cents": 5}), ("pay", {"cents": 7}))


CASHIER = agent_of(pays_twice, [pay], HumanInTheLoopMiddleware({"pay": True}), DurableMiddleware())


@workflow
async def lc_pays(ctx: WorkflowContext) -> str:
    return str((await invoke(CASHIER, asking("pay"), to="finance", timeout=3600))["messages"][-1].text)


async def open_ones(app: TestApp) -> dict[str, Question]:
    await app.settle()
    return {one.question: one for one in (await app.questions()).questions}


async def test_each_call_is_a_question_of_its_own() -> None:
    async with TestApp([lc_pays]) as app:
        handle = await app.start(lc_pays)
        found = await open_ones(app)
        five, seven = found['May pay be called with {"cents":5}?'], found['May pay be called with {"cents":7}?']
        assert (five.to, five.name) == ("finance", "approval")
        await app.answer(five.token, data=True, by="ann")
        await app.refuse(seven.token, "too much")
        result = await handle.result()
    assert "paid 5" in result
    assert booked == {"5": 1}


async def test_nobody_in_time_is_a_no() -> None:
    async with TestApp([lc_pays]) as app:
        handle = await app.start(lc_pays)
        await open_ones(app)
        await app.advance(3700)
        await handle.result()
    assert not booked


@pytest.mark.long
async def test_a_crash_at_each_commit_asks_and_pays_once() -> None:
    async def drive(app: TestApp, handle: Handle[Any]) -> None:
        for question in (await open_ones(app)).values():
            await app.answer(question.token, data=True)
        assert "paid 5; paid 7" == await handle.result()

    assert len(await crash_at_every_commit(lc_pays.bind(), drive=drive)) > 8


@tool
async def asks(topic: str) -> str:
    """Ask a person."""
    seen.append(topic)
    return f"answered {interrupt({'about': topic})}"


def asks_once(messages: list[BaseMessage]) -> AIMessage:
    return calls(text="; ".join(returned(messages))) if turns(messages) else calls(("asks", {"topic": "tea"}))


ASKER = agent_of(asks_once, [asks], DurableMiddleware())


@workflow
async def lc_asks(ctx: WorkflowContext) -> str:
    return str((await invoke(ASKER, asking("go"), model=str))["messages"][-1].text)


async def test_a_tool_may_interrupt_in_its_step() -> None:
    async with TestApp([lc_asks]) as app:
        handle = await app.start(lc_asks)
        (question,) = (await open_ones(app)).values()
        assert question.question == '{"about":"tea"}'
        await app.answer(question.token, "green")
        assert await handle.result() == "answered green"
    assert seen == ["tea", "tea"]


# ── undone, retried, typed ──────────────────────────────────────────────────────────────────────────────────────


@tool
async def breaks() -> str:
    """Fail for good."""
    seen.append("breaks")
    raise ConnectionError("gone")


def books_and_breaks(messages: list[BaseMessage]) -> AIMessage:
    return calls(("breaks", {})) if turns(messages) else calls(("book", {"city": "Rome"}))


CLUMSY = agent_of(
    books_and_breaks, [booking, breaks], DurableMiddleware(tools=StepOptions(retry=RetryPolicy.fixed(2, 0.01)))
)


@workflow
async def lc_stumbles(ctx: WorkflowContext) -> None:
    await invoke(CLUMSY, asking("go"))


async def test_a_failure_leaves_nothing_booked() -> None:
    async with TestApp([lc_stumbles]) as app:
        with pytest.raises(WorkflowFailedError, match="ConnectionError: gone"):
            await app.run(lc_stumbles)
    assert seen == ["breaks", "breaks"]
    assert dict(booked) == {"Rome": 0}


class Trip(BaseModel):
    city: str
    days: int


def structures(messages: list[BaseMessage]) -> AIMessage:
    return calls(("Trip", {"city": "Rome", "days": 2}))


STRUCTURED = agent_of(structures, [look], DurableMiddleware(), response_format=ToolStrategy(Trip))


@workflow
async def lc_structures(ctx: WorkflowContext) -> Trip:
    trip: Trip = (await invoke(STRUCTURED, asking("go")))["structured_response"]
    return trip


async def test_a_typed_answer_is_read_back_as_its_type() -> None:
    async with TestApp([lc_structures], sticky=0) as app:
        assert await app.run(lc_structures) == Trip(city="Rome", days=2)


WHOLE = durable(agent_of(sixteen, [slow], name="whole"))


@workflow
async def lc_whole(ctx: WorkflowContext) -> str:
    return str((await WHOLE.ainvoke(asking("go")))["messages"][-1].text)


async def test_an_agent_may_be_durable_by_its_nodes() -> None:
    async with TestApp([lc_whole], sticky=0) as app:
        handle = await app.start(lc_whole)
        assert await handle.result() == " ".join(str(number * number) for number in range(16))
        names = Counter(one.name for one in await handle.history() if isinstance(one, ActivityScheduled))
    assert names == {"node.model": 2, "node.tools": 16}
