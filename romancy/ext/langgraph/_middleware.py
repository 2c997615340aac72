"""LangChain's agents: each model call and each tool call of `create_agent` is a step."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# LangGraph's packages are typed in part.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

try:
    from langchain.agents.middleware import AgentMiddleware
except ModuleNotFoundError as error:
    if error.name is None or not error.name.startswith("langchain"):
        raise
    raise ModuleNotFoundError(
        f"DurableMiddleware needs {error.name}; install LangChain: pip install langchain", name=error.name
    ) from None
from langgraph.config import get_config

from romancy.activity import Activity
from romancy.context import in_workflow
from romancy.errors import UsageError
from romancy.ext.langgraph._options import StepOptions, with_policy
from romancy.ext.langgraph._steps import stepped
from romancy.ext.langgraph._threads import forbid_threads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langchain.agents.middleware import ModelRequest, ModelResponse
    from langchain.agents.middleware.types import ExtendedModelResponse
    from langchain_core.messages import AIMessage, ToolMessage
    from langgraph.prebuilt.tool_node import ToolCallRequest
    from langgraph.types import Command

__all__ = ["DurableMiddleware"]

_KEY: Final = "romancy"
_AS_ALWAYS: Final = StepOptions()
_LARGEST: Final = 16_000
_CUTS: Final = (8_000, 2_000, 400)
"""How many characters of a prompt are shown, if all of them do not fit."""
_MOST_PROMPTS: Final = 12


class DurableMiddleware(AgentMiddleware[Any, Any, Any]):
    """Makes each model call and each tool call of an agent a step of the workflow whose body runs it.

    Give it as the last of the agent's middleware: what the others do then runs in the body. Outside of workflows the
    agent is what it was.
    """

    def __init__(
        self, *, model: StepOptions = _AS_ALWAYS, tools: StepOptions = _AS_ALWAYS, show_prompts: bool = True
    ) -> None:
        """`model` and `tools` are the options of the steps. `show_prompts=False` keeps prompts out of what is shown."""
        super().__init__()
        forbid_threads()
        self._model = with_policy(model, None, "model")
        self._tools = tools
        self._show_prompts = show_prompts

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Any]) -> Any:
        """Outside of workflows, the call as it is."""
        return handler(request)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | AIMessage | ExtendedModelResponse[Any]:
        """In the body of a workflow, a step."""
        if not in_workflow():
            return await handler(request)

        async def calls(runtime: Any) -> Any:
            return await handler(_with(request, runtime))

        agent = _agent()
        return cast(
            "ModelResponse[Any]",
            await stepped(
                f"{agent}__model.request",
                f"the model of {agent!r}",
                calls,
                (request.runtime,),
                {},
                self._model,
                self._about_model(agent, request),
            ),
        )

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        """Outside of workflows, the call as it is."""
        return handler(request)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """In the body of a workflow, a step, unless the tool says that it runs in the body."""
        name = request.tool_call["name"]
        options = self._of_tool(request.tool, name) if in_workflow() else None
        if options is None:
            return await handler(request)

        async def calls(runtime: Any) -> Any:
            its_config: dict[str, Any] = cast("Any", request.runtime.config)
            kept = dict(its_config)
            its_config.update(runtime.config)  # the handler has this dict, which is of this call alone
            try:
                return await handler(_with(request, runtime))
            finally:
                its_config.clear()
                its_config.update(kept)

        agent, what = _agent(), f"tool {name!r}"
        about = {"agent": agent, "turn": _turn(), "tool": name, "call": request.tool_call["id"]}
        result = await stepped(
            f"{agent}__call_tool:{name}",
            what,
            calls,
            (request.runtime,),
            {},
            with_policy(options, None, what),
            about,
        )
        return cast("ToolMessage", result)

    def _of_tool(self, tool: Any, name: str) -> StepOptions | None:
        """The options of a step of this tool; None if the body makes the call."""
        said: dict[str, object] = getattr(tool, "metadata", None) or {}
        given = said.get(_KEY)
        is_activity = isinstance(getattr(tool, "coroutine", None), Activity)
        if given is None:
            return None if is_activity else self._tools
        if given == "workflow":
            return None
        if not isinstance(given, StepOptions):
            raise UsageError(f"tool {name!r}: metadata[{_KEY!r}] is 'workflow' or StepOptions(…), not {given!r}")
        if is_activity:
            raise UsageError(f"tool {name!r} is an activity: give it its options by @activity, not by StepOptions")
        return given

    def _about_model(self, agent: str, request: ModelRequest[Any]) -> dict[str, Any]:
        told: dict[str, Any] = {"agent": agent, "turn": _turn(), "model": _model_name(request.model)}
        if not self._show_prompts:
            return told
        asked = _prompts(request)
        for cut in _CUTS:
            shown = told | {"prompts": [[role, text if len(text) <= cut else f"{text[:cut]}…"] for role, text in asked]}
            if asked and len(msgspec.json.encode(shown)) <= _LARGEST:
                return shown
        return told


def _with(request: Any, runtime: Any) -> Any:
    """The request with the runtime of its attempt."""
    return request.override(runtime=runtime)


def _agent() -> str:
    name: object = get_config().get("metadata", {}).get("lc_agent_name")
    return name if isinstance(name, str) and name else "agent"


def _turn() -> Any:
    return get_config().get("metadata", {}).get("langgraph_step")


def _model_name(model: Any) -> str:
    for attribute in ("model_name", "model"):
        if isinstance(name := getattr(model, attribute, None), str):
            return name
    return type(model).__name__


def _prompts(request: ModelRequest[Any]) -> list[list[str]]:
    """What is new in this request beside the results of tools, which their own steps have."""
    new: list[list[str]] = []
    for message in reversed(request.messages):
        if message.type == "ai":
            break
        if message.type != "tool":
            new.append(["user" if message.type == "human" else message.type, str(message.text)])
    new.reverse()
    is_first = all(one.type != "ai" for one in request.messages)
    if is_first and request.system_message is not None:
        new.insert(0, ["system", str(request.system_message.text)])
    return new[-_MOST_PROMPTS:]
