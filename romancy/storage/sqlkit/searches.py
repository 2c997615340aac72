"""Parts of searches that all SQL databases share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.query import Equals, In, Position, index_predicate, is_of_input

if TYPE_CHECKING:
    from romancy.storage.query import Query

__all__ = ["Stretch", "indexed_values", "stretches"]

FEW: Final = 500
"""So many instances may be read in the order of their starts to find those that ended at some time."""


class Stretch(NamedTuple):
    """A part of a search: the instances that were started within a span of time."""

    query: Query
    few: int | None = None
    """Set if they were started before the time since when they are to have ended. Any of these may match, but few do.

    If they are more than `few`, those that ended since then are read from an index of the ends.
    """


def stretches(query: Query) -> list[Stretch]:
    """The parts of a search, the younger instances first. Without bounds of the end, the search is one part.

    Each part asks for terminal statuses only. Without such a status, nothing matches and there is no part.
    """
    if not query.by_end:
        return [Stretch(query)]
    statuses = tuple(status for status in query.statuses or Status if status in TERMINAL_STATUSES)
    border, until = query.ended_since, query.ended_until
    if not statuses or (border is not None and until is not None and border >= until):
        return []
    query = replace(query, statuses=statuses)
    if border is None or (query.since is not None and query.since >= border) or indexed_values(query) is not None:
        return [Stretch(query)]
    place = Position(border, "")
    older = Stretch(replace(query, after=query.after if _is_behind(query.after, place) else place), FEW)
    if _is_behind(query.after, place):
        return [older]
    return [Stretch(replace(query, since=border)), older]


def _is_behind(after: Position | None, place: Position) -> bool:
    return after is not None and after.created_at < place.created_at


def indexed_values(query: Query) -> tuple[str, list[str]] | None:
    """The key of the first condition that an index of values answers, and the values to look up."""
    for condition in query.conditions:
        if not is_of_input(condition.key):
            continue  # headers are not declared
        match index_predicate(condition.predicate):
            case Equals(word):
                return condition.key, [word]
            case In(words, or_missing=False):
                return condition.key, list(dict.fromkeys(words))
            case _:
                continue
    return None
