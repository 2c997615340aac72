"""Finding instances: a `Query` as one SELECT, or as one for each way to the rows, merged.

The SQL is composed of constant pieces, and every value is a literal. Words of the projection are extracted as text and
compared as bytes. A condition on a declared path is looked up in `romancy_index`. Instances whose declared paths do not
contain it have no rows there. They are searched by their projection in addition, unless the search names workflows that
have always declared the path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from romancy.storage.query import Contains, Equals, In, Missing, NotEquals, Range, index_predicate, path_key
from romancy.storage.records import InstanceRow, Page
from romancy_mysql._effects import index_path
from romancy_mysql._rows import columns, instance_row
from romancy_mysql._sql import Raw, Statement, Text, comma, literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.query import Condition, Predicate, Query
    from romancy_mysql._database import Database

__all__ = ["find"]

_SETS_EACH = 16
_NAMES_EACH = 8
_NAMES_MERGED = 100
"""Up to this many names are each read in their own order if an index alone answers that."""


class Way(Struct, frozen=True):
    """One way to rows: the index that gives the order of pages, and the conditions on its columns."""

    index: bytes
    where: tuple[bytes, ...] = ()
    looked_up: bool = False
    """The rows are found in `romancy_index`, with the alias x."""
    by_status: bool = False
    """The way itself asks for one status."""


async def find(database: Database, query: Query) -> Page:
    """A page, newest first."""
    names, sets = await _known(database, query)
    if names is not None and not names:
        return Page(rows=[])
    ways = _ways(query, names, sets)
    if all(_in_index_alone(query, way) for way in ways):
        selects = [_merged(database, query, ways)]
    else:
        selects = [_select(database, query, way) for way in ways]
    if len(selects) == 1:
        answers = await database.ask(*selects)
    else:
        moment = [database.statement("one_moment"), database.statement("begin_moment")]
        _, _, *answers, _ = await database.ask(*moment, *selects, database.statement("end_moment"))
    rows: dict[str, InstanceRow] = {}
    for answer in answers:
        for line in answer.rows:
            row = instance_row(line)
            rows[row.instance_id] = row
    page = sorted(rows.values(), key=lambda row: (row.created_at, row.instance_id.encode()), reverse=True)
    more = len(page) > query.limit
    page = page[: query.limit]
    return Page(rows=page, next_token=query.token_after(page[-1].created_at, page[-1].instance_id) if more else None)


async def _known(database: Database, query: Query) -> tuple[list[bytes] | None, dict[bytes, set[str]]]:
    """The workflows that the query names, if it does, and the sets of paths that their instances have declared."""
    if query.workflow_name is None and not query.conditions:
        return None, {}
    (answer,) = await database.ask(database.statement("index_sets"))
    known = {bytes(name) for name, _, _ in answer.rows}
    names: list[bytes] | None = None
    if query.workflow_name is not None:
        if b"" in known:
            (found,) = await database.ask(database.statement("workflow_names"))
            known |= {bytes(name) for (name,) in found.rows}
        part = query.workflow_name.encode()
        names = sorted(name for name in known if name and part in name)
    wanted = known if names is None else {*names, b""}
    return names, {bytes(short): _paths(paths) for name, short, paths in answer.rows if name in wanted}


def _ways(query: Query, names: list[bytes] | None, sets: dict[bytes, set[str]]) -> list[Way]:
    """All ways to the rows. Together they meet every matching row, each in the order of its index."""
    named = () if names is None else (b"i.workflow_name in (" + comma(names) + b")",)
    by_index = _by_index(query, sets)
    if by_index:
        return [msgspec.structs.replace(way, where=(*way.where, *named)) for way in by_index]
    few = _NAMES_EACH if query.conditions or query.statuses else _NAMES_MERGED
    if names is not None and len(names) <= few:
        return [Way(b"by_name", (b"i.workflow_name = " + literal(name),)) for name in names]
    if names is None and query.statuses:
        return [Way(b"by_status", (b"i.status = " + literal(status),), by_status=True) for status in query.statuses]
    return [Way(b"by_age", named)]


def _by_index(query: Query, sets: dict[bytes, set[str]]) -> list[Way]:
    """The ways of a condition on a declared path. Empty if no condition is on one."""
    declared = {path for paths in sets.values() for path in paths}
    for condition in sorted(query.conditions, key=_usefulness):
        wanted = _indexable(condition)
        spellings = {path for path in declared if path_key(path) == condition.key}
        if wanted is None or not spellings:
            continue
        compared = _compare(b"x.value", wanted)
        at = [b"x.path = " + literal(index_path(path)) for path in sorted(spellings)]
        ways = [Way(b"primary", (one, compared), looked_up=True) for one in at]
        others = [short for short, paths in sets.items() if not spellings & paths]
        if len(others) > _SETS_EACH:
            return [*ways, Way(b"by_age", (b"i.index_paths in (" + comma(others) + b")",))]
        return ways + [Way(b"by_paths", (b"i.index_paths = " + literal(short),)) for short in others]
    return []


def _paths(joined: bytes) -> set[str]:
    return set(joined.decode().split("\n")) if joined else set()


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
    """The index's condition that holds wherever the condition holds. None for absence, which leaves no row there."""
    predicate = index_predicate(condition.predicate)
    if isinstance(predicate, Missing) or (isinstance(predicate, In) and predicate.or_missing):
        return None
    return predicate


