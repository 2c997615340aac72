"""Parts of searches that all SQL databases share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.query import Equals, In, Position, index_predicate, is_of_input
from romancy.storage.sqlkit.statements import ask

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.query import Query
    from romancy.storage.sqlkit.statements import Operation

__all__ = ["Known", "Stretch", "ended", "indexed_values", "known", "stretches"]

FEW: Final = 500
"""So many instances may be read in the order of their starts to find those that ended at some time."""


class Known(NamedTuple):
    """What a search knows of the workflows, to choose the indexes that it reads."""

    names: list[str] | None
    """The workflows that the query names. None: it names none."""
    others: list[tuple[str, str]]
    """The sets of declared paths that lack the path of `indexed_values`, each with a workflow that has used it."""


class Stretch(NamedTuple):
    """A part of a search: the instances that were started within a span of time."""

    query: Query
    few: int | None = None
    """Set if they were started before the time since when they are to have ended. Any of these may match, but few do.

    If more than `few` were started before `border`, those that ended since then are read from an index of the ends.
    """

    @property
    def border(self) -> Position | None:
        """The place behind which all instances of this part come, newest first."""
        if self.query.oldest_first:
            return None if self.query.until is None else Position(self.query.until, "")
        return self.query.after


def ended(query: Query) -> Query | None:
    """The query, with terminal statuses only if it has bounds of the end. None: nothing matches."""
    if not query.by_end:
        return query
    statuses = tuple(status for status in query.statuses or Status if status in TERMINAL_STATUSES)
    since, until = query.ended_since, query.ended_until
    if not statuses or (since is not None and until is not None and since >= until):
        return None
    return replace(query, statuses=statuses)


def stretches(query: Query) -> list[Stretch]:
    """The parts of a search, in the order of its pages. Without bounds of the end, the search is one part.

    Each part asks for terminal statuses only. Without such a status, nothing matches and there is no part.
    """
    known = ended(query)
    if known is None:
        return []
    border = known.ended_since
    if border is None or known.ids is not None or known.parent is not None or indexed_values(known) is not None:
        return [Stretch(known)]
    return _oldest_first(known, border) if known.oldest_first else _newest_first(known, border)


def _newest_first(query: Query, border: int) -> list[Stretch]:
    if query.since is not None and query.since >= border:
        return [Stretch(query)]
    behind = query.after is not None and query.after.created_at < border
    older = Stretch(query if behind else replace(query, after=Position(border, "")), FEW)
    return [older] if behind else [Stretch(replace(query, since=border)), older]


def _oldest_first(query: Query, border: int) -> list[Stretch]:
    if query.after is not None and query.after.created_at >= border:
        return [Stretch(query)]
    if query.until is not None and query.until <= border:
        return [Stretch(query, FEW)]
    older = Stretch(replace(query, until=border), FEW)
    return [older, Stretch(replace(query, after=Position(border, "")))]


def known(query: Query, stored: Callable[[str], str] = str) -> Operation[Known | None]:
    """What is known of the workflows of these names, or of all. None: no workflow has a name that the query allows.

    `stored` makes of the key of a path what the database compares.
    """
    names: list[str] | None = None
    if query.workflow_name is not None:
        found = (yield from ask("workflow_names", part=query.workflow_name)).rows
        names = [row[0] for row in found if query.fits_name(row[0])]
        if not names:
            return None
    if query.ids is not None or query.parent is not None or (indexed := indexed_values(query)) is None:
        return Known(names, [])
    others = (yield from ask("other_sets", path=stored(indexed[0]), names=names)).rows
    return Known(names, [(name, paths) for name, paths in others])


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
