"""Reads the body of a request with limits on its size, on its time, and on the memory of all bodies together."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec import Raw

from romancy.http._json import checked
from romancy.http._refusal import Refused, not_an_event, unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

__all__ = ["Bodies", "data_of", "pause_of", "reason_of"]

R = TypeVar("R", bound="Reason")

_CLOSE: Final = {"connection": "close"}
"""Closes the connection, so that the server does not wait for the rest of the body."""


class Bodies:
    """Reads bodies. `most` bytes each, `together` bytes in memory at any time, each within `seconds`."""

    def __init__(self, most: int, together: int, seconds: float) -> None:
        self.most = most
        self._left = together
        self._seconds = seconds

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncGenerator[bytes]:
        """The body, whose memory counts until the block ends. Raises Refused, and ClientDisconnect if it breaks off."""
        _refuse_encoded(request)
        self._refuse_long(request)
        chunks: list[bytes] = []
        size = 0
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    async for chunk in request.stream():
                        self._left -= len(chunk)
                        size += len(chunk)
                        if size > self.most:
                            raise self._too_large()
                        if self._left < 0:
                            raise unavailable("too many bodies are being read; send this again later")
                        chunks.append(chunk)
            except TimeoutError:
                raise Refused(
                    HTTPStatus.REQUEST_TIMEOUT,
                    f"the body was not complete after {self._seconds:g} s",
                    "RequestTimeout",
                    retryable=True,
                    headers=_CLOSE,
                ) from None
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            chunks.clear()
            yield body
        finally:
            self._left += size

    def _refuse_long(self, request: Request) -> None:
        announced = request.headers.get("content-length", "")
        if announced.isascii() and announced.isdecimal() and int(announced[:20]) > self.most:
            raise self._too_large()

    def _too_large(self) -> Refused:
        return Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the body has more than {self.most:,} bytes; store large data elsewhere and send a reference",
            "PayloadTooLarge",
            headers=_CLOSE,
        )


def _refuse_encoded(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "the body is compressed; send it as it is, without content-encoding",
            "UnsupportedMediaType",
            headers=_CLOSE,
        )


def data_of(request: Request, body: bytes, what: str) -> Raw:
    """The body as JSON, whatever its content type, except for a form."""
    if not body:
        return Raw(b"null")
    given = request.headers.get("content-type", "")
    if given.startswith("multipart/"):
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON, not a form", "UnsupportedMediaType")
    checked(body, what)
    return Raw(body)


class Reason(msgspec.Struct):
    """Why somebody asks for something."""

    reason: str = ""


class Pause(Reason):
    """How an instance is to be paused."""

    freeze_time: bool = False


def reason_of(body: bytes) -> str:
    """The reason in a body that is empty, or an object with one."""
    return _given(body, Reason, '{"reason": "…"}').reason


def pause_of(body: bytes) -> Pause:
    """What a body says that is empty, or such an object."""
    return _given(body, Pause, '{"reason": "…", "freeze_time": true}')


def _given(body: bytes, kind: type[R], like: str) -> R:
    if not body.strip():
        return kind()
    checked(body, "the body")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError:
        raise not_an_event(f"the body: send nothing, or an object like {like}") from None
