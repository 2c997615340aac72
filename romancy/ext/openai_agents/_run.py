"""One run of an agent in the body of a workflow: what it is run with, where it is, and how it makes steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from romancy.context import current_workflow
from romancy.errors import TerminalError
from romancy.ext._agents.names import fitting
from romancy.ext._agents.options import policy_of
from romancy.ext.openai_agents._errors import NOT_MENDED, RAISED, is_mended, made_ready, restored

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.ext._agents.options import StepOptions
    from romancy.ext.openai_agents._events import AgentEvent
    from romancy.stream import Stream

__all__ = ["Durably", "Running"]


class Durably(Protocol):
    """The options of a runner."""

    model: StepOptions
    tools: StepOptions
    mcp: StepOptions
    stream: Stream[AgentEvent] | None
    show_prompts: bool


class Running:
    """One run. Its agents take turns, so one of them is at work at a time."""

    def __init__(self, how: Durably, agent: str, *, streamed: bool) -> None:
        self.how = how
        self.agent = agent
        """The name of the agent that is at work."""
        self.turn = 0
        self.id = str(current_workflow().uuid4())
        self.stream = how.stream if streamed else None
        """Where live events go."""

    def told(self, **more: Any) -> dict[str, Any]:
        """What a step of this run is shown with."""
        return {"agent": self.agent, "run": self.id, "turn": self.turn, **more}

    async def step(
        self, name: str, body: Callable[[], Awaitable[Any]], options: StepOptions, about: dict[str, Any]
    ) -> Any:
        """Run `body`, which returns JSON, as a step of the workflow."""

        async def attempt() -> Any:
            try:
                return await body()
            except Exception as error:
                made_ready(error)
                raise

        try:
            return await current_workflow().step(
                fitting(name),
                attempt,
                model=Any,
                retry=policy_of(options.retry, NOT_MENDED, is_mended),
                timeout=options.timeout,
                heartbeat_timeout=options.heartbeat_timeout,
                raises=RAISED,
                about=about,
            )
        except TerminalError:
            raise
        except Exception as error:
            again = restored(error)
            if again is error:
                raise
            raise again from error.__cause__
