"""Tells open pages of changes: one poller in the process serves all pages, and reports only that something has changed.

A page has a question that returns the version of its content. Pages with the same question share one look every few
seconds. A slow question is asked more rarely, so that open pages take only a small part of the database's time. The
stream of a page ends after half a minute, since servers wait for it when they stop; the browser opens the next one by
itself and sends the version that it knows.

A stream has a beat, so that a page knows within seconds when nothing comes any more. There is no beat while the
database does not answer.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

from starlette.responses import Response, StreamingResponse

from romancy.dashboard._refused import RefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from starlette.requests import Request

__all__ = ["OpenPages", "Question"]

Question: TypeAlias = "Callable[[], Awaitable[str]]"
"""Returns the version of what a page shows: a short text that changes with it."""

_log: Final = logging.getLogger("romancy.dashboard")
_EVERY: Final = 3.0
_SHARE: Final = 20.0
"""The pause before a question is repeated, as a multiple of the time that its answer took."""
_BEAT: Final = 1.5
_HANGS: Final = 10.0
"""A look that takes longer counts as unanswered until it ends."""
_LASTS: Final = 30.0
_MOST: Final = 512


class _Topic:
    """One question, for all pages that ask it."""

    def __init__(self, question: Question, due: float, every: float) -> None:
        self.question = question
        self.due = due
        self.every = every
        self.version: str | None = None
        self.pages = 0
        self.answered = True
        """Whether the last look had an answer."""
        self.news = asyncio.Event()

    def tell(self, version: str) -> None:
        self.answered = True
        if version != self.version:
            self.version = version
            self.news.set()
            self.news = asyncio.Event()


class OpenPages:
    """The poller and the streams of open pages."""

    def __init__(self, every: float = _EVERY, beat: float = _BEAT, hangs: float = _HANGS) -> None:
        self._every = every
        self._beat = beat
        self._hangs = hangs
        self._looking_since: float | None = None
        self._topics: dict[str, _Topic] = {}
        self._poller: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._stir = asyncio.Event()
        self._pages = 0

    @property
    def pages(self) -> int:
        """The number of open streams."""
        return self._pages

    def stream(self, request: Request, key: str, question: Question, every: float = 0.0) -> Response:
        """The stream that tells a page of changes. Pages with the same key share the answers to the question.

        The question is asked again after `every` seconds, if that is more than usual.
        """
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        if request.method == "HEAD":
            return Response(headers=headers, media_type="text/event-stream")
        if self._pages >= _MOST:
            raise RefusedError(503, "Too many pages are open.", {"retry-after": "60"})
        known = request.headers.get("last-event-id") or request.query_params.get("seen") or None
        return StreamingResponse(
            self._tell(key, question, known, every), media_type="text/event-stream", headers=headers
        )

    async def close(self) -> None:
        """End all streams and the poller."""
        self._over.set()
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.cancel()
            await asyncio.gather(poller, return_exceptions=True)
        self._topics.clear()
        self._looking_since = None
        self._over = asyncio.Event()

    async def _tell(self, key: str, question: Question, known: str | None, every: float = 0.0) -> AsyncGenerator[bytes]:
        yield b"retry: 1000\n\n"
        over = self._over
        with self._listening(key, question, every) as topic:
            end = asyncio.get_running_loop().time() + _LASTS
            while not over.is_set():
                version = topic.version
                if version is not None and version != known:
                    if known is not None:
                        yield f"event: changed\nid: {version}\ndata:\n\n".encode()
                    else:
                        yield f"id: {version}\nevent: known\ndata:\n\n".encode()
                    known = version
                left = end - asyncio.get_running_loop().time()
                if left <= 0:
                    return
                if not await _either(topic.news, over, min(left, self._beat)) and self._answers(topic):
                    yield b"event: beat\ndata:\n\n"

    def _answers(self, topic: _Topic) -> bool:
        """Whether the database answers, as far as the last looks tell."""
        since = self._looking_since
        return topic.answered and (since is None or asyncio.get_running_loop().time() - since < self._hangs)

    @contextmanager
    def _listening(self, key: str, question: Question, every: float) -> Generator[_Topic]:
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = _Topic(question, asyncio.get_running_loop().time(), max(every, self._every))
        topic.pages += 1
        self._pages += 1
        self._stir.set()
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="romancy-dashboard-live")
        try:
            yield topic
        finally:
            self._pages -= 1
            topic.pages -= 1
            if not topic.pages and self._topics.get(key) is topic:
                del self._topics[key]

    async def _poll(self) -> None:
        """Ask each question when it is due, one after the other, until no page listens."""
        clock = asyncio.get_running_loop().time
        while self._topics:
            self._stir.clear()
            for topic in [topic for topic in self._topics.values() if topic.due <= clock()]:
                began = self._looking_since = clock()
                try:
                    topic.tell(await topic.question())
                except Exception:  # noqa: BLE001 - it is asked again
                    topic.answered = False
                    _log.debug("a look for open pages failed", exc_info=True)
                self._looking_since = None
                topic.due = clock() + max(topic.every, (clock() - began) * _SHARE)
            if self._topics:
                await _either(self._stir, self._over, min(topic.due for topic in self._topics.values()) - clock())


async def _either(one: asyncio.Event, other: asyncio.Event, timeout: float) -> bool:
    """Wait until one of them is set. False after the time-out."""
    waits = {asyncio.ensure_future(one.wait()), asyncio.ensure_future(other.wait())}
    try:
        done, _ = await asyncio.wait(waits, timeout=max(timeout, 0.0), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return bool(done)
