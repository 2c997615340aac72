"""The attributes of a CloudEvent before the SDK sees them: names, types and characters as the specification has them.

The SDK accepts numbers of any kind, control characters, times that are no RFC 3339, and percent-encoding that is no
UTF-8. Two events with different ids could then become one. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

import msgspec

from romancy.http._refusal import not_an_event

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_attributes", "check_encoding", "plain_attributes"]

_LARGEST: Final = 65_536
_NAME: Final = re.compile(r"[a-z0-9]{1,64}")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_TEXTS: Final = frozenset({"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"})
_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def plain_attributes(stored: Mapping[str, msgspec.Raw], what: str) -> dict[str, str]:
    """The attributes of an event in JSON, as text. Those that are null are left out."""
    attributes: dict[str, str] = {}
    for name, raw in stored.items():
        value = msgspec.json.decode(raw)
        if value is None:
            continue
        text = value if isinstance(value, str) or name in _TEXTS else _text(value)
        if not isinstance(text, str):
            raise not_an_event(f"{what}: attribute {_shown(name)} is no text")
        attributes[name] = text
    return attributes


def _text(value: object) -> str | None:
    """The text of a truth value or of an integer of 32 bits; the specification has no other numbers."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) and -(1 << 31) <= value < 1 << 31 else None


def check_attributes(attributes: Mapping[str, str], what: str) -> None:
    """Raise Refused for a name or a value that the specification does not allow, and for too much of them."""
    size = 0
    for name, value in attributes.items():
        if _NAME.fullmatch(name) is None:
            raise not_an_event(
                f"{what}: attribute {_shown(name)}: a name has lower-case letters and digits, 64 at most"
            )
        if _CONTROL.search(value) is not None:
            raise not_an_event(f"{what}: attribute {name} holds a control character or one that is no character")
        if name == "time" and _TIME.fullmatch(value) is None:
            raise not_an_event(f"{what}: time is not a time of RFC 3339")
        size += len(name) + len(value)
    if size > _LARGEST:
        raise not_an_event(f"{what}: its attributes have {size} characters, at most {_LARGEST} are allowed")


def check_encoding(name: str, value: str) -> None:
    """Raise Refused for a header whose percent-encoding is malformed or is no UTF-8."""
    try:
        if _PERCENT.search(value) is None and value.isascii():
            text = unquote_to_bytes(value).decode()
            if name != "ce-time" or _TIME.fullmatch(text) is not None:
                return
            raise not_an_event("the event: ce-time is not a time of RFC 3339")
    except UnicodeDecodeError:
        pass
    raise not_an_event(f"the event: header {_shown(name)} is not percent-encoded UTF-8", "ParseError")


def _shown(name: str) -> str:
    """A name from outside, short and in ASCII."""
    return repr(name[:40].encode("ascii", "backslashreplace").decode())
