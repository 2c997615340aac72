"""Headers: small texts by name that travel with a message beside its data."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final, cast

from romancy.errors import PayloadTooLargeError, UsageError
from romancy.storage.limits import check_id, check_text

__all__ = [
    "MAX_HEADERS_BYTES",
    "SCHEDULED_AT",
    "bringing",
    "brought",
    "extensions_of",
    "headers_of",
    "scheduled_at",
    "trace_of",
]

MAX_HEADERS_BYTES: Final = 16 * 1024
SCHEDULED_AT: Final = "romancy-scheduled-at"
"""The header by which a run of a schedule knows its time."""
_NAME: Final = re.compile(r"[a-z0-9]{1,64}")
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE: Final = re.compile(r"[\x20-\x7e]{1,1024}")
_NUMBERS: Final = 1 << 31
"""The specification of CloudEvents knows whole numbers of 32 bits."""
_NOTHING: Final[dict[str, Any]] = {}
brought: Final[ContextVar[Mapping[str, str]]] = ContextVar("brought", default=_NOTHING)
"""Headers of every message sent from this context, unless the caller gives others of the same names."""


@contextmanager
def bringing(headers: Mapping[str, str]) -> Generator[None]:
    """Add these headers to every message sent inside the block."""
    token = brought.set(headers)
    try:
        yield
    finally:
        brought.reset(token)


def trace_of(headers: Mapping[str, Any]) -> dict[str, str]:
    """The trace context among the headers, in W3C form. Empty if it is not valid."""
    parent, state = headers.get("traceparent"), headers.get("tracestate")
    if not isinstance(parent, str) or _TRACEPARENT.fullmatch(parent) is None:
        return {}
    if isinstance(state, str) and _TRACESTATE.fullmatch(state) is not None:
        return {"traceparent": parent, "tracestate": state}
    return {"traceparent": parent}


def scheduled_at(headers: Mapping[str, str]) -> datetime | None:
    """For which time a schedule has started the instance with these headers."""
    given = headers.get(SCHEDULED_AT)
    return None if given is None else datetime.fromisoformat(given)


def headers_of(given: Any, what: str) -> dict[str, str]:
    """The headers, checked and copied. Raises UsageError and PayloadTooLargeError, which name `what` they belong to."""
    if given is None:
        return _NOTHING
    headers = dict(_mapping(given, f"headers of {what}"))
    for name, value in headers.items():
        check_id(name, f"name of a header of {what}")
        check_text(value, f"header {name!r} of {what}")
    size = sum(len(name.encode()) + len(value.encode()) for name, value in headers.items())
    if size > MAX_HEADERS_BYTES:
        raise PayloadTooLargeError(f"headers of {what}: {size:,} bytes, at most {MAX_HEADERS_BYTES:,} are allowed")
    return headers


def extensions_of(given: Any, what: str) -> dict[str, str | int | bool]:
    """The extension attributes of a CloudEvent, checked and copied."""
    if given is None:
        return _NOTHING
    extensions = dict(_mapping(given, f"extensions of {what}"))
    for name, value in extensions.items():
        check_id(name, f"name of an extension of {what}")
        if _NAME.fullmatch(name) is None:
            raise UsageError(
                f"extension {name!r} of {what}: a name has lower-case letters and digits only, at most 64; "
                "CloudEvents recommends 20"
            )
        if isinstance(value, str):
            check_text(value, f"extension {name!r} of {what}")
        elif not isinstance(value, (bool, int)):
            raise UsageError(
                f"extension {name!r} of {what}: must be text, a whole number or a truth value, "
                f"not {type(value).__name__}"
            )
        elif not -_NUMBERS <= value < _NUMBERS:
            raise UsageError(
                f"extension {name!r} of {what}: a whole number has at most 32 bits; send a larger one as text"
            )
    return extensions


def _mapping(given: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise UsageError(f"{what}: must map names to values, not {type(given).__name__}")
    return cast("Mapping[str, Any]", given)
