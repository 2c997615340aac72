"""What a run tells while it goes on: whose turn it is, and to its stream what its tools do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agents import RunHooks

from romancy.context import current_workflow
from romancy.ext.openai_agents._events import AgentEvent

if TYPE_CHECKING:
    from typing import Literal

    from romancy.ext.openai_agents._run import Running

__all__ = ["Following"]

_SHOWN: Final = 2_000
"""Characters of a tool's output that the stream has. The log has all of it."""


class Following(RunHooks[Any]):
    """The hooks of a run, before those of the program."""

    def __init__(self, run: Running, hooks: RunHooks[Any] | None) -> None:
        self._run = run
        self._hooks: RunHooks[Any] = RunHooks() if hooks is None else hooks

    async def on_llm_start(self, context: Any, agent: Any, system_prompt: Any, input_items: Any) -> None:
        self._run.agent = agent.name
        self._run.turn += 1
        await self._hooks.on_llm_start(context, agent, system_prompt, input_items)

    async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
        await self._hooks.on_llm_end(context, agent, response)

    async def on_agent_start(self, context: Any, agent: Any) -> None:
        self._run.agent = agent.name
        await self._tell("agent", agent)
        await self._hooks.on_agent_start(context, agent)

    async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
        await self._hooks.on_agent_end(context, agent, output)

    async def on_handoff(self, context: Any, from_agent: Any, to_agent: Any) -> None:
        await self._tell("handoff", from_agent, to=to_agent.name)
        await self._hooks.on_handoff(context, from_agent, to_agent)

    async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:
        arguments = str(getattr(context, "tool_arguments", ""))[:_SHOWN]
        await self._tell("tool_called", agent, tool=tool.name, call=_call(context), arguments=arguments)
        await self._hooks.on_tool_start(context, agent, tool)

    async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
        await self._tell("tool_output", agent, tool=tool.name, call=_call(context), output=str(result)[:_SHOWN])
        await self._hooks.on_tool_end(context, agent, tool, result)

    async def _tell(
        self, kind: Literal["agent", "handoff", "tool_called", "tool_output"], agent: Any, **told: Any
    ) -> None:
        if self._run.stream is not None:
            item = AgentEvent(agent.name, self._run.id, kind, told)
            await current_workflow().stream(self._run.stream).write(item)


def _call(context: Any) -> str:
    return str(getattr(context, "tool_call_id", ""))
