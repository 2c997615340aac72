"""Live events of runs, on a stream of the instance.

What a model says comes from inside its step, and readers see it within some 50 ms. What the run does, such as the call
of a tool, comes with the commit of the body's step. Neither is a step of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct
from pydantic import TypeAdapter
from pydantic_ai.messages import AgentStreamEvent

from romancy.attempt_context import activity_context
from romancy.context import current_workflow
from romancy.errors import PayloadTooLargeError, StreamFullError
from romancy.stream import Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator

    from pydantic_ai.agent import EventStreamHandler
    from pydantic_ai.tools import RunContext

    from romancy.handle import Handle

__all__ = ["AGENT_EVENTS", "AgentEvent", "LiveEvent", "live_events", "tell", "telling"]


class AgentEvent(Struct, frozen=True):
    """An item of the stream."""

    agent: str
    run: str
    """The id of the run."""
    event: dict[str, Any]
    """An `AgentStreamEvent` as JSON."""


AGENT_EVENTS: Final = Stream("agent_events", AgentEvent)
"""A stream for live events."""


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """What a reader of live events gets. `kind` is an item's of a stream; only `data` has an event."""

    offset: str
    """Behind which later events are: `events(after=)` takes it."""
    kind: Literal["data", "discard", "settled", "end"]
    source: str
    """The step that wrote it. Empty: the body."""
    attempt: int
    agent: str = ""
    run: str = ""
    event: AgentStreamEvent | None = None


@cache
def _adapter() -> TypeAdapter[AgentStreamEvent]:
    return TypeAdapter(AgentStreamEvent)


async def live_events(
    handle: Handle[Any], stream: Stream[AgentEvent], *, after: str | None, follow: bool
) -> AsyncIterator[LiveEvent]:
    """The events that the stream holds and, with `follow`, future ones."""
    async for item in handle.stream(stream, after=after, follow=follow):
        if item.kind != "data":
            yield LiveEvent(item.offset, item.kind, item.source, item.attempt)
            continue
        told = item.data
        event = _adapter().validate_python(told.event)
        yield LiveEvent(item.offset, "data", item.source, item.attempt, told.agent, told.run, event)


def telling(stream: Stream[AgentEvent], agent: str, handler: EventStreamHandler[Any] | None) -> EventStreamHandler[Any]:
    """A handler, called in the step of a request, that writes what the model says, and hands it on to `handler`.

    A full stream costs readers the rest of the answer, and the run nothing.
    """

    async def handle(ctx: RunContext[Any], events: AsyncIterable[AgentStreamEvent]) -> None:
        async def told() -> AsyncIterator[AgentStreamEvent]:
            async for event in events:
                try:
                    activity_context().stream(stream).write(_item(agent, ctx, event))
                except (PayloadTooLargeError, StreamFullError):
                    activity_context().heartbeat()
                yield event

        if handler is not None:
            await handler(ctx, told())
            return
        async for _ in told():
            pass

    return handle


async def tell(stream: Stream[AgentEvent], agent: str, ctx: RunContext[Any], event: AgentStreamEvent) -> None:
    """Write what the run has done, with the commit of the body's step."""
    try:
        await current_workflow().stream(stream).write(_item(agent, ctx, event))
    except PayloadTooLargeError:
        return  # the log has it with its step


def _item(agent: str, ctx: RunContext[Any], event: AgentStreamEvent) -> AgentEvent:
    dumped: dict[str, Any] = _adapter().dump_python(event, mode="json", warnings=False)
    return AgentEvent(agent, ctx.run_id or "", dumped)
