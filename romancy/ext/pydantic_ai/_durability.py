"""The capability that makes an agent durable."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic_ai._utils import disable_threads
from pydantic_ai.durable_exec import (
    BaseDurabilityCapability,
    DurabilityEngineSpec,
    RoleBasedOperationConfig,
    ToolsetCallToolId,
    ToolsetGetToolsId,
    ToolsetValidateToolArgumentsId,
    conversation_id_from_run_id,
    replay_scope,
)
from pydantic_ai.durable_exec._base import MODEL_RESPONSE_STREAM_EVENT_TYPES
from pydantic_ai.external_events import external_event_scope
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.tools import AgentDepsT, ToolDefinition
from pydantic_ai.toolsets.function import FunctionToolsetTool

from romancy.activity import Activity
from romancy.context import current_workflow, in_workflow
from romancy.errors import UsageError
from romancy.ext._agents.options import StepOptions, merged
from romancy.ext.pydantic_ai._backend import CODEC, NotJsonError, StepBackend
from romancy.ext.pydantic_ai._events import AgentEvent, LiveEvent, live_events, tell, telling
from romancy.ext.pydantic_ai._inbox import Questions

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
    from datetime import datetime

    from pydantic_ai.agent import EventStreamHandler
    from pydantic_ai.capabilities.abstract import WrapRunHandler
    from pydantic_ai.durable_exec import DurableOperationId, ToolsetKind
    from pydantic_ai.durable_exec._toolset import DurableDynamicToolset, DurableMCPToolset
    from pydantic_ai.mcp import MCPToolset
    from pydantic_ai.messages import AgentStreamEvent
    from pydantic_ai.models import Model, ModelRequestContext
    from pydantic_ai.run import AgentRunResult
    from pydantic_ai.settings import ModelSettings
    from pydantic_ai.tools import RunContext
    from pydantic_ai.toolsets import AbstractToolset
    from pydantic_ai.toolsets._dynamic import DynamicToolset

    from romancy.handle import Handle
    from romancy.stream import Stream

__all__ = ["RomancyDurability"]

_KINDS: Final[frozenset[ToolsetKind]] = frozenset({"function", "mcp", "dynamic"})
_KEY: Final = "romancy"
_AS_ALWAYS: Final = StepOptions()


class RomancyDurability(BaseDurabilityCapability[AgentDepsT]):
    """Makes each model request and each call of a tool a step of the workflow whose body runs the agent.

    Outside of workflows the agent is what it was. The agent needs a name, and each of its MCP and dynamic toolsets an
    id: the log has both.
    """

    engine_spec: ClassVar[DurabilityEngineSpec] = DurabilityEngineSpec(
        engine_name="Romancy",
        durable_unit_noun="step",
        durable_container_noun="workflow",
        codec=CODEC,
        serialization_failure=NotJsonError,
        wrapped_toolset_kinds=_KINDS,
        toolset_lifecycles={"function": "enter-never", "mcp": "enter-never", "dynamic": "enter-never"},
        unsupported_runtime_toolset_kinds=frozenset({"function", "mcp", "dynamic"}),
        tool_config_key=_KEY,
    )

    def __init__(
        self,
        *,
        models: Mapping[str, Model] | None = None,
        event_stream_handler: EventStreamHandler[AgentDepsT] | None = None,
        name: str | None = None,
        stream: Stream[AgentEvent] | None = None,
        model: StepOptions = _AS_ALWAYS,
        tools: StepOptions = _AS_ALWAYS,
        mcp: StepOptions = _AS_ALWAYS,
        show_prompts: bool = True,
    ) -> None:
        """`models` are further models, by the names that runs ask for them with. `name` is the agent's in the log.

        `event_stream_handler` gets what a model says in the step of its request, as it comes, and all other events in
        the body, once. With a `stream`, as `AGENT_EVENTS`, they are written to it, for `events`.

        `model`, `tools` and `mcp` are the options of the steps. `show_prompts=False` keeps prompts out of what is shown
        with the steps.
        """
        super().__init__(models=models, event_stream_handler=event_stream_handler, name=name)
        self._stream = stream
        self._model = model
        self._tools = tools
        self._mcp = mcp
        self._servers: dict[str, MCPToolset[AgentDepsT]] = {}
        self._show_prompts = show_prompts

    @property
    def in_durable_context(self) -> bool:
        return in_workflow()

    def get_default_run_id(self) -> str | None:
        return str(current_workflow().uuid4()) if in_workflow() else None

    def get_default_conversation_id(self, run_id: str) -> str | None:
        return conversation_id_from_run_id(run_id) if in_workflow() else None

    def get_run_clock(self) -> Callable[[], datetime] | None:
        return current_workflow().now if in_workflow() else None

    async def wrap_run(self, ctx: RunContext[AgentDepsT], *, handler: WrapRunHandler) -> AgentRunResult[Any]:
        if not in_workflow():
            return await handler()
        workflow = current_workflow()
        replays, waiter = replay_scope(is_replaying=lambda: workflow.is_replaying), Questions(self.name)
        with disable_threads(), replays, external_event_scope(waiter):
            return await super().wrap_run(ctx, handler=handler)

    def events(self, handle: Handle[Any], *, after: str | None = None, follow: bool = True) -> AsyncIterator[LiveEvent]:
        """What the runs of an instance have told and, with `follow`, tell until its end.

        A `discard` says: forget what `source` has told, its attempt has failed or was lost.
        """
        if self._stream is None:
            raise UsageError("this agent tells no events: give it RomancyDurability(stream=AGENT_EVENTS)")
        return live_events(handle, self._stream, after=after, follow=follow)

    def _model_stream_event_handler(self) -> EventStreamHandler[AgentDepsT] | None:
        handler = super()._model_stream_event_handler()
        return handler if self._stream is None else telling(self._stream, self.name, handler)

    @property
    def has_wrap_run_event_stream(self) -> bool:
        return super().has_wrap_run_event_stream or (self._stream is not None and in_workflow())

    async def wrap_run_event_stream(
        self, ctx: RunContext[AgentDepsT], *, stream: AsyncIterable[AgentStreamEvent]
    ) -> AsyncIterable[AgentStreamEvent]:
        """Pass the events of a run on, and tell those that no step of a model tells."""
        told = self._stream if in_workflow() else None
        async for event in super().wrap_run_event_stream(ctx, stream=stream):
            if told is not None and not isinstance(event, MODEL_RESPONSE_STREAM_EVENT_TYPES):
                await tell(told, self.name, ctx, event)
            yield event

    async def _dispatch_event_stream_event(self, ctx: RunContext[AgentDepsT], event: AgentStreamEvent) -> None:
        """Events of the run are no steps: the body tells them, and a replay does not tell them again."""
        handler = self._effective_event_stream_handler()
        if handler is not None and not current_workflow().is_replaying:
            await handler(ctx, _alone(event))

    async def prepare_model_request(
        self, ctx: RunContext[AgentDepsT], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """One attempt of a step is one request: the provider's client has no retries of its own."""
        if in_workflow() and "max_retries" not in _itself(request_context.model).unsupported_settings:
            once: ModelSettings = {"max_retries": 0}
            request_context.model_settings = once | (request_context.model_settings or {})
        return await super().prepare_model_request(ctx, request_context)

    def get_durable_operation_backend(self) -> StepBackend:
        return StepBackend(
            agent_name=self.name,
            default_model_id=self.default_model_id,
            config=RoleBasedOperationConfig[StepOptions](
                model=self._model,
                event=self._tools,
                capability=self._tools,
                tool=self._tools,
                resolve_tool=self._of_tool,
            ),
            servers=self._servers,
            show_prompts=self._show_prompts,
        )

    def _build_mcp_toolset(self, toolset: MCPToolset[AgentDepsT]) -> DurableMCPToolset[AgentDepsT]:
        if toolset.id is not None and not toolset._resolves_per_run:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            self._servers = {**self._servers, toolset.id: toolset}  # a copy of this capability has its own
        return super()._build_mcp_toolset(toolset)

    def _build_dynamic_toolset(self, toolset: DynamicToolset[AgentDepsT]) -> DurableDynamicToolset[AgentDepsT]:
        built = super()._build_dynamic_toolset(toolset)
        vars(built).update(for_run=partial(_of_one_run, built))
        return built

    def _toolset_base_config(self, kind: ToolsetKind) -> StepOptions:
        return self._mcp if kind == "mcp" else self._tools

    def _of_tool(
        self, operation_id: DurableOperationId, tool: object | None, name: str
    ) -> StepOptions | Literal[False]:
        """The options of a step of this tool; False if the body makes the call."""
        base = self._toolset_base_config(_kind(operation_id))
        given = _given(tool)
        is_activity = _is_activity(tool)
        if given is None:
            return False if is_activity and isinstance(operation_id, ToolsetCallToolId) else base
        if given == "workflow":
            if _kind(operation_id) != "function":
                raise UsageError(f"tool {name!r}: only a function of the agent can run in the body of a workflow")
            return False
        if not isinstance(given, StepOptions):
            raise UsageError(f"tool {name!r}: metadata[{_KEY!r}] is 'workflow' or StepOptions(…), not {given!r}")
        if is_activity:
            raise UsageError(f"tool {name!r} is an activity: give it its options by @activity, not by StepOptions")
        return merged(given, base)


