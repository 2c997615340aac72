"""Decides conditions in Python, exactly as an adapter's SQL does. The suite compares every database with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.query._conditions import Contains, Equals, In, Missing, NotEquals, Range
from romancy.storage.query._leaves import STRING
from romancy.storage.query._projection import member_at, members_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.query._conditions import Condition, Predicate

__all__ = ["holds", "satisfies"]


def holds(projection: bytes | None, conditions: Iterable[Condition]) -> bool:
    """Whether all conditions hold of a projection. None, not searchable, satisfies only an empty query."""
    wanted = tuple(conditions)
    if projection is None or not wanted:
        return not wanted
    members = members_of(projection)
    return all(satisfies(member_at(members, condition.key), condition.predicate) for condition in wanted)


def satisfies(word: str | None, predicate: Predicate) -> bool:
    """Whether an extracted word (None: absent) satisfies a predicate. Words are ASCII, so `<` compares bytes."""
    if word is None:
        return isinstance(predicate, Missing) or (isinstance(predicate, In) and predicate.or_missing)
    match predicate:
        case Equals(wanted):
            return word == wanted
        case NotEquals(unwanted):
            return word != unwanted
        case In(words):
            return word in words
        case Range(low, low_inclusive, high, high_inclusive):
            above = word >= low if low_inclusive else word > low
            return above and (word <= high if high_inclusive else word < high)
        case Contains(text):
            return word.startswith(STRING) and text in word[len(STRING) :]
        case Missing():
            return False
