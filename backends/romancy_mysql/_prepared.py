"""A statement that the server keeps prepared on one connection, and the binary encoding of its values.

For a statement that is sent alone and often: the server neither parses its text nor opens its tables again. Knows no
table, and no statement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from pymysql.constants import FIELD_TYPE

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Bound", "Prepared"]

Bound: TypeAlias = int | bytes
"""The type of a parameter: a number within ±2^63, or bytes that are sent unchanged."""
_NUMBER = bytes([FIELD_TYPE.LONGLONG, 0])
_BYTES = bytes([FIELD_TYPE.BLOB, 0])
_NO_CURSOR_ONCE = b"\x00\x01\x00\x00\x00"
_TYPES_FOLLOW = b"\x01"
_ONE_BYTE, _TWO_BYTES, _THREE_BYTES = 0xFB, 1 << 16, 1 << 24


class Prepared:
    """One statement, prepared on one connection."""

    def __init__(self, number: bytes, parameters: int) -> None:
        self._head = number + _NO_CURSOR_ONCE + bytes((parameters + 7) // 8) + _TYPES_FOLLOW

    def packet(self, values: Sequence[Bound]) -> bytes:
        """The request to execute it with these values, none of which is NULL."""
        kinds = [self._head]
        parts: list[bytes] = []
        for value in values:
            if isinstance(value, int):
                kinds.append(_NUMBER)
                parts.append(value.to_bytes(8, "little", signed=True))
            else:
                kinds.append(_BYTES)
                size = len(value)
                parts.append(size.to_bytes(1, "little") if size < _ONE_BYTE else _size(size))
                parts.append(value)
        return b"".join(kinds + parts)


def _size(size: int) -> bytes:
    """The encoding of a length that takes more than one byte."""
    if size < _TWO_BYTES:
        return b"\xfc" + size.to_bytes(2, "little")
    if size < _THREE_BYTES:
        return b"\xfd" + size.to_bytes(3, "little")
    return b"\xfe" + size.to_bytes(8, "little")
