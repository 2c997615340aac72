"""The agents of one run, as copies whose models, tools, servers and handoffs are durable."""

from __future__ import annotations

import copy
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agents import Agent, Handoff, Model

from romancy.ext.openai_agents._mcp import durable_server
from romancy.ext.openai_agents._model import DurableModel
from romancy.ext.openai_agents._tools import durable_tool

if TYPE_CHECKING:
    from romancy.ext.openai_agents._run import Running

__all__ = ["Agents"]

_ORIGINAL: Final = "romancy_original"
"""Where a copy has the agent that it is of. A later run makes a copy of that one."""


class Agents:
    """Makes one copy of each agent that a run reaches. The program's own agents are left as they are."""

    def __init__(self, run: Running, *, runs_are_durable: bool) -> None:
        self._run = run
        self._runs_are_durable = runs_are_durable
        self._copies: dict[int, tuple[Agent[Any], Agent[Any]]] = {}

    def copy_of(self, agent: Agent[Any]) -> Agent[Any]:
        agent = vars(agent).get(_ORIGINAL, agent)
        if (known := self._copies.get(id(agent))) is not None:
            return known[1]
        copied = copy.copy(agent)
        vars(copied)[_ORIGINAL] = agent
        self._copies[id(agent)] = (agent, copied)
        run, name = self._run, agent.name
        if isinstance(agent.model, Model):
            copied.model = DurableModel.of(run, agent.model)
        if agent.model_settings.retry is not None:
            copied.model_settings = replace(agent.model_settings, retry=None)  # the step's policy takes its place
        copied.tools = [durable_tool(run, tool, name, runs_are_durable=self._runs_are_durable) for tool in agent.tools]
        copied.mcp_servers = [durable_server(run, server, name) for server in agent.mcp_servers]
        copied.handoffs = [self._handoff(one) for one in agent.handoffs]
        return copied

    def _handoff(self, given: Agent[Any] | Handoff[Any, Any]) -> Agent[Any] | Handoff[Any, Any]:
        if not isinstance(given, Handoff):
            return self.copy_of(given)
        original = given.on_invoke_handoff

        async def invoke(context: Any, arguments: str) -> Any:
            return self.copy_of(await original(context, arguments))

        changed = copy.copy(given)
        changed.on_invoke_handoff = invoke
        reference = given._agent_ref  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        target: Any = None if reference is None else reference()
        if target is not None:
            changed._agent_ref = weakref.ref(self.copy_of(target))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return changed
