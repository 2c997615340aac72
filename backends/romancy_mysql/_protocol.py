"""Reads the answers to a packet of statements off the stream: the text protocol, as far as Romancy needs it.

The driver reads a column description and a row with some dozens of calls each. An append that waits for its answer
would cost more processor time here than on the server. This file therefore reads the answers to Romancy's own
statements, and the driver those to the cursors of user code. Numbers become `int`, binary strings stay `bytes`, text
becomes `str`. Romancy asks for no other types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pymysql.constants import CR, FIELD_TYPE, SERVER_STATUS
from pymysql.err import OperationalError, raise_mysql_exception

if TYPE_CHECKING:
    import asyncio

__all__ = ["Answer", "Reader"]

_CHUNK = 256 * 1024
_FULL = 0xFFFFFF
"""The size of a part that another part follows."""
_OK, _ERROR, _EOF, _NULL = 0x00, 0xFF, 0xFE, 0xFB
_EOF_SIZE = 9
_BINARY = 63
_NUMBERS = frozenset(
    {
        FIELD_TYPE.TINY,
        FIELD_TYPE.SHORT,
        FIELD_TYPE.INT24,
        FIELD_TYPE.LONG,
        FIELD_TYPE.LONGLONG,
    }
)


class Answer(NamedTuple):
    """The answer to one statement."""

    rows: tuple[tuple[Any, ...], ...]
    affected: int


class Reader:
    """The answers to one packet, in order. Their parts are numbered from `first`, and nothing may follow them."""

    def __init__(self, stream: asyncio.StreamReader, first: int = 1) -> None:
        self._stream = stream
        self._data = b""
        self._at = 0
        self._number = first
        self.status = 0
        """The server's last report on its state (`SERVER_STATUS`)."""

    async def answers(self) -> list[Answer]:
        """Every answer up to the last. Raises the driver's errors: the server's refusal, or a stream out of step."""
        found: list[Answer] = []
        try:
            await self._more(4)  # most answers come in one piece
            while True:
                packet = await self._packet()
                found.append(self._done(packet) if packet[0] == _OK else await self._result(packet))
                if not self.status & SERVER_STATUS.SERVER_MORE_RESULTS_EXISTS:
                    if self._at != len(self._data):
                        raise _out_of_step()
                    return found
        except (IndexError, ValueError):
            raise _out_of_step() from None

    async def prepared(self) -> tuple[bytes, int]:
        """The answer to preparing a statement: its number, and how many parameters it takes."""
        try:
            packet = await self._packet()
            if packet[0] != _OK:
                raise _out_of_step()
            columns, parameters = (packet[at] | packet[at + 1] << 8 for at in (5, 7))
            for described in (parameters, columns):
                for _ in range(described):
                    await self._packet()
                if described:
                    self._end(await self._packet())
            self._nothing_more()
        except (IndexError, ValueError):
            raise _out_of_step() from None
        return packet[1:5], parameters

    def _done(self, packet: bytes) -> Answer:
        """An OK packet: rows touched, last id, state."""
        affected, at = _number(packet, 1)
        _, at = _number(packet, at)
        self.status = packet[at] | packet[at + 1] << 8
        return Answer((), affected)

    async def _result(self, first: bytes) -> Answer:
        """A result set: the number of columns, a description of each, the rows, and an end after either."""
        if first[0] == _NULL:  # the server asks for a local file
            raise _out_of_step()
        count, _ = _number(first, 0)
        kinds = [_kind(await self._packet()) for _ in range(count)]
        self._end(await self._packet())
        rows: list[tuple[Any, ...]] = []
        while True:
            packet = await self._packet()
            if packet[0] == _EOF and len(packet) < _EOF_SIZE:
                self._end(packet)
                return Answer(tuple(rows), len(rows))
            rows.append(_row(packet, kinds))

    def _end(self, packet: bytes) -> None:
        if packet[0] != _EOF:
            raise _out_of_step()
        self.status = packet[3] | packet[4] << 8

    async def _packet(self) -> bytes:
        """The next packet, whole. Raises an error packet."""
        packet = part = await self._part()
        while len(part) == _FULL:
            part = await self._part()
            packet += part
        if not packet:
            raise _out_of_step()
        if packet[0] == _ERROR:
            self._nothing_more()
            raise_mysql_exception(packet)
        return packet

    def _nothing_more(self) -> None:
        """Raise an error if bytes follow the last answer or an error: they would be taken for the next answer."""
        if self._at != len(self._data):
            raise _out_of_step()

    async def _part(self) -> bytes:
        at = self._at
        if len(self._data) - at < 4:  # noqa: PLR2004 - three bytes of size, one of order
            await self._more(4)
            at = 0
        data = self._data
        size = data[at] | data[at + 1] << 8 | data[at + 2] << 16
        if data[at + 3] != self._number:
            raise _out_of_step()
        self._number = (self._number + 1) & 0xFF
        at += 4
        if len(data) - at < size:
            self._at = at
            await self._more(size)
            data, at = self._data, 0
        self._at = at + size
        return data[at : at + size]

    async def _more(self, wanted: int) -> None:
        """Read until at least that many bytes are in the buffer."""
        parts = [self._data[self._at :]]
        missing = wanted - len(parts[0])
        while missing > 0:
            part = await self._stream.read(max(missing, _CHUNK))
            if not part:
                raise OperationalError(CR.CR_SERVER_LOST, "the server closed the connection")
            parts.append(part)
            missing -= len(part)
        self._data = b"".join(parts)
        self._at = 0


def _kind(packet: bytes) -> int:
    """How to read a column: 0 bytes, 1 a number, 2 text. Its names are skipped."""
    at = 0
    for _ in range(6):
        size, at = _number(packet, at)
        at += size
    charset = packet[at + 1] | packet[at + 2] << 8
    if packet[at + 7] in _NUMBERS:
        return 1
    return 0 if charset == _BINARY else 2


def _row(packet: bytes, kinds: list[int]) -> tuple[Any, ...]:
    values: list[Any] = []
    at = 0
    for kind in kinds:
        size = packet[at]
        if size == _NULL:
            values.append(None)
            at += 1
            continue
        if size < _NULL:
            at += 1
        else:
            size, at = _number(packet, at)
        value = packet[at : at + size]
        at += size
        values.append(int(value) if kind == 1 else value if kind == 0 else value.decode())
    return tuple(values)


def _number(packet: bytes, at: int) -> tuple[int, int]:
    """A number of varying length, and where it ends."""
    first = packet[at]
    if first < _NULL:
        return first, at + 1
    width = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first)
    if width is None:
        raise _out_of_step()
    return int.from_bytes(packet[at + 1 : at + 1 + width], "little"), at + 1 + width


def _out_of_step() -> OperationalError:
    return OperationalError(CR.CR_COMMANDS_OUT_OF_SYNC, "the answer does not fit the request")
