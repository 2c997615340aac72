"""pydantic-ai: an agent whose model requests and tools are steps of a workflow.

It needs the extra: `pip install 'romancy[pydantic-ai]'`. `Agent(…, capabilities=[RomancyDurability()])` is durable in
the body of a workflow, and anywhere else it is what it was.
"""

from __future__ import annotations

from romancy.ext._agents.options import StepOptions

try:
    from romancy.ext.pydantic_ai._durability import RomancyDurability
    from romancy.ext.pydantic_ai._events import AGENT_EVENTS, AgentEvent, LiveEvent
    from romancy.ext.pydantic_ai._inbox import Inbox, inbox
except ModuleNotFoundError as error:
    if error.name is None or not error.name.startswith("pydantic"):
        raise
    raise ModuleNotFoundError(
        f"romancy.ext.pydantic_ai needs {error.name}; install the extra: pip install 'romancy[pydantic-ai]'",
        name=error.name,
    ) from None

__all__ = ["AGENT_EVENTS", "AgentEvent", "Inbox", "LiveEvent", "RomancyDurability", "StepOptions", "inbox"]
