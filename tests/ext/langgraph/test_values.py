"""What nodes may return: what is read back equal, and what is refused by the name of its node."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false
# LangGraph's packages are typed in part.

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict, defaultdict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send
from pydantic import BaseModel, Field

from romancy import SerializationError, WorkflowContext, WorkflowFailedError, workflow
from romancy.ext.langgraph import durable, invoke
from romancy.ext.langgraph._values import NotStoredError, read, written
from romancy.testing import TestApp

pytestmark = pytest.mark.anyio


class Colour(Enum):
    RED = 1


class Size(StrEnum):
    BIG = "big"


class Point(NamedTuple):
    x: int
    y: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    name: str
    of: list[Any] = dataclasses.field(default_factory=list[Any])


class Trip(BaseModel):
    model_config = {"extra": "allow"}
    city: str = Field(alias="town", default="Rome")
    parts: list[Any] = []


class Counted(int):
    pass


GOOD: list[Any] = [
    None, True, 1, 10**40, 1.0, -0.5, "a", [], {}, {"a": [1, {"b": None}]},
    {"$": "not ours"}, {1: "one", (1, 2): "pair"}, (1, [2]), {1, 2}, frozenset({"a"}), b"\x00\xff",
    date(2026, 1, 2),
    datetime(2026, 1, 2, 3, tzinfo=UTC), datetime.fromisoformat("2026-01-02"), time(1, 2), timedelta(-1, 2, 3),
    Decimal("1.10"), UUID(int=5), Colour.RED, Size.BIG, Point(1, (2,)), Part("p", [Part("q", [Colour.RED])]),
    Trip.model_validate({"town": "Oslo", "parts": [HumanMessage("h"), date(2026, 1, 2)], "more": 1}),
    HumanMessage([{"type": "text", "text": "x"}], id="1"), SystemMessage("s"), RemoveMessage(id="1"),
    AIMessage(
        "x",
        tool_calls=[{"name": "a", "args": {"x": 1}, "id": "i", "type": "tool_call"}],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        response_metadata={"model_name": "m"},
    ),
    AIMessageChunk(content="part"), ChatMessage(content="c", role="r"), FunctionMessage(content="f", name="n"),
    ToolMessage("t", tool_call_id="i", artifact={"when": date(2026, 1, 2)}, status="error"),
    Document("text", metadata={"page": 1}), Send("node", {"m": HumanMessage("h")}),
    Command(update={"messages": [AIMessage("a")]}, goto=[Send("x", 1), "y"], graph=Command.PARENT),
]  # fmt: skip


@pytest.mark.parametrize("value", GOOD, ids=lambda value: type(value).__name__)
def test_a_value_is_read_back_equal_and_of_its_type(value: Any) -> None:
    raw = msgspec.json.encode(written([value]))
    (back,) = read(msgspec.json.decode(raw))
    assert back == value
    assert type(back) is type(value)
    assert msgspec.json.encode(written([back])) == raw


class Private(BaseModel):
    _hidden: int = 0


def hidden() -> Private:
    made = Private()
    setattr(made, "_hidden", 7)  # noqa: B010 - what a type checker forbids
    return made


class Odd(HumanMessage):
    pass


def local() -> Any:
    @dataclasses.dataclass
    class Here:
        x: int

    return Here(1)


BAD: list[tuple[Any, str]] = [
    (float("nan"), "result.a is nan, and JSON has no such number"),
    (object(), "result.a is of builtins.object, which cannot be stored"),
    (Counted(1), r"result.a is of tests\..*Counted"),
    (OrderedDict(a=1), "OrderedDict"),
    (defaultdict(list), "defaultdict"),
    (threading.Lock(), "lock"),
    (Part("p", [1, {"x": {object()}}]), r"result.a.of\[1\].x\[0\]"),
    (ToolMessage("t", tool_call_id="i", artifact=object()), "result.a.artifact"),
    (Odd(content="x"), "another Odd"),
    (hidden(), "another Private"),
    (local(), "define it there"),
    (lambda: 1, "function"),
]


@pytest.mark.parametrize(("value", "text"), BAD, ids=lambda value: type(value).__name__)
def test_what_would_not_be_read_back_equal_is_refused_where_it_is(value: Any, text: str) -> None:
    with pytest.raises(NotStoredError, match=text):
        written({"a": value})


@pytest.mark.parametrize("name", ["os:system", "nowhere:Thing", "builtins:object", "subprocess:Popen"])
def test_the_log_names_no_class_but_one_of_data(name: str) -> None:
    with pytest.raises(SerializationError, match="no module that is imported has this class"):
        read({"$": "object", "of": name, "fields": {}})


async def returns(state: dict[str, Any]) -> Any:
    ran.append(1)
    return {"value": state["value"]}


ran: list[int] = []


class Held(BaseModel):
    value: Any = None


def graph_of(schema: Any) -> Any:
    async def holds(state: Any) -> Any:
        ran.append(1)
        return {"value": threading.Lock() if state.value == "lock" else Held(value=state.value)}

    graph: Any = StateGraph(schema)
    graph.add_node("holds", holds)
    graph.add_edge(START, "holds")
    return durable(graph).compile()


HOLDS = graph_of(Held)


@workflow
async def lg_holds(ctx: WorkflowContext, value: str) -> str:
    return str((await invoke(HOLDS, {"value": value}))["value"].value)


async def test_a_result_that_cannot_be_stored_names_its_node_and_is_not_tried_again() -> None:
    ran.clear()
    async with TestApp([lg_holds]) as app:
        assert await app.run(lg_holds, "a") == "a"
        with pytest.raises(WorkflowFailedError, match=r"node 'holds': result.value is of _thread.lock, which cannot"):
            await app.run(lg_holds, "lock")
    assert len(ran) == 2
