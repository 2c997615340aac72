"""Checks the attributes of a CloudEvent before the SDK reads them: names, types and characters by the specification.

The SDK accepts numbers of any kind, control characters, times that are not RFC 3339, and percent-encoding that is not
UTF-8. Two events with different ids could then become one. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import unquote_to_bytes

import msgspec

from romancy.http._refusal import not_an_event

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Attribute", "check_attributes", "check_encoding", "plain_attributes"]

Attribute: TypeAlias = "str | int | bool"

_LARGEST: Final = 65_536
_NAME: Final = re.compile(r"[a-z0-9]{1,64}")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_HOUR: Final = r"(?:[01]\d|2[0-3]):[0-5]\d"
_TIME: Final = re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}[Tt]{_HOUR}:[0-5]\d(?:\.\d{{1,9}})?(?:[Zz]|[+-]{_HOUR})", re.ASCII)
_TEXTS: Final = frozenset({"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"})
_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def plain_attributes(stored: Mapping[str, msgspec.Raw], what: str) -> dict[str, Attribute]:
    """The attributes of an event in JSON. Those that are null are left out, and the id of an instance becomes text."""
    attributes: dict[str, Attribute] = {}
    for name, raw in stored.items():
        value = msgspec.json.decode(raw)
        if value is None:
            continue
        if not isinstance(value, str) and (name in _TEXTS or not _is_plain(value)):
            raise not_an_event(f"{what}: attribute {_shown(name)} is no text")
        attributes[name] = _text(value) if name == "romancyinstanceid" else value
    return attributes


def _is_plain(value: object) -> bool:
    """Whether it is a truth value or an integer of 32 bits; the specification has no other numbers."""
    return isinstance(value, bool) or (isinstance(value, int) and -(1 << 31) <= value < 1 << 31)


def _text(value: Attribute) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_attributes(attributes: Mapping[str, Attribute], what: str) -> None:
    """Raise Refused for a name or a value that the specification does not allow, and for too many characters."""
    size = 0
    for name, given in attributes.items():
        value = _text(given)
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
