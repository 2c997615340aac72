"""JSON from outside, read strictly: UTF-8 without a mark, no NaN, no half of a surrogate pair, no depth. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from romancy.errors import SerializationError
from romancy.http._refusal import not_an_event
from romancy.serialization import WRITTEN_BEFORE, loads

__all__ = ["checked", "members", "objects"]

_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_objects = msgspec.json.Decoder(list[msgspec.Raw]).decode


def checked(raw: bytes | msgspec.Raw, what: str) -> Any:
    """The value of a JSON text. Raises Refused, naming `what`, for a text that could not be stored and read back."""
    try:
        return loads(raw, object, what)
    except SerializationError as error:
        text = str(error).partition(" (declared as ")[0].removesuffix(f"; {WRITTEN_BEFORE}")
        raise not_an_event(text, "ParseError") from None


def members(raw: bytes | msgspec.Raw, what: str) -> dict[str, msgspec.Raw]:
    """The members of a JSON object, unread. Check the whole text first."""
    try:
        return _read_members(raw)
    except msgspec.DecodeError:
        raise not_an_event(f"{what}: a JSON object is expected", "ParseError") from None


def objects(raw: bytes, what: str) -> list[msgspec.Raw]:
    """The elements of a JSON array, unread. Check the whole text first."""
    try:
        return _read_objects(raw)
    except msgspec.DecodeError:
        raise not_an_event(f"{what}: a JSON array is expected", "ParseError") from None
