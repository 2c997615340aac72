"""Predicates on words of the projection, as comparisons of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.query import Contains, Equals, In, Missing, NotEquals, Range
from romancy_mysql._sql import comma, literal

if TYPE_CHECKING:
    from romancy.storage.query import Predicate

__all__ = ["compare"]


def compare(word: bytes, predicate: Predicate) -> bytes:
    """A predicate as a comparison of bytes."""
    match predicate:
        case Equals(wanted):
            return word + b" = " + literal(wanted)
        case NotEquals(unwanted):
            return word + b" <> " + literal(unwanted)
        case In(words, or_missing):
            chosen = word + b" in (" + comma(words) + b")"
            return b"(" + chosen + b" or " + word + b" is null)" if or_missing else chosen
        case Range(low, low_inclusive, high, high_inclusive):
            above = b" >= " if low_inclusive else b" > "
            below = b" <= " if high_inclusive else b" < "
            return b"(" + word + above + literal(low) + b" and " + word + below + literal(high) + b")"
        case Contains(text):
            return b"(left(" + word + b", 2) = _binary's:' and locate(" + literal(text) + b", " + word + b", 3) > 0)"
        case Missing():
            return word + b" is null"
