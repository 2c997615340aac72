"""OpenAI Agents: a run whose model calls and tools are steps of a workflow.

It needs the extra: `pip install 'romancy[openai-agents]'`. `await RomancyRunner.run(agent, input)` is durable in the
body of a workflow, and anywhere else it is `Runner.run`. After `install()`, so is each `Runner.run`.
"""

from __future__ import annotations

from romancy.ext._agents.options import StepOptions

try:
    from romancy.ext.openai_agents._activities import activity_tool
    from romancy.ext.openai_agents._events import AGENT_EVENTS, AgentEvent, LiveEvent, events
    from romancy.ext.openai_agents._inbox import Inbox
    from romancy.ext.openai_agents._runner import RomancyRunner, install
    from romancy.ext.openai_agents._session import WorkflowSession
    from romancy.ext.openai_agents._tools import body_tool, step_tool
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in ("agents", "openai", "pydantic"):
        raise
    raise ModuleNotFoundError(
        f"romancy.ext.openai_agents needs {error.name}; install the extra: pip install 'romancy[openai-agents]'",
        name=error.name,
    ) from None

__all__ = [
    "AGENT_EVENTS",
    "AgentEvent",
    "Inbox",
    "LiveEvent",
    "RomancyRunner",
    "StepOptions",
    "WorkflowSession",
    "activity_tool",
    "body_tool",
    "events",
    "install",
    "step_tool",
]
