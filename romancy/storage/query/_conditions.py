"""Conditions: filters compiled to comparisons of bytes that are the same on every database.

An adapter extracts the member `key` of the projection as text (NULL when absent) and applies the predicate to it:

| predicate | in SQL, with x for the extracted text |
|---|---|
| `Equals(word)` | `x = word` |
| `NotEquals(word)` | `x <> word`, false when x is NULL |
| `In(words, or_missing)` | `x in (words)`, `or x is null` when asked for |
| `Range(low, low_inclusive, high, high_inclusive)` | `x > low and x < high`, with `=` where inclusive |
| `Contains(text)` | x begins with `s:` and holds `text` after these two characters (`instr`, `strpos`, `locate`) |
| `Missing()` | `x is null` |

The text is that of the member `key` if the member `first` exists, which is `key` up to the first `__`. Otherwise it is
that of the member `{_}__{key}`, where `{_}` is the text of the member `_`: the path leaves out the name of the bare
parameter (`_projection`).

Extraction is `json_extract(projection, '$."key"')`, unquoted on MySQL and MariaDB, or `projection ->> 'key'` on
PostgreSQL (`#>> '{null}'` would take the key `null` for a null). All comparisons are of bytes (`collate "C"`, a binary
collation). Keys consist of `[a-z0-9_]`, words and texts of printable ASCII without quotes; words are bound as
parameters all the same. A query with any condition also asks for `projection is not null`: a document that is not
searchable matches nothing. Prefixes are ranges. The keys of headers are in `_headers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from msgspec import Struct

from romancy.storage.query._filters import Clause, Relation, read_filters, read_header_filters
from romancy.storage.query._headers import UNREAD, header_key
from romancy.storage.query._leaves import CEILING, NULL, NUMBER, STRING, Scalar, escape, leaf
from romancy.storage.query._paths import SEPARATOR, path_key
from romancy.storage.query._projection import INDEX_HEAD, index_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from romancy.storage.query._filters import FilterValue

__all__ = [
    "Condition",
    "Contains",
    "Equals",
    "In",
    "Missing",
    "NotEquals",
    "Predicate",
    "Range",
    "compile_filters",
    "compile_query",
    "index_predicate",
]


class Equals(Struct, frozen=True, tag="equals"):
    """Present and equal to this word."""

    word: str


class NotEquals(Struct, frozen=True, tag="not_equals"):
    """Present and different from this word."""

    word: str


class In(Struct, frozen=True, tag="in"):
    """One of these words, or absent if `or_missing`. There is at least one word."""

    words: tuple[str, ...]
    or_missing: bool = False


class Range(Struct, frozen=True, tag="range"):
    """Between two words, which keep it among the words of one tag."""

    low: str
    low_inclusive: bool
    high: str
    high_inclusive: bool


class Contains(Struct, frozen=True, tag="contains"):
    """The word of a string that holds this text, escaped and not empty, behind the tag."""

    text: str


class Missing(Struct, frozen=True, tag="missing"):
    """Absent."""


Predicate: TypeAlias = Equals | NotEquals | In | Range | Contains | Missing


class Condition(Struct, frozen=True, tag="condition"):
    """A predicate on one member of the projection."""

    key: str
    predicate: Predicate

    @property
    def first(self) -> str:
        """The key of the path's first segment."""
        return self.key.partition(SEPARATOR)[0]


def compile_filters(filters: Mapping[str, FilterValue] | None) -> tuple[Condition, ...]:
    """The conditions that hold, all together, exactly if the filters match. `QueryError` as for `read_filters`."""
    return tuple(
        Condition(path_key(clause.text), _COMPILE[clause.relation](clause)) for clause in read_filters(filters)
    )


def compile_query(
    filters: Mapping[str, FilterValue] | None, headers: Mapping[str, FilterValue] | None = None
) -> tuple[Condition, ...]:
    """The conditions on instances: on their inputs, and on the headers of their starts."""
    conditions = compile_filters(filters)
    if any(_fits_absence(one.predicate) for one in conditions):
        conditions += (Condition(UNREAD, Missing()),)
    if not headers:
        return conditions
    asked = read_header_filters(headers)
    return conditions + tuple(Condition(header_key(one.text), _COMPILE[one.relation](one)) for one in asked)


def _fits_absence(predicate: Predicate) -> bool:
    return isinstance(predicate, Missing) or (isinstance(predicate, In) and predicate.or_missing)


def index_predicate(predicate: Predicate) -> Predicate | None:
    """The condition on the index column (`index_value`) that holds wherever the predicate holds of the projection.

    An adapter adds it to the predicate so that the index is used; it never replaces the predicate. None: the index
    cannot help.
    """
    match predicate:
        case Equals(word):
            return Equals(_indexed(word))
        case In(words, or_missing):
            return In(tuple(map(_indexed, words)), or_missing)
        case Range(low, low_inclusive, high, high_inclusive):
            if len(low) > INDEX_HEAD:
                low, low_inclusive = low[:INDEX_HEAD], True
            if len(high) > INDEX_HEAD:
                high, high_inclusive = high[:INDEX_HEAD] + CEILING * 2, False
            return Range(low, low_inclusive, high, high_inclusive)
        case Missing():
            return predicate
        case NotEquals() | Contains():
            return None


def _indexed(word: str) -> str:
    return cast("str", index_text(word))


def _equal(clause: Clause) -> Predicate:
    (value,) = clause.operands
    return In((NULL,), or_missing=True) if value is None else Equals(leaf(value))


def _unequal(clause: Clause) -> Predicate:
    return NotEquals(leaf(clause.operands[0]))


def _one_of(clause: Clause) -> Predicate:
    words = dict.fromkeys(map(leaf, clause.operands))
    return In(tuple(words), or_missing=None in clause.operands)


def _greater(clause: Clause) -> Predicate:
    tag, word = _bound(clause.operands[0])
    return Range(word, clause.relation is Relation.GREATER_EQUAL, tag + CEILING, high_inclusive=False)


def _less(clause: Clause) -> Predicate:
    tag, word = _bound(clause.operands[0])
    return Range(tag, True, word, clause.relation is Relation.LESS_EQUAL)  # noqa: FBT003 - low, inclusive, high, inclusive


def _bound(value: Scalar) -> tuple[str, str]:
    return STRING if isinstance(value, str) else NUMBER, leaf(value)


def _starts_with(clause: Clause) -> Predicate:
    word = STRING + escape(str(clause.operands[0]))
    return Range(word, low_inclusive=True, high=word + CEILING, high_inclusive=False)


def _contains(clause: Clause) -> Predicate:
    text = escape(str(clause.operands[0]))
    return Contains(text) if text else _starts_with(clause)


def _is_null(_: Clause) -> Predicate:
    return Equals(NULL)


def _missing(_: Clause) -> Predicate:
    return Missing()


_COMPILE: dict[Relation, Callable[[Clause], Predicate]] = {
    Relation.EQUAL: _equal,
    Relation.UNEQUAL: _unequal,
    Relation.ONE_OF: _one_of,
    Relation.GREATER: _greater,
    Relation.GREATER_EQUAL: _greater,
    Relation.LESS: _less,
    Relation.LESS_EQUAL: _less,
    Relation.STARTS_WITH: _starts_with,
    Relation.CONTAINS: _contains,
    Relation.IS_NULL: _is_null,
    Relation.MISSING: _missing,
}
