"""What a node has around it in its step: the runtime of its graph, whose effects on the graph wait for the body."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# LangGraph's packages are typed in part.

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final, cast

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables.config import var_child_runnable_config
from langgraph._internal import _constants as names
from langgraph.prebuilt.tool_node import ToolRuntime
from langgraph.runtime import Runtime
from pydantic import BaseModel

from romancy.attempt_context import activity_context
from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.runnables import RunnableConfig
    from langgraph._internal._scratchpad import PregelScratchpad

__all__ = ["Inside", "separate"]

_OF_THE_BODY: Final = (
    names.CONFIG_KEY_CHECKPOINTER,
    names.CONFIG_KEY_STREAM,
    names.CONFIG_KEY_RUNNER_SUBMIT,
)
"""What reaches into the run of the graph, which goes on in the body."""


class Inside:
    """The surroundings of one attempt."""

    def __init__(self, what: str, config: RunnableConfig, answers: list[Any]) -> None:
        """`config` is that of the node in the body, and `answers` are those to its interrupts so far."""
        self._what = what
        self._answers = answers
        self.wrote: list[Any] = []
        """What the node has written for those who stream the graph."""
        self.asked = 0
        """How many interrupts the node has come to."""
        self.config = self._adapted_config(config)

    def enter(self) -> None:
        """Make this what LangGraph finds in the context of the attempt."""
        var_child_runnable_config.set(self.config)

    def adapted(self, value: Any) -> Any:
        """An argument of the node as the attempt gets it."""
        if isinstance(value, (Runtime, ToolRuntime)):
            return self._adapted_runtime(value)
        if isinstance(value, dict) and names.CONF in value and "callbacks" in value:
            return self.config
        return separate(value)

    def adapted_keyword(self, name: str, value: Any) -> Any:
        if name == "writer":
            return self.wrote.append
        if name == "config":
            return self.config
        if name in ("store", "previous", "error"):
            return value
        return self.adapted(value)

    @property
    def is_interrupted(self) -> bool:
        """Whether the node itself has come to an interrupt without an answer, and not a graph that it runs."""
        return self.asked > len(self._answers)

    def _adapted_runtime(self, runtime: Any) -> Any:
        changed = copy.copy(runtime)
        object.__setattr__(changed, "stream_writer", self.wrote.append)
        if hasattr(changed, "heartbeat"):
            object.__setattr__(changed, "heartbeat", _heartbeat)
        if isinstance(getattr(changed, "config", None), dict):  # a ToolRuntime
            object.__setattr__(changed, "config", self._adapted_config(changed.config))
        return changed

    def _adapted_config(self, config: RunnableConfig) -> RunnableConfig:
        of_graph: dict[str, Any] = dict(config.get(names.CONF, {}))
        for name in _OF_THE_BODY:
            of_graph.pop(name, None)
        of_graph[names.CONFIG_KEY_CALL] = self._refuse_task
        of_graph[names.CONFIG_KEY_SEND] = _keep_nothing
        if (scratchpad := of_graph.get(names.CONFIG_KEY_SCRATCHPAD)) is not None:
            of_graph[names.CONFIG_KEY_SCRATCHPAD] = self._adapted_scratchpad(scratchpad)
        if isinstance(runtime := of_graph.get(names.CONFIG_KEY_RUNTIME), Runtime):
            of_graph[names.CONFIG_KEY_RUNTIME] = self._adapted_runtime(runtime)
        adapted = cast("RunnableConfig", {**config, names.CONF: of_graph})
        if isinstance(callbacks := config.get("callbacks"), BaseCallbackManager):
            adapted["callbacks"] = _without_streams(callbacks)
        return adapted

    def _adapted_scratchpad(self, scratchpad: PregelScratchpad) -> PregelScratchpad:
        changed = copy.copy(scratchpad)
        for name, value in {
            "interrupt_counter": self._next_interrupt,
            "resume": list(self._answers),
            "get_null_resume": _nothing,
        }.items():
            object.__setattr__(changed, name, value)
        return changed

    def _next_interrupt(self) -> int:
        self.asked += 1
        return self.asked - 1

    def _refuse_task(self, func: Callable[..., Any], *_: Any, **__: Any) -> Any:
        name = getattr(func, "__name__", func)
        raise UsageError(
            f"{self._what} is a step, and calls the task {name!r}, which would be no step of its own: run the former "
            "in the body, by steps={…: False}, or call the function of the task"
        )


def separate(value: Any) -> Any:
    """A copy of the containers, so that an attempt which changes them changes nothing in the body."""
    kind: Any = type(value)
    if kind is dict:
        return {name: separate(one) for name, one in value.items()}
    if kind in (list, set, tuple):
        return kind(separate(one) for one in value)
    if isinstance(value, BaseModel):
        return copy.copy(value)
    return value


def _without_streams(callbacks: BaseCallbackManager) -> BaseCallbackManager:
    """The callbacks of the program, without those by which LangGraph streams what a model says: a replay has none."""
    changed = callbacks.copy()
    for handler in list(changed.handlers):
        if type(handler).__module__.startswith("langgraph."):
            changed.remove_handler(handler)
    return changed


def _heartbeat() -> None:
    activity_context().heartbeat()


def _nothing(_consume: bool = False) -> None:  # noqa: FBT001, FBT002 - as LangGraph calls it
    return None


def _keep_nothing(_writes: object) -> None:
    """An answer that a node has used is told to the graph by the body."""
