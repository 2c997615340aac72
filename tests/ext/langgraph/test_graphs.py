"""Graphs of LangGraph in a body: what is a step, what survives a crash, and what the graph around a node stays."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false
# LangGraph's packages are typed in part.

from __future__ import annotations

import asyncio
import operator
import random
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, Send, StreamWriter

from romancy import WorkflowContext, activity_context, in_workflow, workflow
from romancy.core import ActivityScheduled
from romancy.ext.langgraph import StepOptions, durable, invoke
from romancy.testing import TestApp, crash_at_every_commit

if TYPE_CHECKING:
    from langgraph.runtime import Runtime

pytestmark = pytest.mark.anyio

ran: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Begin with nothing done."""
    ran.clear()


class Words(TypedDict):
    words: Annotated[list[str], operator.add]


async def names_of(app: TestApp, instance_id: str) -> Counter[str]:
    log = await app.handle(instance_id).history()
    return Counter(one.name for one in log if isinstance(one, ActivityScheduled))


# ── what is a step ──────────────────────────────────────────────────────────────────────────────────────────────


async def plan(state: Words) -> Words:
    assert activity_context().attempt > 0
    assert not in_workflow()
    ran.append("plan")
    return {"words": ["plan"]}


def search(state: Words) -> Words:
    assert threading.current_thread() is not threading.main_thread()
    ran.append("search")
    return {"words": [f"search {len(state['words'])}"]}


def read(state: Words) -> Words:
    ran.append("read")
    return {"words": ["read"]}


def again(state: Words) -> str:
    return "search" if state["words"].count("read") < 2 else "say"


async def waits(state: Words) -> Words:
    await asyncio.sleep(40 * 3600)
    return {"words": ["waited"]}


async def chooses(state: Words) -> Command[str]:
    return Command(update={"words": ["chose"]}, goto=END)


def says(state: Words) -> Words:
    return {"words": [f"said {len(state['words'])}"]}


def research() -> Any:
    graph: Any = StateGraph(Words)
    for node in (plan, search, read, waits, chooses):
        graph.add_node(node.__name__, node)
    graph.add_node("say", RunnableLambda(says))
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "search")
    graph.add_edge("plan", "read")
    graph.add_edge("search", "read")
    graph.add_conditional_edges("read", again, ["search", "say"])
    graph.add_edge("say", "waits")
    graph.add_edge("waits", "chooses")
    return graph


RESEARCH = durable(research(), steps={"waits": False}).compile()


@workflow
async def lg_researches(ctx: WorkflowContext) -> list[Any]:
    begun = ctx.now()
    words = (await invoke(RESEARCH, {"words": ["go"]}))["words"]
    return [words, (ctx.now() - begun).total_seconds() >= 144_000]


async def test_nodes_are_steps_and_edges_run_in_the_body() -> None:
    async with TestApp([lg_researches]) as app:
        handle = await app.start(lg_researches)
        words, waited = await handle.result()
        names = await names_of(app, handle.instance_id)
    assert waited
    assert words[:2] == ["go", "plan"]
    assert words[-2:] == ["waited", "chose"]
    assert {name: names[f"node.{name}"] for name in ("plan", "search", "read")} == Counter(ran)
    assert set(names) == {"node.plan", "node.search", "node.read", "node.say", "node.chooses"}


@pytest.mark.long
async def test_a_graph_survives_a_crash_at_every_commit(capfd: pytest.CaptureFixture[str]) -> None:
    crashes = await crash_at_every_commit(lg_researches)
    assert len(crashes) > 10
    assert len({str(one.result) for one in crashes}) == 1
    assert capfd.readouterr().err == ""


