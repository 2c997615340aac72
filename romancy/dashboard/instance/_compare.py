"""Compares two instances: their inputs, the first difference of their steps, and their outcomes. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final

from romancy.dashboard.instance._rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from romancy.dashboard.instance._rows import Given
    from romancy.insight import Step

__all__ = ["Line", "Pair", "Sides", "compare", "lines_of"]

_LARGEST: Final = 32 * 1024
_MOST_LINES: Final = 400


@dataclass(frozen=True, slots=True)
class Line:
    """A line of two texts. `same`, or each side's own; an empty text is where a side has none."""

    left: str
    right: str
    same: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """A step of both, or of one of them."""

    left: Row | None
    right: Row | None
    differs: tuple[str, ...]
    first: bool = False
    """Whether it is the first pair that differs in more than its time."""


@dataclass(frozen=True, slots=True)
class Sides:
    """The steps of both."""

    pairs: tuple[Pair, ...]
    first: Pair | None


def lines_of(left: bytes, right: bytes) -> list[Line] | None:
    """Two JSON texts, line by line. None if they are too large to compare."""
    if max(len(left), len(right)) > _LARGEST:
        return None
    one, other = _pretty(left), _pretty(right)
    if max(len(one), len(other)) > _MOST_LINES:
        return None
    return list(_lines(one, other))


def _pretty(raw: bytes) -> list[str]:
    try:
        return json.dumps(json.loads(raw), indent=2, ensure_ascii=False).splitlines()
    except (ValueError, RecursionError):
        return raw.decode("utf-8", "replace").splitlines()


def _lines(one: list[str], other: list[str]) -> Iterator[Line]:
    for same, left, right in _aligned(one, other):
        yield Line(left or "", right or "", same)


def compare(left: Sequence[tuple[Step, Row]], right: Sequence[tuple[Step, Row]]) -> Sides:
    """Align the steps of two instances by what they are, in the order in which they began."""
    by_key = [{_key(step): row for step, row in side} for side in (left, right)]
    names = [[_key(step) for step, _ in side] for side in (left, right)]
    pairs: list[Pair] = []
    first: Pair | None = None
    for _, one, other in _aligned(*names):
        rows = by_key[0].get(one or ""), by_key[1].get(other or "")
        differs = tuple(_differences(*rows))
        is_first = first is None and any(word != "time" for word in differs)
        pair = Pair(*rows, differs, is_first)
        first = pair if is_first else first
        pairs.append(pair)
    return Sides(tuple(pairs), first)


def _key(step: Step) -> str:
    return f"{step.kind} {step.name} {step.id}"


def _aligned(one: Sequence[str], other: Sequence[str]) -> Iterator[tuple[bool, str | None, str | None]]:
    for tag, a, b, c, d in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if tag == "equal":
            yield from ((True, text, text) for text in one[a:b])
            continue
        longest = max(b - a, d - c)
        for index in range(longest):
            left = one[a + index] if a + index < b else None
            right = other[c + index] if c + index < d else None
            yield False, left, right


def _differences(left: Row | None, right: Row | None) -> Iterator[str]:
    if left is None or right is None:
        yield "only here"
        return
    if (left.kind, left.label) != (right.kind, right.label):
        yield "step"
        return
    if _texts(left.asked) != _texts(right.asked):
        yield "input"
    if left.outcome != right.outcome:
        yield "outcome"
    elif _texts(left.answers) != _texts(right.answers):
        yield "result"
    if left.attempts != right.attempts:
        yield "attempts"
    if left.took != right.took:
        yield "time"


def _texts(given: Sequence[Given]) -> list[tuple[str, bytes]]:
    return [(each.name, each.payload.digest) for each in given]
