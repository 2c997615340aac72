"""Graphs that interrupt themselves: each interrupt is a question of the workflow, asked once and answered once."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false
# LangGraph's packages are typed in part.

from __future__ import annotations

import asyncio
import operator
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import pytest
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from romancy import EventTimeoutError, Question, RefusedError, WorkflowContext, WorkflowFailedError, workflow
from romancy.ext.langgraph import StepOptions, durable, invoke
from romancy.retry import RetryPolicy
from romancy.testing import TestApp, crash_at_every_commit

if TYPE_CHECKING:
    from romancy import Handle

pytestmark = pytest.mark.anyio

done: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def forget() -> None:
    """Begin with nothing done."""
    done.clear()


class Said(TypedDict):
    said: Annotated[list[Any], operator.add]


async def draft(state: Said) -> Said:
    done["draft"] += 1
    return {"said": ["draft"]}


async def twice(state: Said) -> Said:
    first = interrupt("first?")
    second = interrupt({"after": first})
    done["twice"] += 1
    return {"said": [first, second]}


def plain(state: Said) -> Said:
    return {"said": [interrupt("plain?")]}


def in_body(state: Said) -> Said:
    return {"said": [interrupt("body?")]}


def inner() -> Any:
    graph: Any = StateGraph(Said)
    graph.add_node("draft", draft)
    graph.add_node("plain", plain)
    graph.add_edge(START, "draft")
    graph.add_edge("draft", "plain")
    return graph.compile()


def asking() -> Any:
    graph: Any = StateGraph(Said)
    graph.add_node("draft", draft)
    graph.add_node("twice", twice)
    graph.add_node("plain", plain)
    graph.add_node("in_body", in_body)
    graph.add_node("inner", inner())
    graph.add_edge(START, "draft")
    graph.add_edge("draft", "twice")
    graph.add_edge("draft", "plain")
    graph.add_edge(["twice", "plain"], "in_body")
    graph.add_edge("in_body", "inner")
    return graph


ASKS = durable(asking(), steps={"in_body": False}).compile()


@workflow
async def lg_asks(ctx: WorkflowContext) -> list[Any]:
    return list((await invoke(ASKS, {"said": []}, to="ann", timeout=3600))["said"])


async def open_ones(app: TestApp) -> dict[str, Question]:
    await app.settle()
    return {one.question: one for one in (await app.questions()).questions}


async def answered(app: TestApp, **answers: Any) -> None:
    found = await open_ones(app)
    assert {text.rstrip("?") for text in found} == set(answers)
    for text, question in found.items():
        await app.answer(question.token, answers[text.rstrip("?")])


async def test_interrupts_are_questions_two_at_once_and_one_after_another() -> None:
    async with TestApp([lg_asks]) as app:
        handle = await app.start(lg_asks)
        found = await open_ones(app)
        assert {(one.to, one.name) for one in found.values()} == {("ann", "interrupt")}
        await answered(app, first=1, plain=2)
        await answered(app, **{'{"after":1}': {"x": [3]}})
        await answered(app, body=None)
        await answered(app, plain="last")
        said = await handle.result()
    assert said[0] == "draft"
    assert said[-1] == "last"
    assert done == {"draft": 2, "twice": 1}


@pytest.mark.long
async def test_a_crash_at_each_commit_asks_once() -> None:
    async def drive(app: TestApp, handle: Handle[Any]) -> None:
        while found := await open_ones(app):
            for text, question in found.items():
                await app.answer(question.token, text)
        assert len(await handle.result()) > 6

    crashes = await crash_at_every_commit(lg_asks.bind(), drive=drive)
    assert len(crashes) > 15
    assert len({str(one.result) for one in crashes}) == 1


@workflow
async def lg_catches(ctx: WorkflowContext) -> str:
    try:
        await invoke(ASKS, {"said": []}, timeout=3600)
    except RefusedError as refused:
        return f"refused: {refused.reason}"
    except EventTimeoutError:
        return "nobody"
    return "answered"


async def test_a_refusal_and_silence_reach_the_body() -> None:
    async with TestApp([lg_catches]) as app:
        handle = await app.start(lg_catches)
        await app.refuse((await open_ones(app))["plain?"].token, "no time")
        assert await handle.result() == "refused: no time"
        handle = await app.start(lg_catches)
        await open_ones(app)
        await app.advance(3700)
        assert await handle.result() == "nobody"


# ── entrypoints ─────────────────────────────────────────────────────────────────────────────────────────────────


@task
async def works(number: int) -> int:
    done[f"works {number}"] += 1
    return number


@entrypoint()
async def reviews(number: int) -> list[Any]:
    both = await asyncio.gather(works(number), works(number + 1))
    first = interrupt({"both": both})
    more = await works(10)
    return [*both, first, more, interrupt("more?")]


REVIEWS = durable(reviews)


@workflow
async def lg_reviews(ctx: WorkflowContext) -> list[Any]:
    return list(await invoke(REVIEWS, 1, model=str))


async def test_an_entrypoint_goes_on_behind_its_interrupt_and_repeats_no_task() -> None:
    async def drive(app: TestApp, handle: Handle[Any]) -> None:
        while found := await open_ones(app):
            for question in found.values():
                assert question.schema == {"type": "string"}
                await app.answer(question.token, "yes")
        assert await handle.result() == [1, 2, "yes", 10, "yes"]

    async with TestApp([lg_reviews]) as app:
        await drive(app, await app.start(lg_reviews))
    assert done == {"works 1": 1, "works 2": 1, "works 10": 1}
    assert len(await crash_at_every_commit(lg_reviews.bind(), drive=drive)) > 8


# ── answered otherwise ──────────────────────────────────────────────────────────────────────────────────────────


@workflow
async def lg_decides(ctx: WorkflowContext) -> list[Any]:
    async def decide(asked: Any) -> str:
        return f"{asked.value}!"

    return list((await invoke(ASKS, {"said": []}, ask=decide))["said"])


async def test_a_function_of_the_body_may_answer() -> None:
    async with TestApp([lg_decides]) as app:
        said = await app.run(lg_decides)
    assert "first?!" in said
    assert "{'after': 'first?!'}!" in said


@workflow
async def lg_sees(ctx: WorkflowContext) -> list[str]:
    result = await ASKS.ainvoke({"said": []})
    return sorted(str(one.value) for one in result["__interrupt__"])


async def test_without_invoke_the_interrupts_are_those_of_the_graph() -> None:
    async with TestApp([lg_sees]) as app:
        assert await app.run(lg_sees) == ["first?", "plain?"]


# ── a graph within a node ───────────────────────────────────────────────────────────────────────────────────────

HIDDEN = inner()


async def hides(state: Said) -> Any:
    return await HIDDEN.ainvoke({"said": []})


def hiding(**steps: Any) -> Any:
    graph: Any = StateGraph(Said)
    graph.add_node("hides", hides)
    graph.add_edge(START, "hides")
    return durable(graph, steps=steps or None).compile()


HIDES = hiding(hides=StepOptions(retry=RetryPolicy.fixed(3, 0.01)))


@workflow
async def lg_hides(ctx: WorkflowContext) -> None:
    await invoke(HIDES, {"said": []})


async def test_an_interrupt_of_a_graph_that_a_step_runs_is_refused_by_name() -> None:
    async with TestApp([lg_hides]) as app:
        with pytest.raises(WorkflowFailedError, match="node 'hides' is a step, and a graph that it runs"):
            await app.run(lg_hides)
    assert done["draft"] == 1