async def test_outside_of_a_workflow_a_graph_is_what_it_was() -> None:
    async def quick(state: Words) -> Words:
        assert not in_workflow()
        return {"words": ["quick"]}

    def after(state: Words) -> Words:
        assert threading.current_thread() is not threading.main_thread()
        return {"words": ["after"]}

    graph: Any = StateGraph(Words)
    graph.add_node("quick", quick)
    graph.add_node("after", after)
    graph.add_edge(START, "quick")
    graph.add_conditional_edges("quick", lambda state: "after", ["after"])
    expected = await graph.compile().ainvoke({"words": []})
    for copied in (
        durable(graph).compile(),
        durable(graph.compile()),
        durable(graph, steps={"after": False}).compile(),
    ):
        assert await copied.ainvoke({"words": []}) == expected
        assert await invoke(copied, {"words": []}) == expected
    plain: Any = StateGraph(Words)
    plain.add_node("after", after)
    plain.add_edge(START, "after")
    assert await asyncio.to_thread(durable(plain).compile().invoke, {"words": []}) == {"words": ["after"]}
    assert await COUNTS_ALONE.ainvoke(3) == 4


@entrypoint()
async def counts_alone(number: int) -> int:
    return number + 1


COUNTS_ALONE = durable(counts_alone)


# ── fan out ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def slow(state: dict[str, int]) -> Words:
    await asyncio.sleep(random.uniform(0, 0.02))
    ran.append(str(state["number"]))
    return {"words": [str(state["number"] ** 2)]}


def sends(state: Words) -> list[Send]:
    return [Send("slow", {"number": number}) for number in range(16)]


def squares() -> Any:
    graph: Any = StateGraph(Words)
    graph.add_node("slow", slow)
    graph.add_conditional_edges(START, sends, ["slow"])
    return graph


SQUARES = durable(squares().compile())


@workflow
async def lg_squares(ctx: WorkflowContext) -> list[str]:
    return list((await SQUARES.ainvoke({"words": []}))["words"])


async def test_sixteen_nodes_that_answer_in_any_order_replay() -> None:
    orders: set[tuple[str, ...]] = set()
    for _ in range(5):
        ran.clear()
        async with TestApp([lg_squares], sticky=0) as app:  # it replays at each answer
            assert await app.run(lg_squares) == [str(number**2) for number in range(16)]
        orders.add(tuple(ran))
    assert len(orders) > 1


async def test_sixteen_nodes_outside_of_a_workflow() -> None:
    assert (await SQUARES.ainvoke({"words": []}))["words"] == [str(number**2) for number in range(16)]


# ── subgraphs ───────────────────────────────────────────────────────────────────────────────────────────────────


def team() -> Any:
    inner: Any = StateGraph(Words)
    inner.add_node("plan", plan)
    inner.add_node("read", read)
    inner.add_edge(START, "plan")
    inner.add_edge("plan", "read")
    outer: Any = StateGraph(Words)
    outer.add_node("team", inner.compile())
    outer.add_node("search", search)
    outer.add_edge(START, "team")
    outer.add_edge("team", "search")
    return outer


TEAM = durable(team()).compile()
TEAM_AT_ONCE = durable(team(), steps={"team": StepOptions(timeout=60)}).compile()


@workflow
async def lg_teams(ctx: WorkflowContext) -> list[str]:
    return list((await invoke(TEAM, {"words": []}))["words"])


@workflow
async def lg_team_at_once(ctx: WorkflowContext) -> list[str]:
    return list((await invoke(TEAM_AT_ONCE, {"words": []}))["words"])


async def test_the_nodes_of_a_subgraph_are_steps_named_behind_its_node() -> None:
    async with TestApp([lg_teams]) as app:
        handle = await app.start(lg_teams)
        assert await handle.result() == ["plan", "read", "search 2"]
        names = await names_of(app, handle.instance_id)
    assert names == {"node.team.plan": 1, "node.team.read": 1, "node.search": 1}


@pytest.mark.long
async def test_a_subgraph_survives_a_crash_at_every_commit() -> None:
    assert all(one.result == ["plan", "read", "search 2"] for one in await crash_at_every_commit(lg_teams))


# ── entrypoints ─────────────────────────────────────────────────────────────────────────────────────────────────


@task
def doubled(number: int) -> int:
    assert activity_context().attempt > 0
    ran.append("doubled")
    return number * 2


@task
async def added(one: int, *, two: int = 1) -> int:
    ran.append("added")
    return one + two


