"""The read half of the Durable Streams protocol, version 1.0 (https://durablestreams.com), of a stream of an instance.

A message is an item as JSON; of final data (`settled=true`), it is what was written. A stream is closed once its
instance has ended, and opens again if that is retried.
"""

from __future__ import annotations

import asyncio
import random
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from starlette.responses import Response, StreamingResponse

from romancy.http._refusal import not_an_event
from romancy.stream import fields_of_item

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

    from romancy.http._asking import Asked
    from romancy.http._waits import Waits
    from romancy.stream import StreamItem

    Read = Callable[[str | None, bool], AsyncIterator[StreamItem[Any]]]

__all__ = ["PARAMETERS", "DurableStream", "is_of_protocol"]

PARAMETERS: Final = ("offset", "live", "cursor")
_BEGINNING: Final = "-1"
_NOW: Final = "now"
_NOTHING: Final = "0"
"""The offset before the first item, which is below all others."""
_AT_ONCE: Final = 1000
"""How many messages an answer has at most."""
_LONG_POLL: Final = 20.0
_SSE: Final = 60.0
"""Seconds after which a connection is closed, so that a proxy can let new clients join others."""
_EPOCH: Final = 1_728_432_000
_INTERVAL: Final = 20
"""Seconds of a cursor, and since 1970 until the first of them, as the protocol has them."""
_CURSOR_DIGITS: Final = 15
_SAFE: Final = {"x-content-type-options": "nosniff", "x-accel-buffering": "no"}
_FULL: Final = "private, max-age=60, stale-while-revalidate=300"
_AT_THE_TAIL: Final = "private, no-cache"


def is_of_protocol(asked: Asked) -> bool:
    """Whether a request speaks this protocol."""
    return any(asked.text(name) is not None for name in PARAMETERS)


class _Batch(NamedTuple):
    """What is there behind an offset."""

    messages: list[bytes]
    offset: str
    up_to_date: bool
    closed: bool


