"""SQL as bytes: literals, named queries with `:parameters`, and sources of many rows. Knows no table and no driver.

The driver has no prepared statements over the wire, and its own `executemany` recognises only some statements.
Statements are therefore composed here: constant text from `queries.sql`, and values as literals that cannot be read as
anything else. Every string is a binary literal, and every statement is ASCII, whatever the connection's character set:
while a statement holds other bytes, MySQL's list of running statements fails for every reader.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from romancy.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "Raw",
    "Statement",
    "Template",
    "Text",
    "Value",
    "as_select",
    "binary",
    "comma",
    "literal",
    "qualifier",
    "row",
    "rows_of",
    "source",
]


class Raw(bytes):
    """SQL text that is ready to send, as opposed to a value."""

    __slots__ = ()


class Text(str):
    """A string for the server's text functions, which refuse binary ones (a JSON path)."""

    __slots__ = ()


Value: TypeAlias = bool | int | str | bytes | None
_OR_KEEP = b"on duplicate key update "
_PARAMETER = re.compile(r"(?<![:\w]):([a-z]\w*)")


class Statement(NamedTuple):
    """One statement, with a name for tests and errors, and the number of rows it must touch, if that matters."""

    name: str
    sql: bytes
    expected: int | None = None


class Template:
    """A named query, parsed once."""

    def __init__(self, name: str, sql: str, qualified: Callable[[str], str] = str) -> None:
        self.name = name
        pieces = _PARAMETER.split(sql)
        self._texts = [qualified(piece).encode() for piece in pieces[::2]]
        self._names = pieces[1::2]
        head, found, _ = self._texts[-1].partition(_OR_KEEP)
        self._kept = len(self._texts[-1]) - len(head) if found else 0

    def render(self, parameters: Mapping[str, Value] | None = None, /, **more: Value) -> Raw:
        """The query with literals for its parameters."""
        known = more if parameters is None else {**parameters, **more}
        parts = [self._texts[0]]
        for name, text in zip(self._names, self._texts[1:], strict=True):
            if name not in known:
                raise InternalError(f"query {self.name!r}: the parameter {name!r} was not given")
            parts.append(literal(known[name]))
            parts.append(text)
        return Raw(b"".join(parts))

    def refusing(self, sql: bytes) -> bytes:
        """This query, rendered so that it fails for an existing row instead of keeping it."""
        return sql[: len(sql) - self._kept]

    def statement(
        self, parameters: Mapping[str, Value] | None = None, /, *, expected: int | None = None, **more: Value
    ) -> Statement:
        """The query ready to send."""
        return Statement(self.name, self.render(parameters, **more), expected)


def qualifier(database: str, prefix: str) -> Callable[[str], str]:
    """Puts the database's name before every table: user code may have changed the connection's current database."""
    table = re.compile(rf"\b({prefix}\w+)")
    name = "`" + database.replace("`", "``").replace("\\", "\\\\") + "`"
    return lambda sql: table.sub(rf"{name}.\1", sql)


def literal(value: Value) -> bytes:
    """A value as SQL. `UnicodeEncodeError` for half of a surrogate pair, which no text of Romancy's may hold."""
    match value:
        case None:
            return b"null"
        case Raw():
            return value
        case int():
            return b"%d" % value
        case Text():
            return b"_utf8mb4 " + binary(value.encode()).removeprefix(b"_binary")
        case str():
            return binary(value.encode())
        case bytes():
            return binary(value)


def row(*values: Value) -> Raw:
    """One row of VALUES."""
    return Raw(b"(" + b",".join(map(literal, values)) + b")")


def comma(values: Iterable[Value]) -> Raw:
    """Values or rows separated by commas: the inside of an IN list, or all of VALUES."""
    return Raw(b",".join(map(literal, values)))


def as_select(rows: Iterable[Raw]) -> Raw:
    """Rows, each the `comma` of its values, as a query. Unlike VALUES, it does not lock the tables it reads."""
    return Raw(b"select " + b" union all select ".join(rows))


def source(columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> dict[str, Value]:
    """Parameters for a query that is joined to given rows: `:source`, and one parameter for each column.

    A single row goes into the query as literals: a derived table for it would cost more than all the rest. Several rows
    become a derived table `v`, which is read first and in this order, so rows are locked in the order given.
    """
    if len(rows) == 1:
        return {"source": Raw(b""), **dict(zip(columns, rows[0], strict=True))}
    table = b"(" + rows_of(columns, rows) + b") v straight_join"
    return {"source": Raw(table), **{name: Raw(b"v." + name.encode()) for name in columns}}


def rows_of(columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> Raw:
    """Rows as a query with named columns, in the order given."""
    head = b"select " + b",".join(
        literal(value) + b" as " + name.encode() for name, value in zip(columns, rows[0], strict=True)
    )
    rest = [b" union all select " + b",".join(map(literal, values)) for values in rows[1:]]
    return Raw(head + b"".join(rest))


def binary(data: bytes) -> bytes:
    """Bytes as an ASCII literal."""
    if not data.isascii():
        return b"x'%b'" % data.hex().encode()
    return b"_binary'%b'" % data.replace(b"\\", b"\\\\").replace(b"'", b"\\'")
