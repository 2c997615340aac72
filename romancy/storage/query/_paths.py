r"""Paths: how a filter points into a stored input, and the key a path has in the encoded projection.

    path    = step *( "." step / quoted )
    step    = name / quoted
    name    = 1*( letter / digit / "_" / "-" )        letters and digits of any script
    quoted  = "[" JSON-string "]"

`order.items.0.sku`, `order["unit.price"]` and `order.["unit.price"]` are paths. A segment of ASCII digits without a
leading zero indexes an array, and names a key in an object; quoting it changes nothing. Other whole numbers (`01`,
`-1`, digits of other scripts) are refused unquoted, because they look like an index and are none; quoted, they name a
key. Segments are data: nothing here knows SQL.

A **key** is a path as one word of `[a-z0-9_]`: segments joined by `__`, ASCII lower-case letters and digits as they
are, every other byte of a name's UTF-8 as `_xx` in lower-case hex, the empty name as `_z`. Read from the left, a key
can be split in one way only, so two paths never share a key, even where letter case is ignored.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from romancy.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_DEPTH", "MAX_PATH_LENGTH", "SEPARATOR", "Path", "encode_names", "parse_path", "path_key"]

MAX_DEPTH = 32
MAX_PATH_LENGTH = 1024
SEPARATOR = "__"

Path: TypeAlias = tuple[str, ...]

_NAME = re.compile(r"[\w-]+")
_QUOTED = re.compile(r'\[("(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")\]')
_WHOLE_NUMBER = re.compile(r"-?\d+")
_INDEX = re.compile(r"0|[1-9][0-9]*")
_ESCAPED = re.compile(rb"[^a-z0-9]")
_CACHED_NAME_LENGTH = 64


def parse_path(text: str) -> Path:
    """The segments of a path. `QueryError` names the position of a fault and how to write it."""
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - filters come from anywhere
        raise QueryError(f"a path must be a string like 'order.status', not {type(text).__name__}")
    if len(text) > MAX_PATH_LENGTH:
        raise QueryError(f"path of {len(text):,} characters: at most {MAX_PATH_LENGTH:,} are allowed")
    segments: list[str] = []
    position = 0
    while True:
        segment, position = _segment(text, position)
        segments.append(segment)
        if position == len(text):
            break
        if text[position] == ".":
            position += 1
        elif text[position] != "[":
            raise _misplaced(text, position)
    if len(segments) > MAX_DEPTH:
        raise QueryError(f"path of {len(segments)} segments: at most {MAX_DEPTH} are allowed")
    return tuple(segments)


@lru_cache(maxsize=1024)
def path_key(text: str) -> str:
    """The key of a path, from its text. `QueryError` as for `parse_path`."""
    return SEPARATOR.join(encode_names(parse_path(text)))


def encode_names(names: Iterable[str]) -> list[str]:
    """Each name as a segment of a key."""
    return [_cached_name(name) if len(name) <= _CACHED_NAME_LENGTH else _encode(name) for name in names]


def _segment(text: str, position: int) -> tuple[str, int]:
    if text.startswith("[", position):
        return _quoted_segment(text, position)
    match = _NAME.match(text, position)
    if match is None:
        if position == len(text):
            raise _malformed(text, position, "a name is missing at the end")
        if text[position] == ".":
            raise _malformed(text, position, 'a name is missing before the dot; write an empty name as [""]')
        raise _misplaced(text, position)
    name = match[0]
    if _WHOLE_NUMBER.fullmatch(name) and not _INDEX.fullmatch(name):
        raise _malformed(
            text,
            position,
            f"{name!r} is not an index (those are 0, 1, 2, …); write [{json.dumps(name)}] to name a key",
        )
    return name, match.end()


def _quoted_segment(text: str, position: int) -> tuple[str, int]:
    match = _QUOTED.match(text, position)
    if match is None:
        raise _malformed(
            text,
            position,
            'brackets hold a JSON string, as in ["a.b"]; an array is indexed by a dot, as in items.0',
        )
    name: str = json.loads(match[1])
    try:
        name.encode()
    except UnicodeEncodeError:
        raise _malformed(text, position, "the name holds half of a surrogate pair, which is not text") from None
    return name, match.end()


def _misplaced(text: str, position: int) -> QueryError:
    if text.startswith("]", position - 1):
        return _malformed(text, position, "a dot must separate names")
    return _malformed(
        text,
        position,
        f'{text[position]!r} cannot stand in a bare name; write the name as a JSON string in brackets, as in ["a b"]',
    )


def _malformed(text: str, position: int, reason: str) -> QueryError:
    shown = text if len(text) <= 80 else text[:77] + "…"  # noqa: PLR2004 - a line's worth
    return QueryError(f"path {shown!r}, position {position}: {reason}")


@lru_cache(maxsize=4096)
def _cached_name(name: str) -> str:
    return _encode(name)


def _encode(name: str) -> str:
    if not name:
        return "_z"
    raw = name.encode("utf-8", "surrogatepass")
    return _ESCAPED.sub(lambda match: b"_" + match[0].hex().encode(), raw).decode("ascii")
