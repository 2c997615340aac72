"""Wakes those of this process who wait for the answers of an instance, when its worker here has recorded one."""

from __future__ import annotations

import asyncio

__all__ = ["Answers"]


class Answers:
    """Who waits for answers here, by instance. A worker elsewhere tells nobody: whoever waits also looks by himself."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[str, dict[asyncio.Future[None], None]] = {}

    def tell(self, instance_id: str) -> None:
        """Wake those who wait for this instance: its log may have an answer, or its end."""
        for news in self._waiting.pop(instance_id, ()):
            if not news.done():
                news.set_result(None)

    def news(self, instance_id: str) -> asyncio.Future[None]:
        """A future that is done at the next `tell`, counted from this call. To be given to `forget`."""
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(instance_id, {})[news] = None
        return news

    def forget(self, instance_id: str, news: asyncio.Future[None]) -> None:
        """Nobody waits for this any more."""
        waiting = self._waiting.get(instance_id)
        if waiting is not None:
            waiting.pop(news, None)
            if not waiting:
                del self._waiting[instance_id]
