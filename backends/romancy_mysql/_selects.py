"""The statements of searches and counts: composed of constant pieces, with every value as a literal.

Words of the projection are extracted as text and compared as bytes.
"""

from __future__ import annotations

from functools import reduce
from string import ascii_uppercase
from typing import TYPE_CHECKING, Final

from romancy.storage.sqlkit.reading import to_count, to_find
from romancy.storage.sqlkit.statements import Ask, Composed
from romancy_mysql._compare import compare
from romancy_mysql._rows import columns
from romancy_mysql._sql import Text, comma, literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.query import Condition, Query
    from romancy_mysql._access_paths import AccessPath
    from romancy_mysql._database import Database

__all__ = ["counted", "merged", "place", "scan", "select"]

_FOLDED: Final = b"cast(lower(convert(%b.instance_id using tis620)) as binary)"
"""The id with small letters in the place of A to Z. `lower` leaves bytes alone, and TIS-620 has no other capitals."""
_FOLDED_LETTER_BY_LETTER: Final = reduce(
    lambda text, letter: b"replace(%b, _binary'%c', _binary'%c')" % (text, letter, letter + 32),
    ascii_uppercase.encode(),
    b"%b.instance_id",
)
"""The same without that character set."""
_LEAVES_FEW: Final = frozenset({b"by_parent", b"by_paths", b"primary", b"touched"})


def select(database: Database, query: Query, way: AccessPath) -> Ask:
    """The rows of one access path, in the order of its index."""
    table = database.table("instances")
    wanted = database.select + columns(database) + b" from "
    if way.looked_up:
        origin = _by_value(database) + b" straight_join " + table + b" i on i.instance_id = x.instance_id"
        return to_find(wanted + origin + _rest(database, query, way, b"x"))
    origin = table + b" i force index (" + way.index + b")"
    return to_find(wanted + origin + _rest(database, query, way, b"i"))


def merged(database: Database, query: Query, ways: list[AccessPath]) -> Ask:
    """All access paths at once, merged by the server. Only the rows of this page are read."""
    table = database.table("instances")
    places = [
        b"(select i.instance_id, i.created_at from " + table + b" i force index (" + way.index + b")"
        + _rest(database, query, way, b"i") + b")"
        for way in ways
    ]  # fmt: skip
    page = places[0]
    if len(places) > 1:
        page = b"(select u.instance_id from (" + b" union all ".join(places) + b") u" + _order(query, b"u") + b")"
    rest = b" k straight_join " + table + b" i on i.instance_id = k.instance_id"
    return to_find(database.select + columns(database) + b" from " + page + rest)


def scan(database: Database, query: Query, ways: list[AccessPath]) -> Ask:
    """All rows of these access paths, in the order of the table. The server sorts the ids of matches."""
    table = database.table("instances")
    each = [b" and ".join([*way.where, *way.also]) for way in ways]
    one_of = [b"(" + b" or ".join(each) + b")"] if all(each) else []
    where = b" where " + b" and ".join([*one_of, *_filters(database, query, None, b"i")])
    page = b"(select i.instance_id from " + table + b" i use index ()" + where + _order(query, b"i") + b")"
    rest = b" k straight_join " + table + b" i on i.instance_id = k.instance_id"
    return to_find(database.select + columns(database) + b" from " + page + rest)


def place(database: Database, query: Query, way: AccessPath, behind: int) -> Ask:
    """The start time of the instance with that many newer ones before it in the index of this access path."""
    text = _where([*way.where, *_bounds(query, b"i")])
    origin = b"i.created_at from " + database.table("instances") + b" i force index (" + way.index + b")" + text
    order = _ordered(query, b"i") + b" limit 1 offset %d" % behind
    return Ask("find_place", {}, composed=Composed(("created_at",), database.select + origin + order))


def counted(database: Database, query: Query, ways: list[AccessPath]) -> Ask:
    """How many instances all access paths reach together, by workflow and status.

    Only the rows of a declared path have an access path here. The server chooses one for the others, or is
    advised of one.
    """
    table = database.table("instances")
    wanted = b"select i.instance_id, i.workflow_name, i.status from "
    parts = [
        wanted + _by_value(database) + b" straight_join " + table + b" i on i.instance_id = x.instance_id"
        + _where([*way.where, *way.also, *_filters(database, query, None, b"x")])
        for way in ways if way.looked_up
    ]  # fmt: skip
    parts += [
        wanted + table + b" i" + _advice(database, way)
        + _where([*way.where, *way.also, *_filters(database, query, None, b"i")])
        for way in ways if not way.looked_up
    ]  # fmt: skip
    union = b" union ".join(parts)
    groups = b"u.workflow_name, u.status, count(*) from (" + union + b") u group by u.workflow_name, u.status"
    return to_count(database.select + groups)