async def _of_one_run(
    built: DurableDynamicToolset[AgentDepsT], ctx: RunContext[AgentDepsT]
) -> AbstractToolset[AgentDepsT]:
    """The dynamic toolset of a run. A body holds nothing open: it could not close what a step has opened."""
    if not in_workflow():
        return await built.wrapped.for_run(ctx)
    own = copy(built)
    vars(own).update(_run_instructions=None, _run_tool_name_path=(), _run_held=None)
    return own


async def _alone(event: AgentStreamEvent) -> AsyncIterator[AgentStreamEvent]:
    yield event


def _itself(model: Model) -> Model:
    """The model behind those that wrap it, which do not know its settings."""
    while isinstance(model, WrapperModel):
        model = model.wrapped
    return model


def _kind(operation_id: DurableOperationId) -> ToolsetKind:
    of_kind = (ToolsetCallToolId, ToolsetGetToolsId, ToolsetValidateToolArgumentsId)
    return operation_id.toolset_kind if isinstance(operation_id, of_kind) else "mcp"


def _given(tool: object | None) -> object:
    """What the metadata of the tool say to Romancy."""
    definition: object = getattr(tool, "tool_def", None)
    if not isinstance(definition, ToolDefinition) or definition.metadata is None:
        return None
    return definition.metadata.get(_KEY)


def _is_activity(tool: object | None) -> bool:
    """Whether the tool is one of a toolset of functions, and its function an activity."""
    tools: Any = getattr(getattr(tool, "toolset", None), "tools", None)
    if not isinstance(tool, FunctionToolsetTool) or tools is None:
        return False
    function: object = getattr(tools.get(tool.original_name or tool.tool_def.name), "function", None)
    return isinstance(function, Activity)
