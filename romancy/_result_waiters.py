"""Who waits for the end of an instance, and what is known of it: shared by the handles of one app."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from romancy.core import Outcome

__all__ = ["Watch"]


class Watch:
    """Shared by all handles of one instance in this app: knows its end, or who waits for news of it."""

    __slots__ = ("__weakref__", "_begun", "life", "outcome", "waiting")

    def __init__(self) -> None:
        self.outcome: Outcome | None = None
        self.life = 0
        """Which life of the instance ended so."""
        self._begun = 0
        """The life that was begun here in the place of another; 0: none was."""
        self.waiting: list[asyncio.Future[None]] = []

    def begin(self, life: int) -> None:
        """The id is that of a new life from now on: how a former one ended is not its end."""
        self._begun = life
        self.outcome = None
        self.tell()

    def end(self, life: int, outcome: Outcome | None) -> None:
        """A life of it ended here, if there is an outcome; one that was replaced since is of no interest."""
        if self._begun in (0, life):
            self.outcome, self.life = outcome, life
        self.tell()

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
