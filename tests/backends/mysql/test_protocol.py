"""Reading answers off the stream: whatever the chunks they arrive in, and whatever a server sends by mistake."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pymysql.err
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymysql.constants import FIELD_TYPE

from romancy_mysql._protocol import Answer, Reader

if TYPE_CHECKING:
    from romancy_mysql._connection import Wire

MORE = 8
BINARY, UTF8 = 63, 45


def number(value: int) -> bytes:
    """Return an integer of variable length in the protocol's encoding."""
    if value < 251:
        return bytes([value])
    width, mark = next((width, mark) for width, mark in ((2, 0xFC), (3, 0xFD), (8, 0xFE)) if value < 256**width)
    return bytes([mark]) + value.to_bytes(width, "little")


def packets(*payloads: bytes) -> bytes:
    """Return payloads with their headers, not numbered yet, large ones in parts."""
    out = b""
    for payload in payloads:
        rest = payload
        while True:
            part, rest = rest[:0xFFFFFF], rest[0xFFFFFF:]
            out += len(part).to_bytes(3, "little") + b"\x00" + part
            if len(part) < 0xFFFFFF:
                break
    return out


def ok(affected: int = 0, *, more: bool = False) -> bytes:
    return packets(b"\x00" + number(affected) + number(0) + bytes([2 | (MORE if more else 0), 0, 0, 0]))


def end(*, more: bool = False) -> bytes:
    return b"\xfe\x00\x00" + bytes([2 | (MORE if more else 0), 0])


def column(kind: int, charset: int) -> bytes:
    names = b"".join(number(len(name)) + name for name in (b"def", b"db", b"t", b"t", b"c", b"c"))
    return names + b"\x0c" + charset.to_bytes(2, "little") + (255).to_bytes(4, "little") + bytes([kind]) + b"\x00" * 5


def rows_of(columns: list[bytes], rows: list[list[bytes | None]], *, more: bool = False) -> bytes:
    lines = [b"".join(b"\xfb" if one is None else number(len(one)) + one for one in row) for row in rows]
    return packets(number(len(columns)), *columns, end(), *lines, end(more=more))


def numbered(data: bytes, first: int = 1) -> bytes:
    """Number the headers of the stream in order, as a server does."""
    out = bytearray(data)
    at, order = 0, first
    while at + 4 <= len(out):
        out[at + 3] = order & 0xFF
        at += 4 + int.from_bytes(out[at : at + 3], "little")
        order += 1
    return bytes(out)


def read(data: bytes, cuts: list[int] | None = None) -> tuple[list[Answer], int]:
    """Return what a reader reads from a stream that arrives in chunks."""

    async def run() -> tuple[list[Answer], int]:
        stream = asyncio.StreamReader()
        places = sorted({cut % (len(data) + 1) for cut in cuts or []} | {0, len(data)})
        pieces = [data[start:stop] for start, stop in pairwise(places)]

        async def feed() -> None:
            for piece in pieces:
                stream.feed_data(piece)
                await asyncio.sleep(0)
            stream.feed_eof()

        feeding = asyncio.create_task(feed())
        reader = Reader(stream)
        try:
            return await reader.answers(), reader.status
        finally:
            await feeding

    return asyncio.run(run())


DUPLICATE = packets(b"\xff" + (1062).to_bytes(2, "little") + b"#23000Duplicate entry")
VALUES = st.none() | st.binary(max_size=300)
TABLES = st.lists(st.lists(VALUES, min_size=3, max_size=3), max_size=5)


@given(TABLES, st.integers(0, 2**64 - 1), st.lists(st.integers(0, 10_000), max_size=8))
def test_answers_do_not_depend_on_the_pieces_they_come_in(
    table: list[list[bytes | None]], affected: int, cuts: list[int]
) -> None:
    data = ok(affected, more=True) + rows_of([column(FIELD_TYPE.VAR_STRING, BINARY)] * 3, table, more=True) + ok(1)

    answers, status = read(numbered(data), cuts)

    assert answers == [Answer((), affected), Answer(tuple(map(tuple, table)), len(table)), Answer((), 1)]
    assert status == 2


