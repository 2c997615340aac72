"""The headers of a start in its projection, where searches find them.

    {"tenant": "acme"}  ->  {…the input's members, "_h":"c","_h__tenant":"s:acme"}

No path of an input has such a key: behind a `_`, an encoded name has hex digits or `z`. If the input is not searchable,
the member `_x` stands in its place. Conditions that an absent value fulfils also ask that there is no `_x`, so that
such an input still matches no filter.

Headers that carry a trace are left out. They differ in each start, and nobody searches by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.query._leaves import CONTAINER, string_leaf
from romancy.storage.query._paths import SEPARATOR, encode_names

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HEADERS", "TRACE_HEADERS", "UNREAD", "header_key", "is_of_input", "with_headers"]

HEADERS: Final = "_h"
"""The key of the member that says that headers follow."""
UNREAD: Final = "_x"
"""The key of the member that stands for an input that is not searchable."""
TRACE_HEADERS: Final = frozenset({"traceparent", "tracestate", "baggage"})


def header_key(name: str) -> str:
    """The key of a header."""
    return f"{HEADERS}{SEPARATOR}{encode_names((name,))[0]}"


def is_of_input(key: str) -> bool:
    """Whether a key leads into the input."""
    return not key.startswith((HEADERS, UNREAD))


def with_headers(projection: bytes | None, headers: Mapping[str, str]) -> bytes | None:
    """The projection with the headers that are searched. Without any, the projection itself."""
    members = [
        f'"{header_key(name)}":"{string_leaf(value)}"' for name, value in headers.items() if name not in TRACE_HEADERS
    ]
    if not members:
        return projection
    head = projection[:-1].decode("ascii") if projection is not None else f'{{"{UNREAD}":"{CONTAINER}"'
    comma = "" if head == "{" else ","
    return f'{head}{comma}"{HEADERS}":"{CONTAINER}",{",".join(members)}}}'.encode("ascii")