@entrypoint()
async def counts(number: int) -> list[int]:
    both = await asyncio.gather(doubled(number), added(number, two=5))
    await asyncio.sleep(3600)
    return [*both, await doubled(sum(both))]


COUNTS = durable(counts)


@workflow
async def lg_counts(ctx: WorkflowContext, number: int) -> list[int]:
    return list(await invoke(COUNTS, number))


async def test_the_tasks_of_an_entrypoint_are_steps() -> None:
    async with TestApp([lg_counts]) as app:
        handle = await app.start(lg_counts, 4)
        assert await handle.result() == [8, 9, 34]
        assert await names_of(app, handle.instance_id) == {"task.doubled": 2, "task.added": 1}


@pytest.mark.long
async def test_an_entrypoint_survives_a_crash_at_every_commit() -> None:
    assert all(one.result == [8, 9, 34] for one in await crash_at_every_commit(lg_counts, 4))


# ── what a node has around it ───────────────────────────────────────────────────────────────────────────────────


@dataclass
class Around:
    who: str


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    seen: list[str]


async def looks(
    state: Chat, config: RunnableConfig, runtime: Runtime[Around], *, writer: StreamWriter
) -> dict[str, Any]:
    assert runtime.store is not None
    await runtime.store.aput(("seen",), "who", {"name": runtime.context.who})
    runtime.heartbeat()
    writer({"from": "writer"})
    get_stream_writer()("from the context")
    runtime.stream_writer(3)
    state["messages"].clear()  # changes nothing around it
    item = await runtime.store.aget(("seen",), "who")
    assert item is not None
    return {"seen": [item.value["name"], config.get("metadata", {})["mine"]], "messages": [HumanMessage("two", id="2")]}


def looking() -> Any:
    graph: Any = StateGraph(Chat, context_schema=Around)
    graph.add_node("looks", looks)
    graph.add_edge(START, "looks")
    return graph.compile(store=InMemoryStore())


LOOKS = durable(looking())


@workflow
async def lg_looks(ctx: WorkflowContext) -> list[Any]:
    given: Any = {"messages": [HumanMessage("one", id="1")], "seen": []}
    found: list[Any] = []
    last: Any = None
    stream = LOOKS.astream(given, {"metadata": {"mine": "m"}}, context=Around("ann"), stream_mode=["custom", "values"])
    async for mode, chunk in stream:
        if mode == "custom":
            found.append(chunk)
        else:
            last = chunk
    return [found, last["seen"], [one.text for one in last["messages"]]]


@pytest.mark.parametrize("sticky", [0, 5])
async def test_writer_store_and_runtime_are_live_and_a_replay_streams_the_same(sticky: int) -> None:
    async with TestApp([lg_looks], sticky=sticky) as app:
        found, seen, texts = await app.run(lg_looks)
    assert found == [{"from": "writer"}, "from the context", 3]
    assert seen == ["ann", "m"]
    assert texts == ["one", "two"]
    assert all(one.result == [found, seen, texts] for one in await crash_at_every_commit(lg_looks))


# ── cancelled ───────────────────────────────────────────────────────────────────────────────────────────────────

begun = asyncio.Event()


async def hangs(state: Words) -> Words:
    begun.set()
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        ran.append("stopped")
        raise
    return {"words": []}


def hanging() -> Any:
    graph: Any = StateGraph(Words)
    graph.add_node("hangs", hangs)
    graph.add_edge(START, "hangs")
    return graph


HANGS = durable(hanging()).compile()


@workflow
async def lg_hangs(ctx: WorkflowContext) -> None:
    await invoke(HANGS, {"words": []})


async def test_a_cancelled_workflow_stops_its_node(capfd: pytest.CaptureFixture[str]) -> None:
    begun.clear()
    async with TestApp([lg_hangs]) as app:
        handle = await app.start(lg_hangs)
        await begun.wait()
        await handle.cancel()
        await app.settle()
        assert (await handle.status()) == "cancelled"
    assert ran == ["stopped"]
    assert capfd.readouterr().err == ""
