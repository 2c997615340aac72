"""Runs a graph to its end, and asks people what it interrupts itself for."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# LangGraph's packages are typed in part.

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, Interrupt

from romancy.context import current_workflow, in_workflow
from romancy.errors import EventTimeoutError, RefusedError, UsageError
from romancy.ext.langgraph._inside import separate
from romancy.ext.langgraph._values import NotStoredError, written
from romancy.serialization import misfit

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.pregel import Pregel

    from romancy.retry import Duration

__all__ = ["Answering", "invoke"]

Answering = Callable[["Interrupt[Any]"], Awaitable[Any]]
_INTERRUPTS: Final = "__interrupt__"
_MOST: Final = 12_000
"""Characters of a question."""


async def invoke(
    graph: Pregel[Any, Any, Any, Any],
    input: Any,
    config: RunnableConfig | None = None,
    *,
    context: Any = None,
    ask: Answering | None = None,
    model: Any = Any,
    name: str = "interrupt",
    to: str | None = None,
    timeout: Duration | None = None,
) -> Any:
    """Run a graph in the body of a workflow, and return what `graph.ainvoke` returns at its end.

    What the graph interrupts itself for is asked by `ctx.ask`, with `model`, `name`, `to` and `timeout`, and its
    answer is what `interrupt()` returns. Each call of a tool that LangChain's `HumanInTheLoopMiddleware` wants to have
    approved is a question of its own, answered by yes or no. `ask` answers in another way.

    Raises RefusedError if somebody refuses to answer, and EventTimeoutError if nobody answers in time. What is asked
    about a tool is denied instead. Outside of workflows it is `graph.ainvoke`.
    """
    if not in_workflow():
        return await graph.ainvoke(input, config, context=context)
    answering = ask or _Asking(model, name, to, timeout)
    running: Any = graph.copy({"checkpointer": InMemorySaver(serde=cast("Any", _Kept()))})
    given: dict[str, Any] = dict(config.items()) if config is not None else {}
    given["configurable"] = {"thread_id": current_workflow().instance_id, **given.get("configurable", {})}
    following = input
    while True:
        result = await running.ainvoke(following, given, context=context, durability="exit")
        if not isinstance(result, dict) or _INTERRUPTS not in result:
            return cast("Any", result)
        waiting = cast("list[Interrupt[Any]]", result[_INTERRUPTS])
        answers = await asyncio.gather(*(answering(one) for one in waiting))
        following = Command(resume={one.id: answer for one, answer in zip(waiting, answers, strict=True)})


class _Asking:
    """Answers interrupts by questions of the workflow."""

    def __init__(self, model: Any, name: str, to: str | None, limit: Duration | None) -> None:
        self._model = model
        self._name = name
        self._to = to
        self._limit = limit

    async def __call__(self, interrupt: Interrupt[Any]) -> Any:
        value = interrupt.value
        if isinstance(value, dict) and isinstance(cast("Any", value).get("action_requests"), list):
            calls = cast("list[dict[str, Any]]", value["action_requests"])
            return {"decisions": list(await asyncio.gather(*(self._decision(call) for call in calls)))}
        return await self._answer(_text(cast("Any", value)), getattr(interrupt, "response_schema", None))

    async def _answer(self, text: str, schema: Any) -> Any:
        question = text
        while True:
            answer = await current_workflow().ask(
                question, model=self._model, name=self._name, to=self._to, timeout=self._limit
            )
            fault = misfit(schema, answer) if isinstance(schema, dict) else None
            if not fault:
                return answer
            question = f"{text} (the former answer does not fit: {fault})"

    async def _decision(self, call: dict[str, Any]) -> dict[str, Any]:
        text = f"May {call['name']} be called with {_text(call.get('args') or {})}?"
        try:
            approved = await current_workflow().ask(text, name="approval", to=self._to, timeout=self._limit)
        except RefusedError as refused:
            return {"type": "reject", "message": refused.reason} if refused.reason else {"type": "reject"}
        except EventTimeoutError:
            return {"type": "reject", "message": "nobody answered in time"}
        return {"type": "approve" if approved else "reject"}


def _text(value: object) -> str:
    """What people are asked."""
    if isinstance(value, str):
        return value if len(value) <= _MOST else f"{value[:_MOST]} …"
    try:
        plain: object = written(value, "interrupt")
    except NotStoredError as error:
        raise UsageError(f"{error}; give interrupt() what is JSON") from error
    return _text(msgspec.json.encode(plain).decode())


class _Kept:
    """Keeps the state of a run in memory, as it is: the log of the workflow is what lasts."""

    def __init__(self) -> None:
        self._values: list[Any] = []

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        self._values.append(separate(obj))
        return "kept", str(len(self._values) - 1).encode()

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return separate(self._values[int(data[1])])
