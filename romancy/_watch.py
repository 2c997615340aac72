"""Who waits for the end of an instance, and what is known of it: shared by the handles of one app."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from romancy.core import Outcome

__all__ = ["Watch"]


class Watch:
    """Shared by all handles of one instance in this app: knows its end, or who waits for news of it."""

    __slots__ = ("__weakref__", "outcome", "waiting")

    def __init__(self) -> None:
        self.outcome: Outcome | None = None
        self.waiting: list[asyncio.Future[None]] = []

    def tell(self) -> None:
        """There may be news: everybody look."""
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def news(self) -> asyncio.Future[None]:
        """Done when somebody tells: from this very moment on, and not only once it is awaited."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return future
