"""What travels through inboxes: the bodies of deliveries. Evolution is additive only, as for events.

The store sees bytes; the owner of the instance turns each message into an input of its run.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec
from msgspec import Raw

from romancy.core import Parent
from romancy.errors import HistoryVersionError
from romancy.serialization import ErrorInfo, refuse_sealed
from romancy.storage.records import OutboxRow

__all__ = [
    "NO_RESULT",
    "CancelMessage",
    "ChildEnded",
    "Message",
    "Signal",
    "TerminateMessage",
    "decode_message",
    "encode_message",
    "outgoing",
]


NO_RESULT: Final = Raw(b"")


class Signal(msgspec.Struct, frozen=True, tag_field="type", tag="signal", omit_defaults=True):
    """An event for whoever waits for its name (and key)."""

    name: str
    data: Raw
    key: str | None = None
    event_id: str = ""
    source: str = ""
    subject: str | None = None
    time: int | None = None


class ChildEnded(msgspec.Struct, frozen=True, tag_field="type", tag="child", omit_defaults=True):
    """A child workflow tells its parent how it ended: by a result, an error, or (neither) a cancellation."""

    child_id: str
    result: Raw = NO_RESULT
    error: ErrorInfo | None = None
    reason: str = ""
    life: int = 0
    """The life of the parent that started the child; 0 if that is not known."""


class CancelMessage(msgspec.Struct, frozen=True, tag_field="type", tag="cancel", omit_defaults=True):
    """Somebody wants the workflow to stop."""

    reason: str = ""
    stuck: bool = False
    """It was stuck when it was asked: whoever takes it up ends it from its log, without its code."""
    parent: Parent | None = None
    """The parent gives up its child: this is for what was started as such, and not for who bears its id now."""


class TerminateMessage(msgspec.Struct, frozen=True, tag_field="type", tag="terminate", omit_defaults=True):
    """The workflow is to end at once, without being asked and without being undone."""

    reason: str = ""


Message: TypeAlias = Signal | ChildEnded | CancelMessage | TerminateMessage

_encoder: Final = msgspec.json.Encoder()
_decoder: Final[msgspec.json.Decoder[Message]] = msgspec.json.Decoder(Message)


def encode_message(message: Message) -> bytes:
    """The body of a delivery."""
    return _encoder.encode(message)


def outgoing(name: str, data: Raw, key: str | None, stamp: str) -> OutboxRow:
    """A message for the outside that no workflow's body published."""
    return OutboxRow(outbox_id=stamp, topic=name, body=_encoder.encode({"name": name, "data": data, "key": key}))


def decode_message(body: bytes) -> Message:
    """The message in a delivery's body.

    Raises HistoryVersionError when this version does not know its kind, CodecError when it could not be unsealed.
    """
    refuse_sealed(body, "message", "a message in the inbox")
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise HistoryVersionError(f"a message in the inbox is of a kind this version does not know: {error}") from error
