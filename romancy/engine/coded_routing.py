"""Seals and opens messages that are posted to addresses.

A posted message may reach many inboxes and letter boxes, under other ids. So it is sealed for its message id and the
first address that it is posted to. Both are written in a line before the output of the codecs:
`{"type":"SealedFor","address":"k/5/order/7","message_id":"01…"}`. A reader of a copy takes both from that line, so a
codec that binds a payload to its place gets the place for which the message was sealed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from romancy.errors import CodecError
from romancy.serialization import PayloadContext
from romancy.storage.passing import Passing
from romancy.storage.router import Router

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.serialization import Codecs
    from romancy.storage.records import Delivered, InboxRow
    from romancy.storage.routing import KeptMessage, Letter, Posting

    Routed = TypeVar("Routed", InboxRow, Letter, KeptMessage)

__all__ = ["CodingRouter", "ReadingRouter", "opened", "sealed"]

_BEGINNING: Final = b'{"type":"SealedFor",'


class _Place(Struct, frozen=True, tag_field="type", tag="SealedFor"):
    address: str
    message_id: str

    @property
    def context(self) -> PayloadContext:
        return PayloadContext(self.address, "message", self.message_id)


_places: Final = msgspec.json.Decoder(_Place)


def sealed(codecs: Codecs, posting: Posting) -> Posting:
    """The message as it is stored. Raises CodecError if a codec cannot write it.

    Data that a codec hides has no projection: it fits no conditions.
    """
    if codecs.hides and posting.projection is not None:
        posting = replace(posting, projection=None)
    place = _Place(posting.places[0].address, posting.message_id)
    body = codecs.wrap(posting.body, place.context)
    return posting if body is posting.body else replace(posting, body=msgspec.json.encode(place) + b"\n" + body)


def opened(codecs: Codecs, row: Routed) -> Routed:
    """The message as it was posted. A message that cannot be opened stays sealed."""
    if not row.body.startswith(_BEGINNING):
        return row
    head, _, body = row.body.partition(b"\n")
    try:
        return replace(row, body=codecs.unwrap(body, _places.decode(head).context))
    except (CodecError, msgspec.DecodeError):
        return replace(row, body=body)


class ReadingRouter(Passing[Router], Router):
    """A router that opens the messages it delivers."""

    def __init__(self, router: Router, codecs: Codecs) -> None:
        super().__init__(router)
        self._codecs = codecs

    async def letters(self, subscriber: str, /, *, limit: int = 100) -> list[Letter]:
        return [opened(self._codecs, one) for one in await self._passed_to.letters(subscriber, limit=limit)]

    async def kept(self, *, address: str | None = None, after: str = "", limit: int = 100) -> list[KeptMessage]:
        page = await self._passed_to.kept(address=address, after=after, limit=limit)
        return [opened(self._codecs, one) for one in page]


class CodingRouter(ReadingRouter):
    """A router that also seals posted messages."""

    async def post(self, batch: Sequence[Posting], /) -> list[Delivered]:
        return await self._passed_to.post([sealed(self._codecs, one) for one in batch])
