"""Messages in inboxes: the bodies of deliveries. As with events, changes to them only add.

The store sees bytes. The owner of the instance turns each message into an input of its run.
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
    """An event for the waits that have its name (and key)."""

    name: str
    data: Raw
    key: str | None = None
    event_id: str = ""
    source: str = ""
    subject: str | None = None
    time: int | None = None


class ChildEnded(msgspec.Struct, frozen=True, tag_field="type", tag="child", omit_defaults=True):
    """A child workflow tells its parent how it ended: by a result, by an error, or (neither) by a cancellation."""

    child_id: str
    result: Raw = NO_RESULT
    error: ErrorInfo | None = None
    reason: str = ""
    life: int = 0
    """The life of the parent that started the child; 0 if that is not known."""


class CancelMessage(msgspec.Struct, frozen=True, tag_field="type", tag="cancel", omit_defaults=True):
    """A request that the workflow stop."""

    reason: str = ""
    stuck: bool = False
    """Whether it was stuck at that time: the worker that takes it up ends it from its log, without its code."""
    parent: Parent | None = None
    """The parent that gives up its child. The message is for that child, not for a later instance with the same id."""


class TerminateMessage(msgspec.Struct, frozen=True, tag_field="type", tag="terminate", omit_defaults=True):
    """The workflow ends at once: its code is not told, and nothing is compensated."""

    reason: str = ""


Message: TypeAlias = Signal | ChildEnded | CancelMessage | TerminateMessage

_encoder: Final = msgspec.json.Encoder()
_decoder: Final[msgspec.json.Decoder[Message]] = msgspec.json.Decoder(Message)


def encode_message(message: Message) -> bytes:
    """The body of a delivery."""
    return _encoder.encode(message)


def outgoing(name: str, data: Raw, key: str | None, stamp: str) -> OutboxRow:
    """An outgoing message that no workflow body published."""
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