@pytest.mark.parametrize(
    ("kind", "charset", "sent", "expected"),
    [
        (FIELD_TYPE.LONGLONG, BINARY, b"-9223372036854775808", -(2**63)),
        (FIELD_TYPE.TINY, BINARY, b"1", 1),
        (FIELD_TYPE.NEWDECIMAL, BINARY, b"1.50", b"1.50"),
        (FIELD_TYPE.VAR_STRING, BINARY, b"\xff\x00", b"\xff\x00"),
        (FIELD_TYPE.BLOB, BINARY, b"", b""),
        (FIELD_TYPE.VAR_STRING, UTF8, "é😀".encode(), "é😀"),
        (FIELD_TYPE.BLOB, UTF8, b"text", "text"),
        (FIELD_TYPE.LONGLONG, BINARY, None, None),
    ],
)
def test_a_value_by_its_column(kind: int, charset: int, sent: bytes | None, expected: Any) -> None:
    answers, _ = read(numbered(rows_of([column(kind, charset)], [[sent]])))

    assert answers == [Answer(((expected,),), 1)]


def test_a_value_of_many_megabytes_comes_in_parts() -> None:
    large = bytes(range(256)) * (2**16 + 7)
    exact = b"x" * (0xFFFFFF - 4)

    answers, _ = read(numbered(rows_of([column(FIELD_TYPE.BLOB, BINARY)], [[large], [exact]])), [5, 70_000])

    assert [len(value) for (value,) in answers[0].rows] == [len(large), len(exact)]
    assert answers[0].rows[0][0] == large


def test_an_error_after_some_answers_is_raised() -> None:
    with pytest.raises(pymysql.err.IntegrityError) as caught:
        read(numbered(ok(1, more=True) + DUPLICATE))

    assert caught.value.args == (1062, "Duplicate entry")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", 2013),
        (ok(1)[:-1], 2013),
        (ok(1, more=True), 2013),
        (ok(1) + ok(1), 2014),
        (packets(b""), 2014),
        (packets(b"\xfb/etc/passwd"), 2014),
        (packets(b"\x01", column(FIELD_TYPE.LONG, BINARY), b"\x011"), 2014),
        (DUPLICATE + ok(1), 2014),
        (packets(b"\x00"), 2014),
        (rows_of([column(FIELD_TYPE.LONG, BINARY)], [[b"no number"]]), 2014),
        (rows_of([column(FIELD_TYPE.BLOB, UTF8)], [[b"\xff"]]), 2014),
    ],
    ids=[
        "nothing", "cut", "more was promised", "too much", "empty", "asks for a file", "no end of columns",
        "more after an error", "half of an OK", "no number", "no text",
    ],
)  # fmt: skip
def test_what_is_no_answer_is_an_error_of_the_connection(data: bytes, code: int) -> None:
    with pytest.raises(pymysql.err.OperationalError) as caught:
        read(numbered(data))

    assert caught.value.args[0] == code


@pytest.mark.parametrize("first", [0, 2, 255])
def test_an_answer_that_does_not_begin_at_its_beginning_is_another_ones(first: int) -> None:
    with pytest.raises(pymysql.err.OperationalError) as caught:
        read(numbered(ok(1), first))

    assert caught.value.args[0] == 2014


def test_numbers_begin_again_after_the_last() -> None:
    answers, _ = read(numbered(rows_of([column(FIELD_TYPE.LONG, BINARY)], [[b"1"]] * 600)))

    assert len(answers[0].rows) == 600


@pytest.mark.anyio
@pytest.mark.backends("mysql", "mariadb")
async def test_the_servers_answers_are_read(wire: Wire) -> None:
    large = b"x" * 20_000_000
    await wire.run(b"create temporary table t (n bigint, d decimal(5, 2), b longblob, s text, j json)", "test")
    (done,) = await wire.run(
        b"insert into t values (1, 2.5, _binary'\xff', 'caf\xc3\xa9', '{}'), (null, null, null, null, null)", "test"
    )
    answers = await wire.run(b"select n, d, b, s from t order by n desc; select 1; do 0", "test")

    assert done.affected == 2
    assert answers == [
        Answer(((1, b"2.50", b"\xff", "café"), (None, None, None, None)), 2),
        Answer(((1,),), 1),
        Answer((), 0),
    ]
    if (await wire.run(b"select @@max_allowed_packet", "test"))[0].rows[0][0] > 2 * len(large):
        (echo,) = await wire.run(b"select _binary'" + large + b"'", "test")
        assert echo.rows == ((large,),)
