"""A graph of LangGraph that writes a text and has it approved by a person. A crash repeats no answered model call.

    THINK=10 python -m examples.graph_agent [database]

The model is a stand-in that answers after THINK seconds: kill the program meanwhile, and start it again. The editor
is a task of this program. In yours people answer in the dashboard, or by `romancy ask`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# LangGraph is typed in part.

from __future__ import annotations

import argparse
import asyncio
import operator
import os
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt

from romancy import Romancy, WorkflowContext, workflow
from romancy.ext.langgraph import durable, invoke


class State(TypedDict):
    topic: str
    notes: Annotated[list[str], operator.add]
    text: str
    published: bool


class Question(TypedDict):
    of: str


async def model(prompt: str) -> str:
    print(f"the model is asked: {prompt}", flush=True)
    await asyncio.sleep(float(os.environ.get("THINK", "0")))
    return f"[{prompt}]"


def research(state: State) -> list[Send]:
    return [Send("look_up", {"of": f"{side} of {state['topic']}"}) for side in ("causes", "costs")]


async def look_up(question: Question) -> dict[str, Any]:
    return {"notes": [await model(question["of"])]}


async def write(state: State) -> dict[str, Any]:
    return {"text": await model(f"write: {', '.join(state['notes'])}")}


async def review(state: State) -> dict[str, Any]:
    return {"published": interrupt(f"Publish {state['text']}?")}


graph: Any = StateGraph(State)
graph.add_node("look_up", look_up)
graph.add_node("write", write)
graph.add_node("review", review)
graph.add_conditional_edges(START, research, ["look_up"])
graph.add_edge("look_up", "write")
graph.add_edge("write", "review")
graph.add_edge("review", END)
newsroom = durable(graph).compile()


@workflow
async def publish(ctx: WorkflowContext, topic: str) -> str:
    state = await invoke(newsroom, {"topic": topic}, model=bool, to="editor", timeout=7 * 86_400)
    return f"published {state['text']}" if state["published"] else "put aside"


async def edits(app: Romancy) -> None:
    """Answer what is asked, as an editor would."""
    while not (page := await app.questions(to="editor")).questions:  # noqa: ASYNC110 - it asks the database
        await asyncio.sleep(0.05)
    await app.answer(page.questions[0].token, data=True, by="the editor")


async def main(url: str) -> str:
    async with Romancy(url, workflows=[publish]) as app:
        handle = await app.start(publish.options(instance_id="article-1"), "durable execution")
        editor = asyncio.create_task(edits(app))
        try:
            return await handle.result()
        finally:
            editor.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", nargs="?", default="sqlite:///article.db")
    print(asyncio.run(main(parser.parse_args().database)))
