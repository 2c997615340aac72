"""Errors of nodes: which class the graph gets, what is tried again and how often, and what is refused by name."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false
# LangGraph's packages are typed in part.

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, cast

import pytest
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy, RetryPolicy

from romancy import UsageError, WorkflowContext, WorkflowFailedError, workflow
from romancy.ext.langgraph import StepOptions, durable, invoke
from romancy.retry import RetryPolicy as OurRetry
from romancy.testing import TestApp, crash_at_every_commit

if TYPE_CHECKING:
    from langgraph.errors import NodeError

pytestmark = pytest.mark.anyio

tried: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Begin without an attempt."""
    tried.clear()


class Said(TypedDict):
    said: Annotated[list[str], operator.add]


class BusyError(Exception):
    def __init__(self, place: str) -> None:
        super().__init__(f"busy: {place}")
        self.place = place


async def busy(state: Said) -> Said:
    tried.append("busy")
    raise BusyError("Rome")


async def mends(state: Said, error: NodeError) -> Said:
    return {"said": [f"{error.node}: {type(error.error).__name__}"]}


def graph_of(retry: Any = None, handler: Any = None) -> Any:
    graph: Any = StateGraph(Said)
    more: dict[str, Any] = {} if handler is None else {"error_handler": handler}
    graph.add_node("busy", busy, retry_policy=retry, **more)
    graph.add_edge(START, "busy")
    return graph


RAISES = durable(graph_of(), steps={"busy": StepOptions(retry=OurRetry.fixed(2, 0.01), raises=(BusyError,))}).compile()
THRICE = durable(graph_of(RetryPolicy(initial_interval=0.01, max_attempts=3, retry_on=BusyError))).compile()
NEVER = durable(graph_of(RetryPolicy(max_attempts=3, retry_on=(KeyError,)))).compile()
ALWAYS = durable(graph_of(RetryPolicy(initial_interval=0.01, max_attempts=4, jitter=True))).compile()
MENDED = durable(
    graph_of(handler=mends), steps={"busy": StepOptions(retry=OurRetry.none(), raises=(BusyError,))}
).compile()


@workflow
async def lg_raises(ctx: WorkflowContext, which: str) -> list[str]:
    try:
        found = await invoke({"raises": RAISES, "thrice": THRICE, "never": NEVER, "always": ALWAYS,
                              "mended": MENDED}[which], {"said": []})  # fmt: skip
    except BusyError as error:
        return [type(error).__name__, error.place, error.__notes__[0][:30] if hasattr(error, "__notes__") else ""]
    return list(found["said"])


@pytest.mark.parametrize(("which", "attempts"), [("raises", 2), ("thrice", 3), ("never", 1), ("always", 4)])
async def test_a_node_has_one_layer_of_retries_and_raises_its_own_class(which: str, attempts: int) -> None:
    async with TestApp([lg_raises]) as app:
        assert (await app.run(lg_raises, which))[:2][1:] == ["Rome"]
    assert len(tried) == attempts


async def test_outside_of_workflows_the_retries_are_those_of_the_graph() -> None:
    with pytest.raises(BusyError):
        await THRICE.ainvoke({"said": []})
    assert len(tried) == 3


async def test_an_error_handler_gets_the_error() -> None:
    async with TestApp([lg_raises]) as app:
        assert await app.run(lg_raises, "mended") == ["busy: BusyError"]
    assert len(tried) == 1
    assert all(one.result == ["busy: BusyError"] for one in await crash_at_every_commit(lg_raises, "mended"))


def flaky_one(number: int) -> int:
    tried.append("flaky")
    if len(tried) < 3:
        raise ConnectionError("again")
    return number


flaky: Any = task(retry_policy=RetryPolicy(initial_interval=0.01, max_attempts=3), name="flaky")(cast("Any", flaky_one))


@task
async def outer(number: int) -> int:
    return await inner(number)


@task
async def inner(number: int) -> int:
    return number + 1


@entrypoint()
async def works(which: str) -> int:
    return await (outer(1) if which == "outer" else flaky(7))


WORKS = durable(works)
IN_BODY = durable(works, steps={"outer": False})


@workflow
async def lg_works(ctx: WorkflowContext, which: str) -> int:
    return int(await invoke(IN_BODY if which == "outer" else WORKS, which.removesuffix("!")))


async def test_a_task_has_the_retries_of_its_policy() -> None:
    async with TestApp([lg_works]) as app:
        assert await app.run(lg_works, "flaky") == 7
    assert len(tried) == 3


async def test_a_task_that_calls_a_task_runs_in_the_body() -> None:
    async with TestApp([lg_works]) as app:
        assert await app.run(lg_works, "outer") == 2
        with pytest.raises(WorkflowFailedError, match="task 'outer' is a step, and calls the task 'inner'"):
            await app.run(lg_works, "outer!")


# ── refused ─────────────────────────────────────────────────────────────────────────────────────────────────────


@entrypoint()
def on_a_thread(number: int) -> int:
    return inner(number).result()


def with_cache() -> Any:
    graph: Any = StateGraph(Said)
    graph.add_node("busy", busy, cache_policy=CachePolicy())
    graph.add_edge(START, "busy")
    return graph


@pytest.mark.parametrize(
    ("makes", "text"),
    [
        (lambda: durable(on_a_thread), "entrypoint 'on_a_thread' is a plain function"),
        (lambda: durable(with_cache()), "node 'busy' has a cache_policy"),
        (lambda: durable(graph_of(), steps={"bsuy": StepOptions()}), r"steps\['bsuy'\]: the graph has no such node"),
        (lambda: durable(graph_of(), steps={"busy": True}), r"steps\['busy'\] is StepOptions"),
        (lambda: durable(graph_of(), steps=[]), "steps= takes a dict"),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        (lambda: durable(busy), "not function"),  # type: ignore[type-var] # pyright: ignore[reportArgumentType]
        (lambda: durable(graph_of([RetryPolicy(), RetryPolicy()])), "node 'busy' has 2 retry policies"),
    ],
)
def test_what_cannot_be_durable_is_refused_by_name(makes: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        makes()


def test_the_graph_itself_is_left_as_it_is() -> None:
    graph = graph_of(RetryPolicy())
    before = (dict(graph.nodes), graph.nodes["busy"].runnable, graph.nodes["busy"].retry_policy)
    durable(graph, steps={"busy": StepOptions(timeout=1)})
    assert (dict(graph.nodes), graph.nodes["busy"].runnable, graph.nodes["busy"].retry_policy) == before
