"""The event types that the code of workflows names, and signals with a form made from them.

A form with `typed` has an input for each member of the event's data. It is turned into the plain form of a signal, with
its data as JSON. An event without a declared `EventType` is sent as JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from romancy.dashboard._fields import Field, field_for, json_of, members_of, object_of
from romancy.dashboard._refused import bad_request
from romancy.event import EventType
from romancy.registry import reached_from
from romancy.serialization import loads

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.requests import Request

    from romancy.dashboard._guard import Form
    from romancy.workflow import Workflow

__all__ = ["Signalling", "Typed", "plain_form", "signalling", "typed_events"]

_WHOLE: Final = "data"


class Typed(NamedTuple):
    """An event type with its inputs."""

    event: EventType[Any]
    fields: list[Field]
    members: bool
    """Whether the inputs are the members of the data, not the data as a whole."""


def typed_events(workflows: Iterable[Workflow[..., Any]]) -> dict[str, Typed]:
    """The event types that these workflows name, by name. A name with two different types of data is left out."""
    found: dict[str, EventType[Any]] = {}
    ambiguous: set[str] = set()
    for thing in reached_from(workflow.fn for workflow in workflows):
        if issubclass(type(thing), EventType):
            event: EventType[Any] = thing
            if found.setdefault(event.name, event).data != event.data:
                ambiguous.add(event.name)
    return {name: _typed(event) for name, event in sorted(found.items()) if name not in ambiguous}


def _typed(event: EventType[Any]) -> Typed:
    members = members_of(event.data)
    if members is not None:
        return Typed(event, members, members=True)
    return Typed(event, [field_for(_WHOLE, event.data, required=event.data is not type(None))], members=False)


class Signalling(NamedTuple):
    """The contents of the form of a signal."""

    typed: Typed | None
    """The event whose inputs it shows. None: any event, with its data as JSON."""
    form: Form
    links: list[tuple[str, str]]
    """The other forms: the names of events, and their URLs. The name of the one for any event is empty."""


def signalling(request: Request, events: dict[str, Typed], waited: Sequence[str], form: Form) -> Signalling:
    """The form of the chosen event, or of the one that the instance waits for."""
    query = request.query_params
    chosen = [] if "plain" in query and not form else [*query.getlist("event")[:1], *waited]
    if form:
        chosen = list(form.get("event", ()))
    named = [name for name in chosen if name in events]
    typed = events[named[0]] if named and (not form or "typed" in form) else None
    others = [name for name in events if typed is None or name != typed.event.name]
    kept = [(name, value) for name, value in query.multi_items() if name not in ("event", "plain")]
    links = [(name, f"?{urlencode([*kept, ('event', name)])}") for name in others]
    if typed is not None:
        links.append(("", f"?{urlencode([*kept, ('plain', '1')])}"))
    return Signalling(typed, form, links)


def plain_form(form: Form, events: dict[str, Typed]) -> Form:
    """The form with its data as JSON, as an untyped one has them.

    Raises RefusedError or SerializationError if the data do not fit the event's type.
    """
    if "typed" not in form:
        return form
    names = form.get("event", [])
    typed = events.get(names[0]) if len(names) == 1 else None
    if typed is None:
        raise bad_request("The app has no such event type (any longer): send the data as JSON.")
    data = object_of(typed.fields, form) if typed.members else json_of(typed.fields[0], form) or b"null"
    loads(msgspec.Raw(data), typed.event.data, f"data of the event {typed.event.name!r}")
    plain = {name: values for name, values in form.items() if name not in ("typed", "data") and name[:3] != "in-"}
    if not any(form.get("key", [])) and (key := typed.event.key_in(msgspec.Raw(data))) is not None:
        plain["key"] = [key]
    return {**plain, "data": [data.decode()]}
