"""Requests that wait: they end when the client leaves or the server drains, and their number is limited."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from romancy.http._refusal import unavailable

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from starlette.requests import Request

__all__ = ["Waits"]

T = TypeVar("T")


class Waits:
    """The requests that wait, at most `most` at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._now = 0
        self.over = asyncio.Event()
        """Set when the server drains."""

    def check(self) -> None:
        """Raise Refused if the limit is reached."""
        if self._now >= self._most:
            raise unavailable(f"{self._most} requests wait already; ask again later")

    @contextmanager
    def place(self) -> Generator[None]:
        """Count one waiting request inside the block."""
        self._now += 1
        try:
            yield
        finally:
            self._now -= 1

    async def unless_gone(self, request: Request, work: Coroutine[None, None, T]) -> T | None:
        """The result of the work; None if the client left or the server drained first."""
        doing = asyncio.ensure_future(work)
        others = [asyncio.ensure_future(_disconnect(request)), asyncio.ensure_future(self.over.wait())]
        try:
            await asyncio.wait([doing, *others], return_when=asyncio.FIRST_COMPLETED)
            return await doing if doing.done() else None
        finally:
            for each in (doing, *others):
                each.cancel()
            await asyncio.gather(doing, *others, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    """Return when the client has left. Further data from it is discarded."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
