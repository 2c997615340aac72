"""A graph of a program that is killed, and the provider that counts its requests."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# LangGraph's packages are typed in part.

from __future__ import annotations

import asyncio
import operator
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from langchain.agents import create_agent
from langchain_core.tools import StructuredTool, tool
from langgraph.graph import START, StateGraph

from romancy import Romancy, WorkflowContext, activity, activity_context, workflow
from romancy.ext.langgraph import DurableMiddleware, durable, invoke
from tests.ext.langgraph.models import FakeModel, calls, turns

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

LEDGER = "ROMANCY_TEST_REQUESTS"
"""The file in which the provider notes each request, in the environment of the processes."""
KILLED_AT = "ROMANCY_TEST_KILLED_AT"
"""The line after which the process kills itself."""


def note(line: str) -> None:
    """Write a line that stays when the process is killed."""
    with Path(os.environ[LEDGER]).open("a", encoding="utf-8") as ledger:
        ledger.write(f"{line}\n")
    if line.startswith(os.environ.get(KILLED_AT, "never")):
        os.kill(os.getpid(), signal.SIGKILL)


@activity
async def pay(cents: int) -> int:
    """Pay."""
    note(f"paid {activity_context().idempotency_key}")
    return cents


@tool
async def ask(question: str) -> str:
    """Ask."""
    note(f"asked {question}")
    return question.upper()


def provider(messages: list[BaseMessage]) -> AIMessage:
    turn = turns(messages)
    note(f"request {turn}")
    if turn == 0:
        return calls(("pay", {"cents": 5}))
    return calls(("ask", {"question": "how"})) if turn == 1 else calls(text="done")


paying = StructuredTool.from_function(coroutine=pay, name="pay", description="Pay.")
AGENT: Any = create_agent(FakeModel(answers=provider), [paying, ask], middleware=[DurableMiddleware()])


class Said(TypedDict):
    said: Annotated[list[str], operator.add]


def one(state: Said) -> Said:
    note("node one")
    return {"said": ["one"]}


async def two(state: Said) -> Said:
    note("node two")
    return {"said": ["two"]}


def graph() -> Any:
    made: Any = StateGraph(Said)
    made.add_node("one", one)
    made.add_node("two", two)
    made.add_edge(START, "one")
    made.add_edge("one", "two")
    return made.compile()


GRAPH = durable(graph())


@workflow
async def lg_killed(ctx: WorkflowContext) -> str:
    said = (await invoke(GRAPH, {"said": []}))["said"]
    answer = (await invoke(AGENT, {"messages": [("user", "go")]}))["messages"][-1].text
    return f"{' '.join(said)} {answer}"


async def main(url: str) -> None:
    async with Romancy(url, workflows=[lg_killed]) as app:
        await app.start(lg_killed.options(instance_id="killed"))
        await app.handle("killed", lg_killed).result()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
