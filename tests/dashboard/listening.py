"""A page that listens for changes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.dashboard.browsing import Browser
from tests.http.client import Answer

if TYPE_CHECKING:
    from romancy.dashboard import Dashboard

__all__ = ["Heard", "Page"]


class Heard(Answer):
    """An answer that can be waited for while it comes."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        news, self.__dict__["news"] = self.__dict__.get("news"), asyncio.Event()
        if news is not None:
            news.set()

    async def say(self, text: bytes) -> None:
        """Return once this has come."""
        while text not in self.body:
            await self.__dict__["news"].wait()


class Page:
    """A page that listens."""

    def __init__(self, dashboard: Dashboard, target: str) -> None:
        self.answer, self.left = Heard(), asyncio.Event()
        asked = Browser(dashboard).client.ask("GET", target, b"", [], left=self.left, answer=self.answer)
        self.task = asyncio.create_task(asked)

    async def leave(self) -> None:
        self.left.set()
        await self.task
