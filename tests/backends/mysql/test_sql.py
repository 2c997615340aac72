"""Statements composed of text and values: the server reads back each value as it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from romancy.errors import InternalError
from romancy_mysql._sql import Raw, Template, Text, as_select, comma, literal, qualifier, row, source

if TYPE_CHECKING:
    from romancy_mysql._connection import Wire
    from romancy_mysql._sql import Value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, b"null"),
        (True, b"1"),
        (-5, b"-5"),
        (2**64, b"18446744073709551616"),
        ("it's", rb"_binary'it\'s'"),
        ("\\", rb"_binary'\\'"),
        (b"\x00'", b"_binary'\x00\\''"),
        (b"\x00\xff'", b"x'00ff27'"),
        ("é", b"x'c3a9'"),
        (Text("é"), b"_utf8mb4 x'c3a9'"),
        (Text('$."a"'), b"_utf8mb4 '$.\"a\"'"),
        (Raw(b"now()"), b"now()"),
    ],
)
def test_a_value_as_sql(value: Value, expected: bytes) -> None:
    assert literal(value) == expected


@given(st.binary() | st.text(st.characters(exclude_categories=["Cs"])))
def test_nothing_in_a_string_ends_it(value: str | bytes) -> None:
    """Read as the server reads it: a backslash escapes the next byte, a quote ends the literal."""
    data = value.encode() if isinstance(value, str) else value
    text = literal(value)
    assert text.isascii()
    if not data.isascii():
        assert text == b"x'" + data.hex().encode() + b"'"
        return
    inner = text.removeprefix(b"_binary'")[:-1]
    read = bytearray()
    position = 0
    while position < len(inner):
        position += inner[position] == ord("\\")
        assert inner[position - 1] == ord("\\") or inner[position] != ord("'")
        read.append(inner[position])
        position += 1

    assert (bytes(read), text[-1:]) == (data, b"'")


def test_half_a_character_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        literal("\ud800")


def test_parameters_are_replaced_and_nothing_else() -> None:
    template = Template("q", "select :a, ':b'::int, '12:30:00', x:=1 from t where c = :a and d in (:list)")

    sql = template.render(a=1, b=2, list=comma(["x", 3]))

    assert sql == b"select 1, '2'::int, '12:30:00', x:=1 from t where c = 1 and d in (_binary'x',3)"


def test_a_forgotten_parameter_is_an_error_of_ours() -> None:
    with pytest.raises(InternalError, match="'q': the parameter 'b'"):
        Template("q", "select :a, :b").render(a=1)


def test_one_row_is_not_worth_a_table() -> None:
    query = Template("q", "delete x from :source t x where x.a = :a and x.b = :b")

    assert query.render(source(("a", "b"), [("k", 1)])) == b"delete x from  t x where x.a = _binary'k' and x.b = 1"
    assert query.render(source(("a", "b"), [("k", 1), ("l", 2)])) == (
        b"delete x from (select _binary'k' as a,1 as b union all select _binary'l',2) v straight_join t x "
        b"where x.a = v.a and x.b = v.b"
    )


def test_rows_as_a_query_and_as_values() -> None:
    rows = [comma(("a", 1)), comma(("b", None))]

    assert as_select(rows) == b"select _binary'a',1 union all select _binary'b',null"
    assert row("a", 1) == b"(_binary'a',1)"


def test_tables_bear_the_name_of_their_database() -> None:
    """Whatever the name of the database, even one that looks like a parameter."""
    qualified = qualifier("my `:db` \\", "app_")

    sql = Template("q", "update app_log set seq = app_log.seq, my_app_x = :v", qualified).render(v=1)

    assert sql == b"update `my ``:db`` \\`.app_log set seq = `my ``:db`` \\`.app_log.seq, my_app_x = 1"


@pytest.mark.anyio
@pytest.mark.backends("mysql", "mariadb")
async def test_every_byte_comes_back_from_the_server(wire: Wire) -> None:
    every = bytes(range(256)) * 2 + "é😀\u2028".encode() + b"'\\'\\\\''" + b"\xf0\x9f\x98'\xe2\x82'"

    for value in (every, every[::-1], every.decode("latin-1"), b"", "\\"):
        (answer,) = await wire.run(b"select " + literal(value), "test")
        assert answer.rows == ((value.encode() if isinstance(value, str) else value,),)
