"""What a row of the journal holds of a stream: all that one attempt has written to it between two flushes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw, Struct

if TYPE_CHECKING:
    from romancy.storage.journal import KeptLine

__all__ = ["BLANK", "StreamRow", "row_of"]


class StreamRow(Struct, omit_defaults=True, gc=False, rename={"begins": "first"}):
    """A row of a stream."""

    stream: str
    source: str
    """The id of the activity or compensation."""
    attempt: int
    writer: str
    """The token of its worker. With the source and the attempt, it names the end in the log that makes this final."""
    seen: int
    """The last commit of the instance that the writer knew: the row is behind it."""
    values: tuple[Raw, ...] = ()
    begins: bool = False
    """Whether it is the first row of its attempt. What the source has written before is void."""

    def stored(self) -> bytes:
        """The row as bytes."""
        return _encoder.encode(self)


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(StreamRow)
BLANK: Final = StreamRow(stream="", source="", attempt=0, writer="", seen=0).stored()
"""The row in place of all that was removed. It is of no stream, and keeps the number of the last one."""


def row_of(line: KeptLine) -> StreamRow | None:
    """The row of a line; None if it cannot be read, because it is sealed."""
    try:
        return _decoder.decode(line.body)
    except msgspec.DecodeError:
        return None
