"""Filters as users write them, and the checks that turn them into clauses.

A filter maps a path to a value, or to the result of one of the functions here. All entries must hold.

| written | matches a document in which the path leads to |
|---|---|
| `"text"` | that very string: case, accents, trailing blanks and normalisation count |
| `5`, `5.0` | an equal number. Integers of 64 bits are exact; a larger one equals only the same integer |
| `True`, `False` | that boolean; never 1 or 0 |
| `None` | null, or nothing at all |
| `missing()` / `is_null()` | nothing at all / null |
| `ne(v)` | something (an object and an array too) that the plain filter `v` does not match |
| `one_of(v, w, …)` | what any of the plain filters matches |
| `gt(v)` `gte(v)` `lt(v)` `lte(v)` | a value of the same kind on that side of v; strings go by code points |
| `startswith(t)` `contains(t)` | a string that has t at its beginning / anywhere; the case counts |

`gte(1) & lt(5)` asks for both. Ranges, `startswith` and `contains` see strings up to 512 bytes of UTF-8 and numbers
that are integers of 64 bits or finite floats; beyond that a value can only be equal or unequal.

A value that JSON writes as a string or number is compared in the form in which inputs are stored: an `Enum` by its
value; `UUID`, `date`, `datetime`, `time`, `timedelta`, `Decimal` and `bytes` as the string that msgspec writes. Of
these only dates, UUIDs and enum values sort as they are stored, so ranges refuse the others.

This module says what may be asked. `_conditions` and `_reference` each say what it means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from uuid import UUID

import msgspec

from romancy.errors import QueryError
from romancy.storage.query._headers import TRACE_HEADERS
from romancy.storage.query._leaves import MAX_DIGITS, MAX_STRING_BYTES, Scalar, is_int64, utf8_size
from romancy.storage.query._paths import Path, parse_path

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Clause",
    "FilterScalar",
    "FilterValue",
    "Operator",
    "Relation",
    "contains",
    "gt",
    "gte",
    "is_null",
    "lt",
    "lte",
    "missing",
    "ne",
    "one_of",
    "read_filters",
    "read_header_filters",
    "startswith",
]

MAX_FILTERS = 64
MAX_CHOICES = 256

FilterScalar: TypeAlias = (
    str | int | float | bool | Enum | UUID | date | datetime | time | timedelta | Decimal | bytes | None
)


class Relation(StrEnum):
    """The relation between the value in the document and the operands."""

    EQUAL = "equal"
    UNEQUAL = "ne"
    ONE_OF = "one_of"
    GREATER = "gt"
    GREATER_EQUAL = "gte"
    LESS = "lt"
    LESS_EQUAL = "lte"
    STARTS_WITH = "startswith"
    CONTAINS = "contains"
    IS_NULL = "is_null"
    MISSING = "missing"


_RANGES = frozenset({Relation.GREATER, Relation.GREATER_EQUAL, Relation.LESS, Relation.LESS_EQUAL})
_TEXTUAL = frozenset({Relation.STARTS_WITH, Relation.CONTAINS})
_STORED_AS_STRING = (str, UUID, date, datetime, time, timedelta, Decimal, bytes)
_UNSORTED = (datetime, time, timedelta, Decimal, bytes)


class Operator:
    """The result of `gt(5)` and the like: relations that must hold at one path. `&` combines two."""

    __slots__ = ("relations",)

    def __init__(self, *relations: tuple[Relation, tuple[FilterScalar, ...]]) -> None:
        self.relations = relations

    def __and__(self, other: Operator) -> Operator:
        if not isinstance(other, Operator):  # pyright: ignore[reportUnnecessaryIsInstance] - users are not all typed
            return NotImplemented
        return Operator(*self.relations, *other.relations)

    def __bool__(self) -> bool:
        raise QueryError("an operator is neither true nor false; combine two with &, as in gte(1) & lt(5)")

    def __repr__(self) -> str:
        return " & ".join(f"{relation}({', '.join(map(repr, operands))})" for relation, operands in self.relations)


FilterValue: TypeAlias = FilterScalar | Operator


def gt(value: FilterScalar) -> Operator:
    """Greater than, among values of the same kind."""
    return Operator((Relation.GREATER, (value,)))


def gte(value: FilterScalar) -> Operator:
    """Greater than or equal, among values of the same kind."""
    return Operator((Relation.GREATER_EQUAL, (value,)))


def lt(value: FilterScalar) -> Operator:
    """Less than, among values of the same kind."""
    return Operator((Relation.LESS, (value,)))


def lte(value: FilterScalar) -> Operator:
    """Less than or equal, among values of the same kind."""
    return Operator((Relation.LESS_EQUAL, (value,)))


def ne(value: FilterScalar) -> Operator:
    """Present, and not matched by the plain filter `value`. `ne(None)`: present and not null."""
    return Operator((Relation.UNEQUAL, (value,)))


def one_of(*values: FilterScalar) -> Operator:
    """Matched by any of the plain filters. The kinds may be mixed."""
    return Operator((Relation.ONE_OF, values))


def contains(text: str) -> Operator:
    """A string that holds this text. The case counts."""
    return Operator((Relation.CONTAINS, (text,)))


def startswith(text: str) -> Operator:
    """A string that begins with this text. The case counts."""
    return Operator((Relation.STARTS_WITH, (text,)))


def missing() -> Operator:
    """The path leads nowhere."""
    return Operator((Relation.MISSING, ()))


def is_null() -> Operator:
    """The path leads to null."""
    return Operator((Relation.IS_NULL, ()))


class Clause(NamedTuple):
    """One checked relation at one path. The operands are plain JSON scalars that the relation accepts."""

    text: str
    path: Path
    relation: Relation
    operands: tuple[Scalar, ...]


def read_filters(filters: Mapping[str, FilterValue] | None) -> tuple[Clause, ...]:
    """The clauses of a filter, in its order. `QueryError` names the path and the fault."""
    if filters is None:
        return ()
    if not isinstance(filters, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - users are not all typed
        raise QueryError(f"filters must be a mapping of paths to values, not {type(filters).__name__}")
    clauses: list[Clause] = []
    for text, value in filters.items():
        path = parse_path(text)
        clauses += (Clause(text, path, relation, given) for relation, given in _relations(f"filter {text!r}", value))
    return _few(clauses)


def read_header_filters(headers: Mapping[str, FilterValue] | None) -> tuple[Clause, ...]:
    """The clauses of a filter on headers: what each holds. `QueryError` names the header and the fault.

    Absence is not asked for. It would also be found where headers are sealed, and in instances that were started before
    headers were searched.
    """
    if headers is None:
        return ()
    if not isinstance(headers, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - filters come from anywhere
        raise QueryError(f"headers: must map names to values, not {type(headers).__name__}")
    clauses: list[Clause] = []
    for name, value in headers.items():
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance] - as above
            raise QueryError(f"headers: a name must be a string, not {type(name).__name__}")
        where = f"header {_string('name of a header', name)!r}"
        if name in TRACE_HEADERS:
            raise QueryError(f"{where}: headers of traces are not searched; they are in Instance.headers")
        for relation, operands in _relations(where, value):
            if not operands or None in operands:
                raise QueryError(f"{where}: say what the header holds; instances without a header cannot be searched")
            if not all(isinstance(one, str) for one in operands):
                raise QueryError(f"{where}: headers are texts; give a string")
            clauses.append(Clause(name, (name,), relation, operands))
    return _few(clauses)


def _few(clauses: list[Clause]) -> tuple[Clause, ...]:
    if len(clauses) > MAX_FILTERS:
        raise QueryError(f"{len(clauses)} conditions in one query: at most {MAX_FILTERS} are allowed")
    return tuple(clauses)


def _relations(what: str, value: FilterValue) -> Iterator[tuple[Relation, tuple[Scalar, ...]]]:
    """What is asked of one place, with checked operands."""
    for relation, given in value.relations if isinstance(value, Operator) else ((Relation.EQUAL, (value,)),):
        yield relation, _operands(what if relation is Relation.EQUAL else f"{what}, {relation}()", relation, given)


def _operands(where: str, relation: Relation, operands: tuple[FilterScalar, ...]) -> tuple[Scalar, ...]:
    if relation is Relation.ONE_OF and not 1 <= len(operands) <= MAX_CHOICES:
        raise QueryError(f"{where}: {len(operands)} values; give 1 to {MAX_CHOICES}, as in one_of('a', 'b')")
    if relation in _RANGES:
        return tuple(_range_bound(where, operand) for operand in operands)
    if relation in _TEXTUAL:
        return tuple(_needle(where, operand) for operand in operands)
    return tuple(_scalar(where, operand) for operand in operands)


def _range_bound(where: str, value: FilterScalar) -> Scalar:
    plain = value.value if isinstance(value, Enum) else value
    if isinstance(plain, _UNSORTED):
        raise QueryError(
            f"{where}: a {type(plain).__name__} is stored as a string that does not sort as it does; "
            "compare a string or a date, or store a number"
        )
    bound = _scalar(where, plain)
    if bound is None or isinstance(bound, bool):
        raise QueryError(f"{where}: {bound} has no order; ranges take numbers and strings")
    if isinstance(bound, str):
        return _short(where, bound)
    if isinstance(bound, int) and not is_int64(bound):
        raise QueryError(f"{where}: an integer beyond 64 bits cannot be used in a range; use a float")
    return bound


def _needle(where: str, value: FilterScalar) -> str:
    plain = value.value if isinstance(value, Enum) else value
    if not isinstance(plain, str):
        raise QueryError(f"{where}: takes a string, not {type(plain).__name__}")
    text = _scalar(where, plain)
    return _short(where, str(text))


def _short(where: str, text: str) -> str:
    if utf8_size(text) > MAX_STRING_BYTES:
        raise QueryError(f"{where}: a string of over {MAX_STRING_BYTES} bytes can only be compared for equality")
    return text


def _scalar(where: str, value: Any) -> Scalar:
    """A value in the form in which inputs are stored."""
    if isinstance(value, Enum):
        return _scalar(where, value.value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _integer(where, value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise QueryError(f"{where}: {value!r} is not a JSON number, so nothing can match it")
        return float(value)
    if isinstance(value, _STORED_AS_STRING):
        return _string(where, value)
    if isinstance(value, Operator):
        raise QueryError(f"{where}: an operator cannot stand inside another; combine them with &")
    raise QueryError(
        f"{where}: {type(value).__name__} is not a value that can be looked for; "
        "give a string, number, boolean or None, with a path that leads to it"
    )


def _integer(where: str, value: int) -> int:
    if abs(value) >= 10**MAX_DIGITS:
        raise QueryError(f"{where}: an integer of over {MAX_DIGITS} digits cannot be searched for")
    return int(value)


def _string(where: str, value: object) -> str:
    text = str.__str__(value) if isinstance(value, str) else str(msgspec.to_builtins(value))
    try:
        text.encode()
    except UnicodeEncodeError:
        raise QueryError(f"{where}: holds half of a surrogate pair, which is not text; fix its encoding") from None
    return text