def _advice(database: Database, way: AccessPath) -> bytes:
    """The index of an access path that leaves few rows, for a server that would not see it."""
    return b" force index (" + way.index + b")" if database.engine.needs_advice and way.index in _LEAVES_FEW else b""


def _by_value(database: Database) -> bytes:
    return database.table("index") + b" x force index (by_value)"


def _rest(database: Database, query: Query, way: AccessPath, first: bytes) -> bytes:
    """WHERE, ORDER BY and LIMIT. `first` has the columns of the order."""
    return _where([*way.where, *way.also, *_filters(database, query, way, first)]) + _order(query, first)


def _where(conditions: list[bytes]) -> bytes:
    return b" where " + b" and ".join(conditions) if conditions else b""


def _order(query: Query, first: bytes) -> bytes:
    return _ordered(query, first) + b" limit %d" % (query.limit + 1)


def _ordered(query: Query, first: bytes) -> bytes:
    way = b"asc" if query.oldest_first else b"desc"
    return b" order by %b.created_at %b, %b.instance_id %b" % (first, way, first, way)


def _bounds(query: Query, first: bytes) -> Iterable[bytes]:
    """The conditions for the requested part of the order of pages."""
    if query.since is not None:
        yield b"%b.created_at >= %b" % (first, literal(query.since))
    if query.until is not None:
        yield b"%b.created_at < %b" % (first, literal(query.until))
    if query.after is not None:
        at, key = literal(query.after.created_at), literal(query.after.instance_id)
        behind = b">" if query.oldest_first else b"<"
        yield b"%b.created_at %b= %b" % (first, behind, at)
        yield b"(%b.created_at %b %b or %b.instance_id %b %b)" % (first, behind, at, first, behind, key)


def _filters(database: Database, query: Query, way: AccessPath | None, first: bytes) -> Iterable[bytes]:
    if query.statuses and not (way and way.by_status):
        yield b"i.status in (" + comma(sorted(query.statuses)) + b")"
    if query.instance_id is not None:
        folded = (_FOLDED if database.engine.folds_letters else _FOLDED_LETTER_BY_LETTER) % first
        yield b"locate(" + literal(query.instance_id) + b", " + folded + b") > 0"
    if query.ids is not None and not (way and way.index == b"primary" and not way.looked_up):
        yield b"i.instance_id in (" + comma(query.ids) + b")"
    if query.parent is not None and not (way and way.index == b"by_parent"):
        yield b"i.parent = " + literal(query.parent)
    if query.top_level:
        yield b"i.parent is null"
    yield from _failures(database, query)
    yield from _bounds(query, first)
    if query.ended_since is not None:
        yield b"i.updated_at >= " + literal(query.ended_since)
    if query.ended_until is not None:
        yield b"i.updated_at < " + literal(query.ended_until)
    if query.conditions:
        yield b"i.projection is not null"
    for condition in query.conditions:
        yield compare(_word(condition), condition.predicate)


def _failures(database: Database, query: Query) -> Iterable[bytes]:
    """The conditions on the error text, and on the group of a failure."""
    if query.error is not None:
        yield b"locate(" + literal(query.error) + b", i.error) > 0"
    if query.group is not None:
        own = b" f where f.owner = i.instance_id and f.life = i.life and f.interest_id = " + literal(query.group)
        yield b"exists (select 1 from " + database.table("interests") + own + b")"


def _word(condition: Condition) -> bytes:
    """The word that the condition compares."""
    first, rest, own = (
        literal(Text(text)) for text in (f'$."{condition.first}"', f'__{condition.key}"', f'$."{condition.key}"')
    )
    named = b"""json_unquote(json_extract(i.projection, '$."_"'))"""
    bare = b"json_extract(i.projection, concat('$.\"', " + named + b", " + rest + b"))"
    absent = b"json_extract(i.projection, " + first + b") is null"
    member = b"case when " + absent + b" then " + bare + b" else json_extract(i.projection, " + own + b") end"
    return b"cast(json_unquote(" + member + b") as binary)"
