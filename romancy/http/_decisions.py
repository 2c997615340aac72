"""Decides what to do with an event: start a workflow, call a handler, or send it on. Pure.

All errors in the data are found here, before anything is written for any event of a batch.
"""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from romancy._headers import trace_of
from romancy.errors import SerializationError
from romancy.event import Event, EventType
from romancy.http._identity import instance_id_of
from romancy.http._refusal import not_an_event
from romancy.serialization import WRITTEN_BEFORE, loads
from romancy.storage.limits import check_event, check_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from msgspec import Raw

    from romancy.http._incoming import Incoming
    from romancy.workflow import Call, Workflow

__all__ = ["Answering", "Decision", "Handler", "Known", "Sending", "Starting", "call_of", "decide", "typed"]

_NO_TRACE: Final = MappingProxyType[str, str]({})
Handler: TypeAlias = "Callable[[Event[Any]], Awaitable[object]]"


class Starting(NamedTuple):
    """Start this workflow."""

    call: Call[Any]
    instance_id: str
    trace: Mapping[str, str] = _NO_TRACE
    """The trace context of the event, its extension attributes `traceparent` and `tracestate`."""


class Answering(NamedTuple):
    """Call the user's handler."""

    handler: Handler
    event: Event[Any]
    trace: Mapping[str, str] = _NO_TRACE


class Sending(NamedTuple):
    """Send the event to the instance it names, or to the workflows that wait for it."""

    type: EventType[Any] | str
    data: Any
    event: Incoming

    @property
    def trace(self) -> Mapping[str, str]:
        return trace_of(self.event.extensions)


Decision: TypeAlias = Starting | Answering | Sending


class Known(NamedTuple):
    """The declared workflows, handlers and event types."""

    workflows: Mapping[str, Workflow[..., Any]]
    types: Mapping[str, EventType[Any]]
    handlers: Mapping[str, Handler]
    stored: Callable[[bytes], int] = len
    """How many bytes the codecs of the app make of a value."""


def decide(event: Incoming, known: Known) -> Decision:
    """Decide what to do with the event. Raises Refused if its data does not fit.

    An event that names an instance goes to that instance. Otherwise a handler for its type gets it. Otherwise the
    workflow of that name starts, if it was declared with `event_handler=True`. Any other event is sent on.
    """
    check_id(event.type, "type of the event")
    check_id(event.id, "id of the event")
    check_event(bytes(event.data), "data of the event", known.stored)
    declared = known.types.get(event.type)
    data = typed(event.data, object if declared is None else declared.data, f"data of event {event.type!r}")
    if event.instance_id is not None:
        check_id(event.instance_id, "romancyinstanceid")
    else:
        handler = known.handlers.get(event.type)
        if handler is not None:
            return Answering(handler, _event(event, data), trace_of(event.extensions))
        workflow = known.workflows.get(event.type)
        if workflow is not None and workflow.event_handler:
            instance_id = instance_id_of(event.source, event.id)
            return Starting(call_of(workflow, event.data, instance_id), instance_id, trace_of(event.extensions))
    return Sending(event.type if declared is None else declared, data, event)


def call_of(workflow: Workflow[..., Any], data: Raw, instance_id: str | None) -> Call[Any]:
    """The start of a workflow with this input: an object of its parameters, or the JSON of the bare one alone."""
    try:
        args, kwargs = _arguments(workflow, data)
        call = workflow.options(instance_id=instance_id).bind(*args, **kwargs)
        call.encode()
    except SerializationError as error:
        raise not_an_event(str(error).removesuffix(f"; {WRITTEN_BEFORE}"), type(error).__name__) from None
    return call


def _arguments(workflow: Workflow[..., Any], data: Raw) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments in the data. Without data, a workflow all of whose parameters have defaults starts with these."""
    signature = workflow.signature
    try:
        return signature.read_given(data)
    except SerializationError:
        if bytes(data) == b"null" and not any(parameter.required for parameter in signature.parameters):
            return (), {}
        raise


def typed(raw: Raw, declared: Any, what: str) -> Any:
    """The data read as its declared type. Raises Refused if it does not fit."""
    try:
        return loads(raw, declared, what)
    except SerializationError as error:
        raise not_an_event(str(error).removesuffix(f"; {WRITTEN_BEFORE}"), type(error).__name__) from None


def _event(event: Incoming, data: Any) -> Event[Any]:
    return Event(
        id=event.id,
        type=event.type,
        source=event.source,
        subject=event.subject,
        time=event.time or datetime.now(UTC),
        data=data,
    )
