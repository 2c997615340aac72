"""Searches and counts: a query becomes one of a few statements, with conditions composed of the constants below.

Every value is a bound parameter, keys of paths included. Nothing of a query ever becomes SQL text.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, Final, assert_never

from romancy.storage.columns import instance_columns
from romancy.storage.query import Contains, Equals, In, Missing, NotEquals, Range
from romancy.storage.sqlkit.reading import to_count, to_find
from romancy.storage.sqlkit.searches import indexed_values, known
from romancy.storage.sqlkit.statements import ask_all
from romancy_postgres._columns import decoded, stored_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.query import Condition, Predicate, Query
    from romancy.storage.sqlkit.searches import Known
    from romancy.storage.sqlkit.statements import Operation
    from romancy_postgres._columns import PathSet
    from romancy_postgres._database import Database

__all__ = ["PostgresSearches", "compose"]

_MOST_BRANCHES: Final = 20


class _Arguments:
    """The bound parameters, in order."""

    def __init__(self) -> None:
        self.values: list[object] = []

    def bind(self, value: object, kind: str) -> str:
        """The placeholder for one more parameter."""
        self.values.append(value)
        return f"${len(self.values)}::{kind}"


class PostgresSearches:
    """As `Searches` promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, query: Query, /) -> Operation[Known | None]:
        return known(query, stored_path)

    def page(self, query: Query, known: Known, /, *, by_end: bool) -> Operation[Sequence[Sequence[Any]]]:
        (answer,) = yield from ask_all(to_find(*compose(self._database.queries, query, known, by_end=by_end)))
        return list(map(decoded, answer.rows))

    def count(self, query: Query, known: Known, /) -> Operation[Sequence[Sequence[Any]]]:
        (answer,) = yield from ask_all(to_count(*_compose_count(self._database.queries, query, known)))
        return answer.rows


def compose(queries: dict[str, str], query: Query, known: Known, *, by_end: bool = False) -> tuple[str, list[object]]:
    """The statement for the query: its text and its parameters.

    With `by_end`, the instances are found by the time of their end.
    """
    names, others = known
    arguments = _Arguments()
    conditions = _conditions(queries, query, arguments)
    parts = {
        "columns": instance_columns("i"),
        "limit": arguments.bind(query.limit + 1, "bigint"),
        "order": _order("i", query),
    }
    columns = _columns(query, names)
    if query.ids is not None:
        name, branches, leading = "find_by_ids", [], ""
        parts["ids"] = arguments.bind(list(query.ids), "text[]")
    elif query.parent is not None:
        name, leading = "find_some", "i.parent"
        columns = _as_expressions(columns)
        branches = [f"{_among('i.parent', [query.parent], arguments)} and i.parent is not null"]
    elif (indexed := indexed_values(query)) is not None:
        name = "find_by_index"
        parts["path"] = arguments.bind(stored_path(indexed[0]), "text")
        parts["values"] = arguments.bind(indexed[1], "text[]")
        parts["position"] = _position("x", query, arguments)
        parts["order_of_values"] = _order("x", query)
        branches, leading = _undeclared(others, named=names is not None, arguments=arguments)
    elif by_end:
        name, branches, leading = "find_by_end", [], ""
        columns = _as_expressions(columns)
    else:
        split = _split(columns)
        name = "find_some" if split else "find_any"
        leading = split[0] if len(split) == len(columns) == 1 else ""
        each = _one_each if leading else _each
        branches = [" and ".join(way) for way in product(*(each(one, columns.pop(one), arguments) for one in split))]
    conditions += [_among(column, values, arguments) for column, values in columns.items()]
    parts["conditions"] = " and ".join(conditions)
    # In the way of the rest, so that an index is read forwards or backwards as a whole.
    parts["leading"] = f"{leading}{' desc' if query.oldest_first else ''}, " if leading else ""
    pages = [queries["find_branch"].format(**parts, branch=branch) for branch in branches]
    return queries[name].format(**parts, branches=_union(pages, more=name == "find_by_index")), arguments.values


def _compose_count(queries: dict[str, str], query: Query, known: Known) -> tuple[str, list[object]]:
    """The statement that counts what the query finds, in no order: the planner chooses the indexes."""
    names, others = known
    arguments = _Arguments()
    conditions, columns = _conditions(queries, query, arguments), _columns(query, names)
    if query.by_end:
        conditions.append("i.status in ('completed', 'failed', 'cancelled')")
    if query.by_end or query.parent is not None:
        columns = _as_expressions(columns)
    if query.ids is None and query.parent is not None:
        conditions.append("i.parent is not null")
        conditions.append(_among("i.parent", [query.parent], arguments))
    conditions += [_among(column, values, arguments) for column, values in columns.items()]
    parts = {"conditions": " and ".join(conditions)}
    name = "count_any"
    if query.ids is not None:
        name = "count_by_ids"
        parts["ids"] = arguments.bind(list(query.ids), "text[]")
    elif query.parent is None and (indexed := indexed_values(query)) is not None:
        name = "count_by_index"
        parts["path"] = arguments.bind(stored_path(indexed[0]), "text")
        parts["values"] = arguments.bind(indexed[1], "text[]")
        parts["position"] = _position("x", query, arguments)
        parts["others"] = _among("i.index_paths", sorted({paths for _, paths in others}), arguments)
    return queries[name].format(**parts), arguments.values


def _columns(query: Query, names: list[str] | None) -> dict[str, list[str]]:
    """The columns whose values are given."""
    columns: dict[str, list[str]] = {}
    if query.statuses:
        columns["i.status"] = [status.value for status in query.statuses]
    if names is not None:
        columns["i.workflow_name"] = names
    return columns