class DurableStream:
    """One request for a stream."""

    def __init__(self, asked: Asked, read: Read, ends: Callable[[], Awaitable[bool]], waits: Waits) -> None:
        """`read`: the items behind an offset, perhaps followed. `ends`: whether the instance has ended."""
        self._read, self._ends, self._waits = read, ends, waits
        self._settled = asked.flag("settled")
        self._live = asked.text("live")
        if self._live not in (None, "long-poll", "sse"):
            raise not_an_event("live: long-poll or sse is expected")
        given = asked.text("offset")
        if given is None and self._live is not None:
            raise not_an_event("offset: live reads need one; -1 is the beginning")
        self._given = given or _BEGINNING
        self._cursor = _cursor(asked.text("cursor"))

    async def answer(self, request: Request) -> Response:
        """The answer, of any of the three ways to read, or of HEAD."""
        if request.method == "HEAD":
            batch = await self._tail()
            return Response(headers=self._headers(batch, "no-store"), media_type="application/json")
        if self._live == "sse":
            self._waits.check()
            headers = {"cache-control": "no-store", **_SAFE}
            return StreamingResponse(self._events(), media_type="text/event-stream", headers=headers)
        if self._given == _NOW:
            batch = await self._tail()
        else:
            batch = await self._batch(self._start())
        if self._live == "long-poll" and not (batch.messages or batch.closed):
            return await self._long_poll(request, batch)
        if self._live == "long-poll" and not batch.messages:
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=self._headers(batch, "no-store", live=True))
        return self._whole(request, batch)

    def _start(self) -> str:
        return _NOTHING if self._given == _BEGINNING else self._given

    async def _batch(self, after: str) -> _Batch:
        """The messages that are there behind an offset."""
        ended = await self._ends()  # before the items are read: what it has written is there
        items: Any = self._items(after, follow=False)
        messages, is_last = list[bytes](), ended
        async for item in items:
            if item.kind != "end":
                messages.append(self._message(item))
                after = item.offset
            if len(messages) == _AT_ONCE:
                await items.aclose()
                return _Batch(messages, after, up_to_date=False, closed=False)
        return _Batch(messages, after, up_to_date=True, closed=is_last)

    def _items(self, after: str, *, follow: bool) -> Any:
        return self._read(None if after == _NOTHING else after, follow)

    async def _tail(self) -> _Batch:
        """No message, and the offset behind the last one."""
        after = _NOTHING
        while True:
            batch = await self._batch(after)
            if batch.up_to_date:
                return batch._replace(messages=[])
            after = batch.offset

    def _message(self, item: StreamItem[Any]) -> bytes:
        return msgspec.json.encode(item.data if self._settled else fields_of_item(item))

    async def _long_poll(self, request: Request, batch: _Batch) -> Response:
        self._waits.check()
        with self._waits.place():
            await self._waits.unless_gone(request, self._until_there_is_more(batch.offset))
        batch = await self._batch(batch.offset)
        if not batch.messages:
            headers = self._headers(batch, "no-store", live=True)
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
        return self._whole(request, batch)

    async def _until_there_is_more(self, after: str) -> None:
        items: Any = self._items(after, follow=True)
        try:
            async with asyncio.timeout(_LONG_POLL):
                async for _ in items:
                    return
        except TimeoutError:
            pass
        finally:
            await items.aclose()

    def _whole(self, request: Request, batch: _Batch) -> Response:
        kept = "no-store" if self._given == _NOW else _AT_THE_TAIL if batch.up_to_date else _FULL
        headers = self._headers(batch, kept, live=self._live is not None)
        if self._given != _NOW:
            tag = f'"{self._given}:{batch.offset}{":closed" if batch.closed else ""}"'
            headers["etag"] = tag
            if tag in map(str.strip, request.headers.get("if-none-match", "").split(",")):
                return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(b"[%b]" % b",".join(batch.messages), headers=headers, media_type="application/json")

    def _headers(self, batch: _Batch, cache: str, *, live: bool = False) -> dict[str, str]:
        headers = {"cache-control": cache, "stream-next-offset": batch.offset, **_SAFE}
        if batch.up_to_date:
            headers["stream-up-to-date"] = "true"
        if batch.closed:
            headers["stream-closed"] = "true"
        if live:
            headers["stream-cursor"] = self._cursor
        return headers

    # ── server-sent events ──────────────────────────────────────────────────────────────────────────────────────

    async def _events(self) -> AsyncGenerator[bytes]:
        with self._waits.place():
            batch = await self._tail() if self._given == _NOW else await self._batch(self._start())
            yield self._event(batch)
            while not batch.up_to_date:
                batch = await self._batch(batch.offset)
                yield self._event(batch)
            if batch.closed:
                return
            until = time.monotonic() + _SSE
            while time.monotonic() < until and not self._waits.over.is_set() and not batch.closed:
                await self._next(batch.offset, until)
                batch = await self._batch(batch.offset)
                yield self._event(batch) if batch.messages or batch.closed else b": nothing new\n\n"

    async def _next(self, after: str, until: float) -> None:
        """Return when there is more, after some seconds, or when the server drains."""
        over = asyncio.ensure_future(self._waits.over.wait())
        more = asyncio.ensure_future(self._until_there_is_more(after))
        try:
            wait = min(_LONG_POLL, max(0.0, until - time.monotonic()))
            await asyncio.wait([over, more], timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            more.cancel()
            await asyncio.gather(over, more, return_exceptions=True)

    def _event(self, batch: _Batch) -> bytes:
        """The messages as one event, and behind it where to go on."""
        control: dict[str, Any] = {"streamNextOffset": batch.offset, "streamCursor": self._cursor}
        control |= {"upToDate": True} if batch.up_to_date else {}
        control |= {"streamClosed": True} if batch.closed else {}
        data = b"event: data\ndata: [%b]\n\n" % b",".join(batch.messages) if batch.messages else b""
        return data + b"event: control\ndata: %b\n\n" % msgspec.json.encode(control)


def _cursor(given: str | None) -> str:
    """The cursor of an answer: the present interval, and always behind that of the client."""
    now = int(time.time() - _EPOCH) // _INTERVAL
    if given is None:
        return str(now)
    if not (given.isascii() and given.isdigit() and len(given) <= _CURSOR_DIGITS):
        raise not_an_event("cursor: give the last one, unchanged")
    jitter = random.randint(1, 3600 // _INTERVAL)  # noqa: S311 - it only spreads clients
    return str(max(now, int(given) + jitter) if int(given) >= now else now)
