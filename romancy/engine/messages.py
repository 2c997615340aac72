"""What lies in inboxes: the bodies of deliveries. As with the events of the log, changes to them only add.

The store sees bytes. The instance's owner turns each message into an input of the run.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
from msgspec import Raw

from romancy.core import Message, Parent
from romancy.errors import HistoryVersionError
from romancy.serialization import ErrorInfo, refuse_sealed
from romancy.storage.limits import can_be_id
from romancy.storage.records import OutboxRow

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "NO_RESULT",
    "CancelMessage",
    "ChildEnded",
    "Mailed",
    "Outgoing",
    "PauseMessage",
    "PlaceFull",
    "PlaceGiven",
    "PlaceLost",
    "TerminateMessage",
    "UnpauseMessage",
    "decode_message",
    "decode_outgoing",
    "encode_message",
    "is_about_pausing",
    "is_cancellation",
    "is_from_a_user",
    "outgoing",
]


NO_RESULT: Final = Raw(b"")


class ChildEnded(msgspec.Struct, frozen=True, tag_field="type", tag="child", omit_defaults=True):
    """A child workflow tells its parent how it ended: by a result, by an error, or (neither) by a cancellation."""

    child_id: str
    result: Raw = NO_RESULT
    error: ErrorInfo | None = None
    reason: str = ""
    life: int = 0
    """The life of the parent that started the child; 0 if that is not known."""
    wanted_by: str = ""
    """The run of the parent on whose behalf the child worked. The message is void for any other; empty: unknown."""


class CancelMessage(msgspec.Struct, frozen=True, tag_field="type", tag="cancel", omit_defaults=True):
    """A request that the workflow stop."""

    reason: str = ""
    stuck: bool = False
    """Whether the instance was stuck at that time: its next worker then ends it from its log, without its code."""
    parent: Parent | None = None
    """The parent that gives up its child. The message is not for a later instance with the child's id."""
    wanted_by: str = ""
    """The run of the parent that gives it up. The message is void for any other run of the child; empty: for each."""
    life: int = 0
    """The life of the instance that is asked to stop; 0: any, as a parent and older code ask."""


class TerminateMessage(msgspec.Struct, frozen=True, tag_field="type", tag="terminate", omit_defaults=True):
    """Ends the workflow at once: its code gets no notice, and nothing is compensated."""

    reason: str = ""
    life: int = 0
    """The life of the instance that is to end; 0: any, as older code asks."""


class PauseMessage(msgspec.Struct, frozen=True, tag_field="type", tag="pause", omit_defaults=True):
    """Asks the worker that holds the instance to pause it: to begin nothing more, and to record what it has begun."""

    reason: str = ""
    life: int = 0
    """The life of the instance that is to pause."""
    freeze: bool = False
    """Whether what it waits for is due as much later as the pause lasts."""


class UnpauseMessage(msgspec.Struct, frozen=True, tag_field="type", tag="unpause", omit_defaults=True):
    """Takes the requests to pause back that were sent before it."""

    life: int = 0


class PlaceGiven(msgspec.Struct, frozen=True, tag_field="type", tag="place"):
    """The instance has a place under a limit: that of the interest for which the message was taken.

    It is posted by whoever asks for a place or gives one back. A dispatch of the lane hands it to those who get places.
    """


class PlaceFull(msgspec.Struct, frozen=True, tag_field="type", tag="full"):
    """There is no place for the instance, which does not wait for one, or waits no longer.

    It is posted by whoever asks so for a place, beside the mark. A dispatch hands it to those who get none.
    """


class PlaceLost(msgspec.Struct, frozen=True, tag_field="type", tag="lost"):
    """A newer start gets the place that the instance has: it is to stop.

    It is posted by that start, beside the mark. A dispatch hands it to whoever has the place. It is void for another
    run than the one that has got the place.
    """

    limit: str
    key: str


Mailed: TypeAlias = (
    Message
    | ChildEnded
    | CancelMessage
    | TerminateMessage
    | PauseMessage
    | UnpauseMessage
    | PlaceGiven
    | PlaceFull
    | PlaceLost
)
"""Everything that is delivered to an instance."""

_BY_USERS: Final = b'{"type":"message"'


def is_from_a_user(body: bytes) -> bool:
    """Whether an encoded body is a message that a user's code sends."""
    return body.startswith(_BY_USERS)


_ABOUT_PAUSING: Final = (b'{"type":"pause"', b'{"type":"unpause"')


def is_cancellation(body: bytes) -> bool:
    """Whether an encoded body asks its instance to stop."""
    return body.startswith(b'{"type":"cancel"')


def is_about_pausing(body: bytes) -> bool:
    """Whether an encoded body asks to pause its instance, or takes that back."""
    return body.startswith(_ABOUT_PAUSING)


class Outgoing(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message for the outside."""

    name: str
    data: Raw
    key: str | None = None
    headers: dict[str, str] = {}


_NO_HEADERS: Final[Mapping[str, str]] = {}
_encoder: Final = msgspec.json.Encoder()
_outgoing_decoder: Final = msgspec.json.Decoder(Outgoing)
_decoder: Final[msgspec.json.Decoder[Mailed]] = msgspec.json.Decoder(Mailed)


def encode_message(message: Mailed) -> bytes:
    """The body of a delivery."""
    return _encoder.encode(message)


def outgoing(
    name: str,
    data: Raw,
    key: str | None,
    stamp: str,
    *,
    instance_id: str | None = None,
    headers: Mapping[str, str] = _NO_HEADERS,
) -> OutboxRow:
    """A message for the outside."""
    body = _encoder.encode(Outgoing(name, data, key, dict(headers)))
    order = key if key is None or can_be_id(key) else "sha256:" + sha256(key.encode()).hexdigest()
    return OutboxRow(outbox_id=stamp, topic=name, body=body, key=order, instance_id=instance_id)


def decode_outgoing(body: bytes) -> Outgoing:
    """The message in a row of the outbox.

    Raises HistoryVersionError for a kind that this version does not know, CodecError when the body could not be
    unsealed.
    """
    refuse_sealed(body, "message", "a message in the outbox")
    try:
        return _outgoing_decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise HistoryVersionError(f"a message in the outbox cannot be read: {error}") from error


def decode_message(body: bytes) -> Mailed:
    """The message in a delivery's body.

    Raises HistoryVersionError when this version does not know its kind, CodecError when it could not be unsealed.
    """
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        refuse_sealed(body, "message", "a message in the inbox")
        raise HistoryVersionError(f"a message in the inbox is of a kind this version does not know: {error}") from error