def _as_expressions(columns: dict[str, list[str]]) -> dict[str, list[str]]:
    """The columns in a form that no index has: such an index can seem more useful than the one that is meant."""
    return {f"{column} || ''": values for column, values in columns.items()}


def _order(table: str, query: Query) -> str:
    way = "asc" if query.oldest_first else "desc"
    return f"{table}.created_at {way}, {table}.instance_id {way}"


def _undeclared(others: list[PathSet], *, named: bool, arguments: _Arguments) -> tuple[list[str], str]:
    """Conditions for the instances that never declared the path, one for each page, and what leads the pages' order."""
    sets = sorted({paths for _, paths in others})
    if len(others if named else sets) > _MOST_BRANCHES:
        return [_among("i.index_paths", sets, arguments)], ""
    if not named:
        return _one_each("i.index_paths", sets, arguments), "i.index_paths"
    workflows = _one_each("i.workflow_name", [workflow for workflow, _ in others], arguments)
    declared = _each("i.index_paths", [paths for _, paths in others], arguments)
    return [" and ".join(pair) for pair in zip(workflows, declared, strict=True)], "i.workflow_name"


def _split(columns: dict[str, list[str]]) -> list[str]:
    """The columns for whose values pages are read separately, so that an index gives each page in order."""
    for chosen in (list(columns), ["i.status"], ["i.workflow_name"]):
        known = chosen and all(one in columns for one in chosen)
        if known and prod(len(columns[one]) for one in chosen) <= _MOST_BRANCHES:
            return chosen
    return []


def _union(pages: list[str], *, more: bool) -> str:
    return "".join(f"union all\n{page}\n" for page in pages) if more else "\nunion all\n".join(pages)


def _each(column: str, values: list[str], arguments: _Arguments) -> list[str]:
    return [f"{column} = {arguments.bind(value, 'text')}" for value in values]


def _one_each(column: str, values: list[str], arguments: _Arguments) -> list[str]:
    """The same, in a form that keeps the column meaningful in an ORDER BY."""
    return [_among(column, [value], arguments) for value in values]


def _among(column: str, values: list[str], arguments: _Arguments) -> str:
    return f"{column} = any ({arguments.bind(values, 'text[]')})"


def _conditions(queries: dict[str, str], query: Query, arguments: _Arguments) -> list[str]:
    conditions = [_condition(condition, arguments) for condition in query.conditions]
    if conditions:
        conditions.append("i.projection is not null")
    if query.instance_id is not None:
        part = arguments.bind(query.instance_id, "text")
        conditions.append(f'strpos(lower(i.instance_id collate "C"), {part}) > 0')
    if query.top_level:
        conditions.append("i.parent is null")
    if query.parent is not None and query.ids is not None:
        conditions.append(f"i.parent = {arguments.bind(query.parent, 'text')}")
    if query.error is not None:
        conditions.append(f"position({arguments.bind(query.error.encode(), 'bytea')} in i.error) > 0")
    if query.group is not None:
        conditions.append(queries["find_in_group"].format(group=arguments.bind(query.group, "text")))
    if query.ended_since is not None:
        conditions.append(f"i.updated_at >= {arguments.bind(query.ended_since, 'bigint')}")
    if query.ended_until is not None:
        conditions.append(f"i.updated_at < {arguments.bind(query.ended_until, 'bigint')}")
    conditions.append(_position("i", query, arguments))
    return conditions


def _position(table: str, query: Query, arguments: _Arguments) -> str:
    """The condition that the rows lie between two places in the order of pages."""
    bounds: list[str] = []
    if query.since is not None:
        bounds.append(f"{table}.created_at >= {arguments.bind(query.since, 'bigint')}")
    if query.until is not None:
        bounds.append(f"{table}.created_at < {arguments.bind(query.until, 'bigint')}")
    if query.after is not None:
        place = f"{arguments.bind(query.after.created_at, 'bigint')}, {arguments.bind(query.after.instance_id, 'text')}"
        bounds.append(f"({table}.created_at, {table}.instance_id) {'>' if query.oldest_first else '<'} ({place})")
    return " and ".join(bounds) or "true"


def _condition(condition: Condition, arguments: _Arguments) -> str:
    first, key, rest = (arguments.bind(one, "text") for one in (condition.first, condition.key, f"__{condition.key}"))
    bare = f"i.projection ->> ((i.projection ->> '_') || {rest})"
    word = f'((case when i.projection ? {first} then i.projection ->> {key} else {bare} end) collate "C")'
    return _predicate(word, condition.predicate, arguments)


def _predicate(word: str, predicate: Predicate, arguments: _Arguments) -> str:
    match predicate:
        case Equals(wanted):
            return f"{word} = {arguments.bind(wanted, 'text')}"
        case NotEquals(unwanted):
            return f"{word} <> {arguments.bind(unwanted, 'text')}"
        case In(words, or_missing):
            among = f"{word} = any ({arguments.bind(list(words), 'text[]')})"
            return f"({among} or {word} is null)" if or_missing else among
        case Range(low, low_inclusive, high, high_inclusive):
            above, below = ">=" if low_inclusive else ">", "<=" if high_inclusive else "<"
            low_text, high_text = arguments.bind(low, "text"), arguments.bind(high, "text")
            return f"({word} {above} {low_text} and {word} {below} {high_text})"
        case Contains(text):
            return f"(starts_with({word}, 's:') and strpos(substr({word}, 3), {arguments.bind(text, 'text')}) > 0)"
        case Missing():
            return f"{word} is null"
        case _:
            assert_never(predicate)