def _select(database: Database, query: Query, way: Way) -> Statement:
    table = database.table("instances")
    wanted = b"select " + columns(database) + b" from "
    if way.looked_up:
        origin = database.table("index") + b" x straight_join " + table + b" i on i.instance_id = x.instance_id"
        return Statement("find", Raw(wanted + origin + _rest(query, way, b"x")))
    origin = table + b" i force index (" + way.index + b")"
    return Statement("find", Raw(wanted + origin + _rest(query, way, b"i")))


def _in_index_alone(query: Query, way: Way) -> bool:
    """Whether the index alone says which rows match."""
    return not query.conditions and (way.by_status or not query.statuses)


def _merged(database: Database, query: Query, ways: list[Way]) -> Statement:
    """All ways at once, merged by the server. Only the rows of this page are read."""
    table = database.table("instances")
    places = [
        b"(select i.instance_id, i.created_at from " + table + b" i force index (" + way.index + b")"
        + _rest(query, way, b"i") + b")"
        for way in ways
    ]  # fmt: skip
    page = places[0]
    if len(places) > 1:
        page = b"(select u.instance_id from (" + b" union all ".join(places) + b") u" + _order(query, b"u") + b")"
    rest = b" k straight_join " + table + b" i on i.instance_id = k.instance_id"
    return Statement("find", Raw(b"select " + columns(database) + b" from " + page + rest))


def _rest(query: Query, way: Way, first: bytes) -> bytes:
    """WHERE, ORDER BY and LIMIT. `first` has the columns of the order."""
    where = [*way.where, *_filters(query, way, first)]
    text = b" where " + b" and ".join(where) if where else b""
    return text + _order(query, first)


def _order(query: Query, first: bytes) -> bytes:
    return b" order by %b.created_at desc, %b.instance_id desc limit %d" % (first, first, query.limit + 1)


def _filters(query: Query, way: Way, first: bytes) -> Iterable[bytes]:
    if query.statuses and not way.by_status:
        yield b"i.status in (" + comma(sorted(query.statuses)) + b")"
    if query.instance_id is not None:
        yield b"locate(" + literal(query.instance_id) + b", %b.instance_id) > 0" % first
    if query.since is not None:
        yield b"%b.created_at >= %b" % (first, literal(query.since))
    if query.after is not None:
        at, key = literal(query.after.created_at), literal(query.after.instance_id)
        yield b"%b.created_at <= %b and (%b.created_at < %b or %b.instance_id < %b)" % (
            first,
            at,
            first,
            at,
            first,
            key,
        )
    if query.conditions:
        yield b"i.projection is not null"
    for condition in query.conditions:
        path = literal(Text(f'$."{condition.key}"'))
        word = b"cast(json_unquote(json_extract(i.projection, " + path + b")) as binary)"
        yield _compare(word, condition.predicate)


def _compare(word: bytes, predicate: Predicate) -> bytes:
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
