"""An event as senders see it: a CloudEvent, with further facts for the sender."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from romancy._microseconds import moment_of
from romancy.engine import Outgoing, decode_outgoing

if TYPE_CHECKING:
    from romancy.storage.outbox import OutboxEntry

__all__ = ["OutboxEvent", "event_of"]

_EXTENSION: Final = re.compile(r"[a-z0-9]{1,20}")
_OWN: Final = frozenset(
    {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data", "database64"}
)
_INSIDE: Final = "-._~:@!$&'()*+,;="
"""Characters that stand for themselves in a segment of a path, besides letters and digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEvent:
    """A published event on its way to the outside. Every attempt to send it has the same `id`."""

    id: str
    """Unique. Receivers recognise a repeated event by it."""
    type: str
    source: str
    """The relay's `source`, followed by the id of the instance that published the event."""
    time: datetime
    """When it was written to the outbox, by the database's clock."""
    json: bytes = field(repr=False)
    """The data, as JSON."""
    key: str | None = None
    """Events with the same key are sent in order. It is the CloudEvent's `subject`."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    instance_id: str | None = None
    """The instance that published it. None for `app.publish`."""
    attempt: int = 1
    """1 for the first attempt. An attempt whose relay crashed is not counted."""

    @property
    def data(self) -> Any:
        """The data as plain JSON values."""
        return msgspec.json.decode(self.json)

    def attributes(self) -> dict[str, str]:
        """The attributes of the CloudEvent.

        Headers become extension attributes. Those whose names the specification does not allow (other than lower-case
        letters and digits) are left out.
        """
        own = {"specversion": "1.0", "id": self.id, "source": self.source, "type": self.type}
        if self.key:
            own["subject"] = self.key
        own["time"] = self.time.isoformat().replace("+00:00", "Z")
        own["datacontenttype"] = "application/json"
        more = {name: value for name, value in self.headers.items() if name not in _OWN and _EXTENSION.fullmatch(name)}
        return own | more

    def structured(self) -> bytes:
        """The CloudEvent as one JSON document (`application/cloudevents+json`)."""
        return msgspec.json.encode({**self.attributes(), "data": msgspec.Raw(self.json)})


def event_of(entry: OutboxEntry, source: str) -> OutboxEvent:
    """The event in a row. Raises CodecError if this process cannot open it, HistoryVersionError if it is none."""
    row = entry.row
    message: Outgoing = decode_outgoing(row.body)
    return OutboxEvent(
        id=row.outbox_id,
        type=row.topic,
        source=source if row.instance_id is None else f"{source}/{quote(row.instance_id, safe=_INSIDE)}",
        time=moment_of(entry.at),
        json=bytes(message.data),
        key=message.key,
        headers=message.headers,
        instance_id=row.instance_id,
        attempt=entry.attempts + 1,
    )
