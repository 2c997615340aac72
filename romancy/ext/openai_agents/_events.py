"""Live events of streamed runs, on a stream of the instance.

What a model says comes from inside its step, and readers see it within some 50 ms. What the run does, such as the call
of a tool, comes with the commit of the body's step. Neither is a step of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct

from romancy.attempt_context import activity_context
from romancy.errors import PayloadTooLargeError, StreamFullError
from romancy.ext.openai_agents._values import event_from, event_of
from romancy.stream import Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy.handle import Handle

__all__ = ["AGENT_EVENTS", "AgentEvent", "LiveEvent", "events", "write_model_event"]


class AgentEvent(Struct, frozen=True, omit_defaults=True):
    """An item of the stream: an event of the model, or something that the run has done."""

    agent: str
    run: str
    """Each run of an agent in the instance has an id of its own."""
    kind: Literal["model", "agent", "handoff", "tool_called", "tool_output"]
    event: dict[str, Any]
    """Of a model, the event as its provider sends it. Of a tool, `tool`, `call` and `arguments` or `output`."""


AGENT_EVENTS: Final = Stream("agent_events", AgentEvent)
"""Where streamed runs write, unless their runner names another stream, or none."""

_WHOLE: Final = frozenset({
    "response.created", "response.queued", "response.in_progress", "response.completed", "response.incomplete",
    "response.failed",
})  # fmt: skip
"""Events that say all of the answer again. The log has that."""


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """What a reader of live events gets. `kind` is an item's of a stream, `event` is None unless it is `data`."""

    offset: str
    """Behind which later events are: `events(after=)` takes it."""
    kind: Literal["data", "discard", "settled", "end"]
    source: str
    """The step that wrote it. Empty: the body."""
    attempt: int
    event: AgentEvent | None

    @property
    def model_event(self) -> Any:
        """The event of a model, as `agents.TResponseStreamEvent`; None if it is of another kind."""
        event = self.event
        return event_from(dict(event.event)) if event is not None and event.kind == "model" else None


async def events(
    handle: Handle[Any],
    *,
    after: str | None = None,
    follow: bool = True,
    stream: Stream[AgentEvent] = AGENT_EVENTS,
) -> AsyncIterator[LiveEvent]:
    """What the streamed runs of an instance have told and, with `follow`, tell until its end.

    A `discard` says: forget what `source` has told, its attempt has failed or was lost.
    """
    async for item in handle.stream(stream, after=after, follow=follow):
        told = item.data if item.kind == "data" else None
        yield LiveEvent(item.offset, item.kind, item.source, item.attempt, told)


def write_model_event(stream: Stream[AgentEvent], agent: str, run: str, event: Any) -> None:
    """Write an event of a model. A full stream costs readers the rest of the answer, and the run nothing."""
    if event.type in _WHOLE:
        return
    try:
        activity_context().stream(stream).write(AgentEvent(agent, run, "model", event_of(event)))
    except (PayloadTooLargeError, StreamFullError):
        activity_context().heartbeat()
