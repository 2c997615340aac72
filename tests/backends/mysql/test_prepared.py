"""Prepared statements: how their values are sent, and what happens where there are none."""

# No call of the store gives access to its connections.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pymysql.err
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from romancy.storage.records import Outcome
from romancy_conformance.contract.building import step
from romancy_mysql._errors import MismatchError, UnpreparedError
from romancy_mysql._prepared import Prepared
from romancy_mysql._protocol import Reader

if TYPE_CHECKING:
    from romancy_conformance.contract.building import Actor
    from romancy_mysql._connection import Wire
    from romancy_mysql._prepared import Bound
    from romancy_mysql._store import MySQLStore

both = pytest.mark.backends("mysql", "mariadb")
anyio = pytest.mark.anyio
NUMBER, BYTES = 8, 252
BOUND = st.one_of(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=600))


def taken_apart(packet: bytes, parameters: int) -> list[Bound]:
    """Read the values of a packet as the protocol's description says."""
    assert packet[4:9] == b"\x00\x01\x00\x00\x00"  # no cursor, once
    at = 9 + (parameters + 7) // 8
    assert packet[9:at] == bytes(at - 9)  # none is NULL
    assert packet[at] == 1
    kinds = [packet[at + 1 + 2 * number] for number in range(parameters)]
    at += 1 + 2 * parameters
    values: list[Bound] = []
    for kind in kinds:
        if kind == NUMBER:
            values.append(int.from_bytes(packet[at : at + 8], "little", signed=True))
            at += 8
            continue
        assert kind == BYTES
        width = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(packet[at], 0)
        size = int.from_bytes(packet[at + 1 : at + 1 + width], "little") if width else packet[at]
        at += 1 + width
        values.append(packet[at : at + size])
        at += size
    assert at == len(packet)
    return values


@given(st.lists(BOUND, max_size=20))
def test_values_travel_as_they_are(values: list[Bound]) -> None:
    packet = Prepared(b"\x07\x00\x00\x00", len(values)).packet(values)

    assert packet[:4] == b"\x07\x00\x00\x00"
    assert taken_apart(packet, len(values)) == values


@pytest.mark.parametrize("size", [250, 251, 65_535, 65_536, 2**24 - 1, 2**24])
def test_lengths_at_their_edges(size: int) -> None:
    (value,) = taken_apart(Prepared(b"\x01\x00\x00\x00", 1).packet([bytes(size)]), 1)

    assert value == bytes(size)


@pytest.mark.parametrize(
    "answer",
    [
        b"\x05\x00\x00\x01\x00\x01\x00\x00\x00",  # truncated within
        b"\x01\x00\x00\x01\x01",  # the header of rows
        b"\x0c\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00extra",
    ],
)
def test_an_answer_that_is_none_is_an_error(answer: bytes) -> None:
    async def read() -> tuple[bytes, int]:
        stream = asyncio.StreamReader()
        stream.feed_data(answer)
        stream.feed_eof()
        return await Reader(stream).prepared()

    with pytest.raises(pymysql.err.OperationalError):
        asyncio.run(read())


@anyio
@both
async def test_a_statement_is_prepared_once_for_a_connection(wire: Wire) -> None:
    sql = b"set @romancy_test = concat(?, ?, ?)"
    values = (7, b"\x00\xff'\\", b"x" * 70_000)

    counts: list[int] = []
    for _ in range(3):
        await wire.execute(sql, values, "test")
        (count,) = await wire.run(b"show session status like 'Com_stmt_prepare'", "test")
        counts.append(int(count.rows[0][1]))
    (answer,) = await wire.run(b"select @romancy_test = concat(7, x'00ff275c', repeat('x', 70000))", "test")

    assert (answer.rows, list(wire.ready), counts) == (((1,),), [sql], [counts[0]] * 3)


@anyio
@both
async def test_errors_are_those_of_the_text(wire: Wire) -> None:
    await wire.run(b"create temporary table one (n int not null)", "test")

    with pytest.raises(MismatchError):  # NULL where it is not allowed
        await wire.execute(b"insert into one select if(? = 1, null, 2)", (1,), "test")
    (answer,) = await wire.run(b"select 3", "test")

    assert answer.rows == ((3,),)


@anyio
@both
async def test_what_cannot_be_prepared_is_sent_otherwise(wire: Wire) -> None:
    with pytest.raises(UnpreparedError):
        await wire.execute(b"no statement at all", (), "test")
    assert not wire.prepares
    with pytest.raises(UnpreparedError):
        await wire.execute(b"set @romancy_test = ?", (1,), "test")
    (answer,) = await wire.run(b"select 3", "test")

    assert answer.rows == ((3,),)


@anyio
@both
async def test_a_reset_connection_has_nothing_ready(wire: Wire) -> None:
    await wire.execute(b"set @romancy_test = ?", (1,), "test")

    await wire.reset()

    assert wire.ready == {}
    await wire.execute(b"set @romancy_test = ?", (2,), "test")
    (answer,) = await wire.run(b"select @romancy_test", "test")
    assert answer.rows == ((2,),)


def _idle(store: MySQLStore) -> list[Wire]:
    return [wire for _, wire in store.database.work._idle]


@anyio
@both
async def test_appends_go_on_when_the_server_forgets_or_refuses(store: MySQLStore, actor: Actor) -> None:
    """As behind a proxy that switches to another server, or one without prepared statements."""
    begun = await actor.begin()
    outcomes = [await store.commit([step(begun, 2)], worker=actor.token)]
    for wire in _idle(store):
        wire.ready = dict.fromkeys(wire.ready, Prepared(b"\xfe\xff\xff\x7f", 6))
    outcomes += [await store.commit([step(begun, seq)], worker=actor.token) for seq in (3, 4)]
    for wire in _idle(store):
        wire.prepares, wire.ready = False, {}
    outcomes.append(await store.commit([step(begun, 5)], worker=actor.token))
    again = step(begun, 5)
    outcomes.append(await store.commit([again], worker=actor.token))
    history = await store.read(begun.instance_id)

    assert outcomes == [[Outcome.ACCEPTED]] * 4 + [[Outcome.TAKEN]]
    assert history is not None
    assert [row.seq for row in history.rows] == [1, 2, 3, 4, 5]


@anyio
@both
async def test_a_value_that_cannot_be_is_refused_by_itself(store: MySQLStore, actor: Actor) -> None:
    refused: list[dict[str, Any]] = [{"seq": 2**63}, {"writer": "\ud800"}, {"writer": "w" * 256}]
    for fields in refused:
        begun = await actor.begin()

        outcomes = [
            await store.commit([replace(step(begun, 2), **fields)], worker=actor.token),
            await store.commit([step(begun, 2)], worker=actor.token),
        ]

        assert outcomes == [[Outcome.INVALID], [Outcome.ACCEPTED]], fields
