"""Searches and counts: a query becomes one statement of a few branches. Each branch walks one index, in its order.

Every value is bound, the paths of members included. The SQL is composed of constants alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, assert_never

import msgspec
from msgspec.structs import replace

from romancy.storage.columns import instance_columns
from romancy.storage.query import Contains, Equals, In, Missing, NotEquals, Range
from romancy.storage.sqlkit.reading import to_count, to_find
from romancy.storage.sqlkit.searches import indexed_values, known
from romancy.storage.sqlkit.statements import ask_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from romancy.storage.query import Condition, Predicate, Query
    from romancy.storage.sqlkit.searches import Known
    from romancy.storage.sqlkit.statements import Operation

__all__ = ["SqliteSearches", "compose"]

_WORD: Final = """case when json_extract(i.projection, ?) is null
     then json_extract(i.projection, '$."' || json_extract(i.projection, '$."_"') || ?)
     else json_extract(i.projection, ?) end"""
_MOST_BRANCHES: Final = 64
_IN_GROUP: Final = "find_in_group"
"""The script that is the condition on a group of failures."""

Part = tuple[str, list[object]]
"""SQL, and its bound values."""


class _Branch(NamedTuple):
    """A place of an index: the query that reads it, its values, and the conditions that it does not answer."""

    name: str
    head: list[object]
    rest: list[Part]


class SqliteSearches:
    """As `Searches` promises. `text` gives the script of a name."""

    def __init__(self, text: Callable[[str], str]) -> None:
        self._text = text

    def known(self, query: Query, /) -> Operation[Known | None]:
        return known(query)

    def page(self, query: Query, known: Known, /, *, by_end: bool) -> Operation[Sequence[Sequence[Any]]]:
        (answer,) = yield from ask_all(to_find(*compose(self._text, query, known, by_end=by_end)))
        return answer.rows

    def count(self, query: Query, known: Known, /) -> Operation[Sequence[Sequence[Any]]]:
        (answer,) = yield from ask_all(to_count(*_compose_count(self._text, query, known)))
        return answer.rows


def _compose_count(text: Callable[[str], str], query: Query, known: Known) -> Part:
    parts = [_text_of(text, query, branch, "i.workflow_name, i.status", "") for branch in _counted(query, known)]
    joined = " union all ".join(sql for sql, _ in parts)
    sql = f"select workflow_name, status, count(*) from ({joined}) group by workflow_name, status"  # noqa: S608 - constants
    return sql, [value for _, values in parts for value in values]


def _counted(query: Query, known: Known) -> list[_Branch]:
    """The branches to count, in no order: by the ends where the query has bounds of them, else as in a search.

    Where no index leaves out rows, they are read in the order of the table.
    """
    branches, names = _branches(query, known), known.names
    if not branches or branches[0].name not in {"find_by_status", "find_by_name", "find_by_names", "find_any"}:
        return branches
    if query.by_end:
        return [_by_end(query, names)]
    bounded = query.since is not None or query.until is not None or query.after is not None
    if branches[0].name == "find_by_names" or (branches[0].name == "find_any" and not bounded):
        return [_Branch("find_anywhere", [], _chosen(query, names))]
    return branches


def compose(text: Callable[[str], str], query: Query, known: Known, *, by_end: bool = False) -> Part:
    """The statement for a query, with `by_end` by the index of the ends, and its values."""
    branches = [_by_end(query, known.names)] if by_end else _branches(query, known)
    parts = [_page_of(text, query, branch) for branch in branches]
    values = [value for _, some in parts for value in some]
    if len(parts) == 1:
        return parts[0][0], values
    merged = " union all ".join(
        f"select * from ({sql})"  # noqa: S608 - constants
        for sql, _ in parts
    )
    return f"{merged} {_order(query)}", [*values, query.limit + 1]


def _by_end(query: Query, names: list[str] | None) -> _Branch:
    """The branch of those that ended within the bounds, in the order of their ends."""
    return _Branch("find_by_end", [], _chosen(query, names))


def _branches(query: Query, known: Known) -> list[_Branch]:
    """One branch for each place of an index that may hold matches. Together they hold each match once."""
    names = known.names
    chosen = _chosen(query, names)
    statuses = [status.value for status in query.statuses]
    indexed = indexed_values(query)
    if query.ids is not None:
        return [_Branch("find_by_ids", [_json(list(query.ids))], chosen)]
    if query.parent is not None:
        return [_Branch("find_by_parent", [query.parent], _chosen(replace(query, parent=None), names))]
    if indexed is not None:
        key, words = indexed
        others = sorted({paths for _, paths in known.others})
        return [
            *_each("find_by_value", "find_by_values", words, chosen, key),
            *_each("find_by_set", "find_by_sets", others, chosen),
        ]
    if statuses:
        return _each("find_by_status", "find_any", statuses, _chosen(replace(query, statuses=()), names))
    if names is not None:
        return _each("find_by_name", "find_by_names", names, _chosen(query, None))
    return [_Branch("find_any", [], chosen)]


def _each(single: str, several: str, places: list[str], rest: list[Part], *fixed: str) -> list[_Branch]:
    """A branch for each place, each in order. With too many to merge, one sorted branch for all."""
    if len(places) > _MOST_BRANCHES:
        return [_Branch(several, [*fixed, _json(places)], rest)]
    return [_Branch(single, [*fixed, place], rest) for place in places]


def _page_of(text: Callable[[str], str], query: Query, branch: _Branch) -> Part:
    """The first rows of a branch."""
    sql, values = _text_of(text, query, branch, instance_columns("i"), _order(query, _first(branch)))
    return sql, [*values, query.limit + 1]


def _text_of(text: Callable[[str], str], query: Query, branch: _Branch, columns: str, page: str) -> Part:
    parts = [*_place(query, _first(branch)), *branch.rest]
    conditions = " and ".join(text(_IN_GROUP) if one == _IN_GROUP else one for one, _ in parts) or "true"
    sql = text(branch.name).format(columns=columns, conditions=conditions, page=page)
    return sql, [*branch.head, *(value for _, values in parts for value in values)]


def _first(branch: _Branch) -> str:
    """The table that has the columns of the order."""
    return "x." if branch.name.startswith("find_by_value") else "i."


def _order(query: Query, table: str = "") -> str:
    way = "asc" if query.oldest_first else "desc"
    return f"order by {table}created_at {way}, {table}instance_id {way} limit ?"


def _place(query: Query, table: str) -> list[Part]:
    """The conditions for the requested part of the order of pages."""
    parts: list[Part] = []
    if query.after is not None:
        behind = ">" if query.oldest_first else "<"
        place: list[object] = [query.after.created_at, query.after.instance_id]
        parts.append((f"({table}created_at, {table}instance_id) {behind} (?, ?)", place))
    if query.since is not None:
        parts.append((f"{table}created_at >= ?", [query.since]))
    if query.until is not None:
        parts.append((f"{table}created_at < ?", [query.until]))
    return parts


def _chosen(query: Query, names: list[str] | None) -> list[Part]:
    """All conditions but those of the place."""
    statuses = [status.value for status in query.statuses]
    by_status = [_among("i.status", statuses)] if statuses else []
    by_name = [_among("i.workflow_name", names)] if names is not None else []
    return [*by_status, *by_name, *_conditions(query)]


def _conditions(query: Query) -> list[Part]:
    parts = [_condition(condition) for condition in query.conditions]
    if parts:
        parts.insert(0, ("i.projection is not null", []))
    if query.top_level:
        parts.append(("i.parent is null", []))
    if query.parent is not None:
        parts.append(("i.parent = ?", [query.parent]))
    if query.instance_id is not None:
        parts.append(("instr(lower(i.instance_id), lower(?)) > 0", [query.instance_id]))
    if query.error is not None:
        parts.append(("instr(cast(i.error as blob), cast(? as blob)) > 0", [query.error]))
    if query.group is not None:
        parts.append((_IN_GROUP, [query.group]))
    if query.ended_since is not None:
        parts.append(("i.updated_at >= ?", [query.ended_since]))
    if query.ended_until is not None:
        parts.append(("i.updated_at < ?", [query.ended_until]))
    return parts


def _condition(condition: Condition) -> Part:
    text, words = _predicate(condition.predicate)
    places = [f'$."{condition.first}"', f'__{condition.key}"', f'$."{condition.key}"']
    values: list[object] = []
    for given in words:
        values.extend(places if given is None else [given])
    return text.format(word=_WORD), values


def _predicate(predicate: Predicate) -> tuple[str, list[object]]:
    """The condition on a word, and its bound values. None stands for the member that the word is extracted from."""
    match predicate:
        case Equals(wanted):
            return "{word} = ?", [None, wanted]
        case NotEquals(unwanted):
            return "{word} <> ?", [None, unwanted]
        case In(words, or_missing):
            among = "{word} in (select value from json_each(?))"
            if or_missing:
                return f"({among} or {{word}} is null)", [None, _json(list(words)), None]
            return among, [None, _json(list(words))]
        case Range(low, low_inclusive, high, high_inclusive):
            above, below = ">=" if low_inclusive else ">", "<=" if high_inclusive else "<"
            return f"({{word}} {above} ? and {{word}} {below} ?)", [None, low, None, high]
        case Contains(text):
            return "({word} >= 's:' and {word} < 's;' and instr(substr({word}, 3), ?) > 0)", [None, None, None, text]
        case Missing():
            return "{word} is null", [None]
        case _:
            assert_never(predicate)


def _among(column: str, values: list[str]) -> Part:
    return f"{column} in (select value from json_each(?))", [_json(values)]  # noqa: S608 - constants


def _json(values: list[str]) -> str:
    return msgspec.json.encode(values).decode()
