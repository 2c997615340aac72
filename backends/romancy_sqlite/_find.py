"""Searches: a query becomes one statement of a few branches. Each branch walks one index in the order of pages.

Every value is bound, the paths of members included. The SQL is composed of constants alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, assert_never

import msgspec
from msgspec.structs import replace

from romancy.storage.query import Contains, Equals, In, Missing, NotEquals, Range
from romancy.storage.records import Page
from romancy.storage.sqlkit.searches import indexed_values, stretches
from romancy_sqlite._read import instance_row

if TYPE_CHECKING:
    from romancy.storage.query import Condition, Predicate, Query
    from romancy_sqlite._connection import Tx

__all__ = ["Statement", "compose", "find"]

_WORD: Final = """case when json_extract(i.projection, ?) is null
     then json_extract(i.projection, '$."' || json_extract(i.projection, '$."_"') || ?)
     else json_extract(i.projection, ?) end"""
_AFTER: Final = "(i.created_at, i.instance_id) < (?, ?)"
_AFTER_VALUE: Final = "(x.created_at, x.instance_id) < (?, ?)"
_SINCE: Final = "i.created_at >= ?"
_SINCE_VALUE: Final = "x.created_at >= ?"
_MERGE: Final = " order by created_at desc, instance_id desc limit ?"
_MOST_BRANCHES: Final = 64

Part = tuple[str, list[object]]


class Statement(msgspec.Struct, frozen=True):
    """The SQL of a search, and its bound values."""

    sql: str
    parameters: list[object]


def find(tx: Tx, query: Query) -> Page:
    """The page that the query asks for, newest first."""
    found: list[Any] = []
    for stretch in stretches(query):
        if len(found) <= query.limit:
            part = replace(stretch.query, limit=query.limit - len(found))
            statement = compose(tx, part, by_end=_are_many(tx, part, stretch.few))
            found += [] if statement is None else tx.compose(statement.sql, statement.parameters)
    rows = [instance_row(row) for row in found[: query.limit]]
    token = query.token_after(rows[-1].created_at, rows[-1].instance_id) if len(found) > query.limit else None
    return Page(rows=rows, next_token=token)


def _are_many(tx: Tx, query: Query, few: int | None) -> bool:
    """Whether more than `few` instances were started before the position of the query."""
    if few is None or query.after is None:
        return False
    return tx.row("place_behind", (query.after.created_at, query.after.instance_id, few)) is not None


def compose(tx: Tx, query: Query, *, by_end: bool = False) -> Statement | None:
    """The statement for a query, with `by_end` by the index of the ends. None: nothing can match."""
    conditions = _conditions(query)
    names: list[str] | None = None
    if query.workflow_name is not None:
        names = [row[0] for row in tx.rows("workflow_names", (query.workflow_name,)) if query.fits_name(row[0])]
        if not names:
            return None
    branches = [_by_end(tx, query, names, conditions)] if by_end else _branches(tx, query, names, conditions)
    parameters = [value for _, values in branches for value in values]
    if len(branches) == 1:
        return Statement(branches[0][0], parameters)
    merged = " union all ".join(
        f"select * from ({sql})"  # noqa: S608 - constants
        for sql, _ in branches
    )
    return Statement(merged + _MERGE, [*parameters, query.limit + 1])


def _by_end(tx: Tx, query: Query, names: list[str] | None, conditions: list[Part]) -> Part:
    """The branch of those that ended within the bounds, in the order of their ends."""
    by_status = _among("i.status", [status.value for status in query.statuses])
    by_name = _among("i.workflow_name", names) if names is not None else None
    return _branch(tx, query, "find_by_end", [], [*filter(None, (by_status, by_name)), *conditions])


def _branches(tx: Tx, query: Query, names: list[str] | None, conditions: list[Part]) -> list[Part]:
    """One branch for each place of an index that may hold matches. Together they hold each match once."""
    indexed = indexed_values(query)
    statuses = [status.value for status in query.statuses]
    by_status = _among("i.status", statuses) if statuses else None
    by_name = _among("i.workflow_name", names) if names is not None else None
    if indexed is not None:
        key, words = indexed
        rest = [*filter(None, (by_status, by_name)), *conditions]
        others = [paths for paths in _index_sets(tx, names) if key not in paths.split("\n")]
        return [
            *_each(tx, query, "find_by_value", "find_by_values", words, rest, key),
            *_each(tx, query, "find_by_set", "find_by_sets", others, rest),
        ]
    if statuses:
        rest = [*filter(None, (by_name,)), *conditions]
        return _each(tx, query, "find_by_status", "find_any", statuses, rest)
    if names is not None:
        return _each(tx, query, "find_by_name", "find_by_names", names, conditions)
    return [_branch(tx, query, "find_any", [], conditions)]


def _index_sets(tx: Tx, names: list[str] | None) -> list[str]:
    """The sets of declared paths of all instances, or of those of some workflows."""
    rows = tx.rows("index_sets") if names is None else tx.rows("index_sets_of", (_json(names),))
    return [row[0] for row in rows]


def _each(
    tx: Tx, query: Query, single: str, several: str, places: list[str], rest: list[Part], *fixed: str
) -> list[Part]:
    """A branch for each place, each in order. With too many to merge, one sorted branch for all."""
    if len(places) > _MOST_BRANCHES:
        return [_branch(tx, query, several, [*fixed, _json(places)], rest)]
    return [_branch(tx, query, single, [*fixed, place], rest) for place in places]


def _branch(tx: Tx, query: Query, name: str, head: list[object], rest: list[Part]) -> Part:
    after, since = (_AFTER_VALUE, _SINCE_VALUE) if name.startswith("find_by_value") else (_AFTER, _SINCE)
    parts = list(rest)
    if query.since is not None:
        parts.insert(0, (since, [query.since]))
    if query.after is not None:
        parts.insert(0, (after, [query.after.created_at, query.after.instance_id]))
    sql = tx.text(name).format(conditions=" and ".join(text for text, _ in parts) or "true")
    return sql, [*head, *(value for _, values in parts for value in values), query.limit + 1]


def _conditions(query: Query) -> list[Part]:
    parts = [_condition(condition) for condition in query.conditions]
    if parts:
        parts.insert(0, ("i.projection is not null", []))
    if query.instance_id is not None:
        parts.append(("instr(lower(i.instance_id), lower(?)) > 0", [query.instance_id]))
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
