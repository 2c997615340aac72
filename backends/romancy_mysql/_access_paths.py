"""The access paths of a search: which index gives its rows in the order of pages, and for which of its values.

Instances whose declared paths do not contain the path of a condition have no rows in `romancy_index`. They are searched
by their projection in addition, unless the search names workflows that have always declared the path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from romancy.storage.query import Equals, In, Missing, index_predicate, path_key
from romancy.storage.sqlkit.statements import ask
from romancy_mysql._compare import compare
from romancy_mysql._effects import index_path
from romancy_mysql._sql import comma, literal

if TYPE_CHECKING:
    from romancy.storage.query import Condition, Predicate, Query
    from romancy.storage.sqlkit.statements import Operation

__all__ = ["AccessPath", "Known", "access_paths_to", "access_paths_to_count", "by_end", "in_index_alone", "known"]

_SETS_EACH = 16
_NAMES_EACH = 8
_NAMES_MERGED = 100
"""Up to this many names are each read in their own order if an index alone answers that."""


class AccessPath(Struct, frozen=True):
    """One access path: the index that gives the order of pages, and the conditions on its columns."""

    index: bytes
    where: tuple[bytes, ...] = ()
    also: tuple[bytes, ...] = ()
    """The conditions that the index does not answer."""
    looked_up: bool = False
    """The rows are found in `romancy_index`, with the alias x."""
    by_status: bool = False
    """The access path itself is restricted to one status."""


class Known(NamedTuple):
    """What a search knows of the workflows, to choose its access paths."""

    names: list[str] | None
    """The workflows that the query names. None: it names none."""
    sets: dict[str, set[str]]
    """The sets of paths that their instances have declared, by the names under which instances store them."""


def known(query: Query) -> Operation[Known | None]:
    """What is known of the workflows of these names, or of all. None: no workflow has a name that the query allows."""
    if query.workflow_name is None and not query.conditions:
        return Known(None, {})
    sets = (yield from ask("index_sets")).rows
    recorded = {name for name, _, _ in sets}
    names: list[str] | None = None
    if query.workflow_name is not None:
        names = sorted(name for name in recorded if query.fits_name(name))
        if not names:
            return None
    wanted = recorded if names is None else {*names}
    return Known(names, {short: _paths(paths) for name, short, paths in sets if name in wanted})


def access_paths_to(query: Query, known: Known) -> list[AccessPath]:
    """All access paths of a query. Together they reach every matching row, each in the order of its index."""
    names = known.names
    named = () if names is None else (b"i.workflow_name in (" + comma(names) + b")",)
    if query.ids is not None:
        return [AccessPath(b"primary", (b"i.instance_id in (" + comma(query.ids) + b")",), also=named)]
    if query.parent is not None:
        return [AccessPath(b"by_parent", (b"i.parent = " + literal(query.parent),), also=named)]
    by_index = _by_index(query, known.sets)
    if by_index:
        return [replace(way, also=(*way.also, *named)) for way in by_index]
    few = _NAMES_EACH if query.conditions or query.statuses else _NAMES_MERGED
    if names is not None and len(names) <= few:
        return [AccessPath(b"by_name", (b"i.workflow_name = " + literal(name),)) for name in names]
    if names is None and query.statuses:
        return [
            AccessPath(b"by_status", (b"i.status = " + literal(status),), by_status=True) for status in query.statuses
        ]
    return [AccessPath(b"by_age", also=named)]


def access_paths_to_count(query: Query, known: Known) -> list[AccessPath]:
    """The access paths of a declared path, if a condition has one; else one whose index is advice, where needed."""
    ways, names = access_paths_to(query, known), known.names
    if any(way.looked_up for way in ways):
        return ways
    named = () if names is None else (b"i.workflow_name in (" + comma(names) + b")",)
    touched = () if query.ended_since is None else (b"i.touched_at >= " + literal(query.ended_since),)
    index = ways[0].index if query.parent is not None or query.ids is not None else b"touched" if touched else b""
    return [AccessPath(index, also=(*named, *touched))]


def by_end(query: Query, names: list[str] | None) -> AccessPath:
    """The access path by the time of the end. What ends is touched, so it was touched then or later."""
    named = () if names is None else (b"i.workflow_name in (" + comma(names) + b")",)
    return AccessPath(b"touched", (b"i.touched_at >= " + literal(query.ended_since),), also=named)


def _by_index(query: Query, sets: dict[str, set[str]]) -> list[AccessPath]:
    """The access paths of a condition on a declared path. Empty if there is no such condition."""
    declared = {path for paths in sets.values() for path in paths}
    for condition in sorted(query.conditions, key=_usefulness):
        wanted = _indexable(condition)
        spellings = {path for path in declared if path_key(path) == condition.key}
        if wanted is None or not spellings:
            continue
        compared = compare(b"x.value", wanted)
        at = [b"x.path = " + literal(index_path(path)) for path in sorted(spellings)]
        ways = [AccessPath(b"primary", (one, compared), looked_up=True) for one in at]
        others = [short for short, paths in sets.items() if not spellings & paths]
        if len(others) > _SETS_EACH:
            return [*ways, AccessPath(b"by_age", also=(b"i.index_paths in (" + comma(others) + b")",))]
        return ways + [AccessPath(b"by_paths", (b"i.index_paths = " + literal(short),)) for short in others]
    return []


def _paths(joined: str) -> set[str]:
    return set(joined.split("\n")) if joined else set()


def _usefulness(condition: Condition) -> int:
    """The rank of a condition: smaller if it will probably leave fewer rows."""
    match condition.predicate:
        case Equals():
            return 0
        case In():
            return 1
        case _:
            return 2


def _indexable(condition: Condition) -> Predicate | None:
    """The index's condition that holds wherever the condition holds. None for absence, which has no row there."""
    predicate = index_predicate(condition.predicate)
    if isinstance(predicate, Missing) or (isinstance(predicate, In) and predicate.or_missing):
        return None
    return predicate


def in_index_alone(query: Query, way: AccessPath) -> bool:
    """Whether the index alone decides which rows match."""
    if query.error is not None or query.group is not None:
        return False
    if query.top_level or (query.parent is not None and way.index != b"by_parent"):
        return False
    return not query.conditions and not query.by_end and not way.also and (way.by_status or not query.statuses)
