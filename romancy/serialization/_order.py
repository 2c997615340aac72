"""Sorts sets the same way in every process: replay compares the bytes in the log with those written now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from romancy.serialization._anatomy import Kind, json_children, kind_of, without_root

if TYPE_CHECKING:
    from collections.abc import Iterator

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def with_sets_in_order(value: object, raw: bytes) -> bytes:
    """The same JSON with the elements of every set sorted by their own JSON."""
    plain = _decode(raw)
    sets: list[list[Any]] = [
        written
        for part, written in _pairs(value, plain)
        if kind_of(part) is Kind.SET and kind_of(written) is Kind.ARRAY
    ]
    for elements in reversed(sets):  # the inner ones first
        elements.sort(key=_encode)
    return _encode(plain)


def holds_sets(value: object) -> bool:
    """Whether there is a set in what is written of a value."""
    stack = [value]
    while stack:
        part = without_root(stack.pop())
        if kind_of(part) is Kind.SET:
            return True
        stack.extend(child for _, child in json_children(part))
    return False


def _pairs(value: object, plain: object) -> Iterator[tuple[Any, Any]]:
    """The parts of the value, each with its JSON. Parts that do not match are left out."""
    stack: list[tuple[object, Any]] = [(value, plain)]
    while stack:
        part, written = stack.pop()
        part = without_root(part)
        yield part, written
        if kind_of(written) is Kind.MAPPING:
            stack.extend(_named_pairs(part, written))
        elif kind_of(written) is Kind.ARRAY:
            stack.extend(zip((child for _, child in json_children(part)), written, strict=False))


def _named_pairs(part: Any, written: dict[str, Any]) -> Iterator[tuple[object, Any]]:
    if kind_of(part) is Kind.MAPPING:  # its keys may not be text, but they have the JSON's order
        yield from zip(part.values(), written.values(), strict=False)
        return
    for name, child in json_children(part):
        if isinstance(name, str) and name in written:
            yield child, written[name]
