"""The encoded projection: a stored input as one flat JSON object of words, the same on every database.

    {"order": {"status": "new", "items": [{"sku": "A 1"}]}}
    {"order":"c","order__status":"s:new","order__items":"c","order__items__0":"c","order__items__0__sku":"s:A!)#$"}

One member per place in the document: its key (`_paths`) and its word (`_leaves`). It is flat because a path of 32
segments would otherwise need 32 nested objects, and MariaDB's JSON functions give up at 32. Arrays and objects with
numbers for keys look alike, so a path is always a single extraction.

A document is **not searchable** (None, stored as NULL) when its projection would be over 64 kB or when it is not
JSON at all, as under an encrypting codec: it matches no filter, not even `None` or `missing()`. What lies deeper than
32 segments is not in the projection, and no path reaches it. Of members with the same name the last one counts.
Nothing here raises: whatever can be stored can be started.
"""

from __future__ import annotations

import json
import math
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from romancy.storage.query._leaves import CEILING, CONTAINER, MAX_DIGITS, leaf, number_leaf, string_leaf
from romancy.storage.query._paths import MAX_DEPTH, SEPARATOR, encode_name, path_key

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["INDEX_HEAD", "MAX_PROJECTION_BYTES", "index_text", "index_value", "project", "project_with_index"]

MAX_PROJECTION_BYTES = 64 * 1024
MAX_INDEX_LENGTH = 255
INDEX_HEAD = MAX_INDEX_LENGTH - 1 - 64
_MEMBER_OVERHEAD = len('"":"",')

_decode_json = msgspec.json.Decoder().decode


def project(raw_json: bytes) -> bytes | None:
    """The projection of a document's JSON text, as JSON text of plain ASCII; None: not searchable."""
    leaves = _leaves(raw_json)
    return None if leaves is None else _text(leaves)


def index_value(raw_json: bytes, path: str) -> str | None:
    """What the index column of a declared path holds; None if the path is absent or the document not searchable.

    At most 255 characters, all ASCII. A longer word is cut and ends in `~` and its SHA-256, so equal values stay equal.
    Order survives the cut only roughly, and `missing()` meets documents that are not searchable: an adapter
    narrows by the index (`index_predicate`) and always asks the projection as well.
    """
    leaves = _leaves(raw_json)
    return None if leaves is None else index_text(leaves.get(path_key(path)))


def project_with_index(
    raw_json: bytes, paths: Sequence[str]
) -> tuple[bytes | None, tuple[tuple[str, str | None], ...]]:
    """`project` and `index_value` for each declared path, at the price of one pass over the document."""
    leaves = _leaves(raw_json)
    if leaves is None:
        return None, tuple((path, None) for path in paths)
    return _text(leaves), tuple((path, index_text(leaves.get(path_key(path)))) for path in paths)


def index_text(word: str | None) -> str | None:
    """A word cut to what an index column holds."""
    if word is None or len(word) <= MAX_INDEX_LENGTH:
        return word
    return word[:INDEX_HEAD] + CEILING + sha256(word.encode("ascii")).hexdigest()


def _text(leaves: dict[str, str]) -> bytes:
    if not leaves:
        return b"{}"
    members = '","'.join([f'{key}":"{word}' for key, word in leaves.items()])
    return f'{{"{members}"}}'.encode("ascii")


def _leaves(raw_json: bytes) -> dict[str, str] | None:
    try:
        document = _decode(raw_json)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, (dict, list)):
        return {}
    collector = _Collector()
    if not collector.collect(document, "", 1):
        return None
    leaves = collector.leaves
    size = 1 + _MEMBER_OVERHEAD * len(leaves) + sum(map(len, leaves)) + sum(map(len, leaves.values()))
    return leaves if size <= MAX_PROJECTION_BYTES else None


def _decode(raw_json: bytes) -> Any:
    """A document as Python values; a number that is none of them becomes infinity. ValueError: not JSON."""
    try:
        return _decode_json(raw_json)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Slower and wider: halves of surrogate pairs, numbers beyond the floats, integers of thousands of digits.
        return json.loads(raw_json.decode(), parse_int=_integer, parse_constant=_refuse_constant)


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= MAX_DIGITS + 1 else math.inf


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


class _Collector:
    """Walks a document and writes down every place in it, until there is certainly too much."""

    def __init__(self) -> None:
        self.leaves: dict[str, str] = {}
        self._room = MAX_PROJECTION_BYTES

    def collect(self, container: dict[str, Any] | list[Any], prefix: str, depth: int) -> bool:
        """Write down what the container holds; False when the projection is going to be too large."""
        # The least its members can take: with this a hostile document costs no more memory than it has itself.
        self._room -= len(container) * (len(prefix) + _MEMBER_OVERHEAD)
        if self._room < 0:
            return False
        leaves = self.leaves
        named = (
            container.items()
            if isinstance(container, dict)
            else zip(map(str, range(len(container))), container)
        )
        for name, value in named:
            key = prefix + encode_name(name)
            kind = type(value)
            if kind is str:
                leaves[key] = string_leaf(value)
            elif kind is int or kind is float:
                leaves[key] = number_leaf(value)
            elif kind is dict or kind is list:
                leaves[key] = CONTAINER
                if value and depth < MAX_DEPTH and not self.collect(value, key + SEPARATOR, depth + 1):
                    return False
            else:
                leaves[key] = leaf(value)
        return True
