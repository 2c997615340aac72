"""Runs agents durably in the bodies of workflows, and elsewhere as they always run."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Unpack, cast

from agents import Model, MultiProvider, RunConfig, RunState
from agents.run import AgentRunner, get_default_agent_runner, set_default_agent_runner
from agents.tracing import get_trace_provider

from romancy.context import in_workflow
from romancy.errors import UsageError
from romancy.ext._agents.options import StepOptions
from romancy.ext.openai_agents._agents import Agents
from romancy.ext.openai_agents._events import AGENT_EVENTS
from romancy.ext.openai_agents._hooks import Following
from romancy.ext.openai_agents._inbox import Inbox
from romancy.ext.openai_agents._model import DurableModel, DurableProvider
from romancy.ext.openai_agents._run import Running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agents import Agent, ModelProvider, RunResult, RunResultStreaming, StreamEvent, TResponseInputItem
    from agents.run import RunOptions

    from romancy.ext.openai_agents._events import AgentEvent
    from romancy.stream import Stream

    type_of_input = str | list[TResponseInputItem] | RunState[Any]

__all__ = ["RomancyRunner", "install"]

_PLAIN: Final = AgentRunner()
get_trace_provider()  # it makes an HTTP client, which would block the body of the first run
_FIRST_ONLY: Final = ("context", "max_turns", "previous_response_id", "auto_previous_response_id", "conversation_id")
"""What the state of a run has, once it has begun."""


class RomancyRunner:
    """Runs agents: in the body of a workflow, each model call and each call of a tool is a step.

    A subclass has other options: `class Patient(RomancyRunner): model = StepOptions(timeout=600)`.
    """

    model: ClassVar[StepOptions] = StepOptions()
    """The options of model calls."""
    tools: ClassVar[StepOptions] = StepOptions()
    """The options of the calls of tools. `step_tool` gives a tool its own."""
    mcp: ClassVar[StepOptions] = StepOptions()
    """The options of what MCP servers are asked."""
    inbox: ClassVar[Inbox] = Inbox()
    """Who is asked about tools with `needs_approval`."""
    stream: ClassVar[Stream[AgentEvent] | None] = AGENT_EVENTS
    """Where streamed runs write live events. None: nowhere."""
    show_prompts: ClassVar[bool] = True
    """Whether steps are shown with the prompts."""

    @classmethod
    async def run(cls, agent: Agent[Any], input: type_of_input, **options: Unpack[RunOptions[Any]]) -> RunResult:
        """Run an agent as `Runner.run` does. A tool with `needs_approval` is asked about, and the run continues."""
        if not in_workflow():
            return await _PLAIN.run(agent, input, **options)
        copied, options = _prepared(cls, agent, input, options, streamed=False)
        result = await _PLAIN.run(copied, input, **options)
        while result.interruptions:
            result = await _PLAIN.run(copied, await cls.inbox.answered(result), **_further(options))
        return result

    @classmethod
    def run_streamed(
        cls, agent: Agent[Any], input: type_of_input, **options: Unpack[RunOptions[Any]]
    ) -> RunResultStreaming:
        """Run an agent as `Runner.run_streamed` does. In a body, what a model says is one event, once it is complete.

        Its live events are on the stream of the instance: see `events`.
        """
        if not in_workflow():
            return _PLAIN.run_streamed(agent, input, **options)
        copied, options = _prepared(cls, agent, input, options, streamed=True)
        result = _PLAIN.run_streamed(copied, input, **options)
        further = _further(options)
        continued = _Continued(result, cls.inbox, lambda state: _PLAIN.run_streamed(copied, state, **further))
        vars(result)["stream_events"] = continued.stream_events
        return result


class _Continued:
    """A streamed run that asks people where it stops for them, and goes on."""

    def __init__(
        self, result: RunResultStreaming, inbox: Inbox, resume: Callable[[RunState[Any]], RunResultStreaming]
    ) -> None:
        self._result = result
        self._inbox = inbox
        self._resume = resume

    async def stream_events(self) -> AsyncIterator[StreamEvent]:
        result = self._result
        while True:
            async for event in type(result).stream_events(result):
                yield event
            if not result.interruptions:
                return
            following = self._resume(await self._inbox.answered(result))
            shared = vars(following)
            shared["stream_events"] = self.stream_events
            object.__setattr__(
                result, "__dict__", shared
            )  # the run writes to what it has returned, which the caller never sees


class _Installed(AgentRunner):
    """What `Runner.run` uses."""

    def __init__(self, durable: type[RomancyRunner], before: AgentRunner) -> None:
        self._durable = durable
        self.before = before

    async def run(self, starting_agent: Agent[Any], input: type_of_input, **kwargs: Any) -> RunResult:
        if in_workflow():
            return await self._durable.run(starting_agent, input, **kwargs)
        return await self.before.run(starting_agent, input, **kwargs)

    def run_sync(self, starting_agent: Agent[Any], input: type_of_input, **kwargs: Any) -> RunResult:
        if in_workflow():
            raise UsageError("Runner.run_sync was called in the body of a workflow: await Runner.run instead")
        return self.before.run_sync(starting_agent, input, **kwargs)

    def run_streamed(self, starting_agent: Agent[Any], input: type_of_input, **kwargs: Any) -> RunResultStreaming:
        if in_workflow():
            return self._durable.run_streamed(starting_agent, input, **kwargs)
        return self.before.run_streamed(starting_agent, input, **kwargs)


def install(runner: type[RomancyRunner] = RomancyRunner) -> None:
    """Make each `Runner.run` in a body durable, also those in guardrails, in tools that run there, and in `as_tool`.

    Call it once, when the program begins. Outside of bodies, `Runner.run` does what it did.
    """
    before = get_default_agent_runner()
    set_default_agent_runner(_Installed(runner, before.before if isinstance(before, _Installed) else before))


def _prepared(
    cls: type[RomancyRunner], agent: Agent[Any], input: type_of_input, options: RunOptions[Any], *, streamed: bool
) -> tuple[Agent[Any], RunOptions[Any]]:
    """A durable copy of the agent, and the options of its run."""
    if isinstance(input, RunState):
        raise UsageError(
            "a durable run needs no RunState: it asks people by itself, and goes on after a crash; give it the input"
        )
    run = Running(cls, agent.name, streamed=streamed)
    agents = Agents(run, runs_are_durable=isinstance(get_default_agent_runner(), _Installed))
    given: Any = options.get("run_config")
    config: RunConfig | None = RunConfig(**cast("dict[str, Any]", given)) if isinstance(given, dict) else given
    provider = _own_provider() if config is None else config.model_provider
    config = RunConfig() if config is None else config
    if isinstance(provider, DurableProvider):  # of the run whose tool runs this agent
        provider = provider.itself
    model = config.model
    if isinstance(model, Model):
        model = DurableModel.of(run, model)
    settings = config.model_settings
    if settings is not None and settings.retry is not None:
        config = replace(config, model_settings=replace(settings, retry=None))
    durable = replace(config, model=model, model_provider=DurableProvider(run, provider), tracing_disabled=True)
    prepared: RunOptions[Any] = {**options, "run_config": durable, "hooks": Following(run, options.get("hooks"))}
    return agents.copy_of(agent), prepared


def _further(options: RunOptions[Any]) -> RunOptions[Any]:
    return cast("RunOptions[Any]", {name: value for name, value in options.items() if name not in _FIRST_ONLY})


@cache
def _own_provider() -> ModelProvider:
    """The provider of runs that name none. Its clients and their connections are the process's."""
    return MultiProvider()
