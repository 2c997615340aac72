"""A payload as lines that fold, of a bounded size whatever it holds. Pure.

The text of numbers and the order of keys stay as they are stored. A payload that is too large or too deep is shown as
the head of its text.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NARROW", "UNSEEN", "WIDE", "Bounds", "Payload", "Piece", "payload", "summary"]

_DEEPEST: Final = 16
_BRIEF: Final = 110
_UNFOLDED: Final = 2
"""The number of levels that are open at first, in a small payload."""
_SMALL: Final = 400


class Piece(Struct, frozen=True, gc=False):
    """`open` begins an object or a list, `close` ends it, `leaf` is a value."""

    kind: str
    key: str = ""
    text: str = ""
    """The JSON of a leaf, or the folded text of an object or a list."""
    sort: str = ""
    """Of a leaf: `string`, `number` or `word`."""
    unfolded: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a payload is shown."""

    largest: int
    """In bytes; of a larger one only the head is shown."""
    head: int
    pieces: int
    text: int
    """The longest text within it."""


WIDE: Final = Bounds(64 * 1024, 4_000, 1_000, 2_000)
"""For the one payload that a page is about."""
NARROW: Final = Bounds(6 * 1024, 800, 60, 400)
"""For a payload among hundreds."""
UNSEEN: Final = Bounds(0, 0, 0, 0)
"""For a payload of which only the digest is of use."""


class Payload(Struct, frozen=True, gc=False):
    """The visible part of a payload."""

    size: int
    brief: str
    """One line."""
    pieces: tuple[Piece, ...] = ()
    head: str = ""
    """The beginning of its text, if it could not be folded."""
    cut: bool = False
    """Whether there is more than what is shown."""
    digest: bytes = b""
    """The same for equal bytes alone."""

    @property
    def folds(self) -> bool:
        """Whether there is more to see than the one line."""
        return bool(self.head) or len(self.pieces) > 1 or self.brief.endswith("…")


class _Number(str):
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Object:
    pairs: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])


_decode: Final = json.JSONDecoder(object_pairs_hook=_Object, parse_float=_Number, parse_int=_Number).decode
_encode: Final = json.JSONEncoder(ensure_ascii=False).encode


def summary(raw: bytes) -> str:
    """One line of a payload."""
    return _brief(bytes(raw[: _BRIEF * 4]).decode("utf-8", "replace"))


def payload(raw: bytes, bounds: Bounds = WIDE) -> Payload:
    """Make the visible part of a payload."""
    if len(raw) > bounds.largest:
        return _head(raw, bounds)
    try:
        value = _decode(raw.decode())
    except (ValueError, RecursionError):
        return _head(raw, bounds)
    folding = _Folding(bounds, _UNFOLDED if len(raw) <= _SMALL else 1)
    pieces = tuple(folding.pieces("", value, 0))
    return Payload(len(raw), summary(raw), pieces, cut=folding.cut, digest=_digest(raw))


def _digest(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=16).digest()


def _head(raw: bytes, bounds: Bounds) -> Payload:
    head = raw[: bounds.head].decode("utf-8", "replace")
    return Payload(len(raw), summary(raw), head=head, cut=len(raw) > bounds.head, digest=_digest(raw))


def _brief(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _BRIEF else line[: _BRIEF - 1] + "…"


class _Folding:
    def __init__(self, bounds: Bounds, unfolded: int) -> None:
        self.unfolded = unfolded
        self.left = bounds.pieces
        self.longest = bounds.text
        self.cut = False

    def pieces(self, key: str, value: Any, depth: int) -> Iterator[Piece]:
        self.left -= 1
        if isinstance(value, _Object) and value.pairs and depth < _DEEPEST:
            yield from self._nested(key, value.pairs, f"{{ {_count(len(value.pairs), 'field')} }}", depth)
        elif _is_list(value) and value and depth < _DEEPEST:
            yield from self._nested(key, list(_numbered(value)), f"[ {_count(len(value), 'item')} ]", depth)
        else:
            yield self._leaf(key, value)

    def _nested(self, key: str, pairs: list[tuple[str, Any]], text: str, depth: int) -> Iterator[Piece]:
        yield Piece("open", key, text, unfolded=depth < self.unfolded)
        for number, (name, inner) in enumerate(pairs):
            if self.left <= 0:
                self.cut = True
                yield Piece("leaf", "", f"… and {len(pairs) - number:,} more", "word")
                break
            yield from self.pieces(name, inner, depth + 1)
        yield Piece("close")

    def _leaf(self, key: str, value: Any) -> Piece:
        if isinstance(value, _Number):
            return Piece("leaf", key, self._shortened(value), "number")
        if isinstance(value, str):
            return Piece("leaf", key, self._shortened(_encode(value)), "string")
        if isinstance(value, _Object):
            return self._unopened(key, value.pairs, "{}")
        if _is_list(value):
            return self._unopened(key, value, "[]")
        return Piece("leaf", key, json.dumps(value), "word")

    def _unopened(self, key: str, within: list[Any], brackets: str) -> Piece:
        """The folded text of a value that is empty or too deep to show."""
        self.cut = self.cut or bool(within)
        return Piece("leaf", key, f"{brackets[0]}…{brackets[1]}" if within else brackets, "word")

    def _shortened(self, text: str) -> str:
        if len(text) <= self.longest:
            return text
        self.cut = True
        return f"{text[: self.longest]}… ({len(text):,} characters)"


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _numbered(values: list[Any]) -> Iterator[tuple[str, Any]]:
    return ((str(index), value) for index, value in enumerate(values))


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
