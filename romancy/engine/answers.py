"""Readers of this process wait here for answers in logs. A worker of this process wakes them when it records one."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from romancy.storage.journal import NewLine
    from romancy.stream_rows import StreamRow

__all__ = ["Answers"]


class Answers:
    """The readers, by instance. The worker that records an answer tells them; a worker elsewhere tells nobody."""

    __slots__ = ("awaiting", "idle", "logs", "looks", "tails")

    def __init__(self) -> None:
        self.awaiting: dict[str, dict[asyncio.Future[None], None]] = {}
        """By instance: those who are to be told when its log has moved."""
        self.idle: Callable[[], AbstractContextManager[None]] = nullcontext
        """Entered by each reader while it waits for news."""
        self.logs: WeakValueDictionary[tuple[str, int], Any] = WeakValueDictionary()
        """What is read, by instance and life, as long as somebody waits for it."""
        self.tails: WeakValueDictionary[str, Any] = WeakValueDictionary()
        """What is read of streams, by instance, as long as somebody follows one."""
        self.looks: Any = None
        """What reads for all of these."""

    def tell(self, instance_id: str) -> None:
        """The log of this instance may have an answer, or its end."""
        for news in self.awaiting.get(instance_id, ()):
            if not news.done():
                news.set_result(None)

    def streamed(self, line: NewLine, row: StreamRow, before: int, number: int) -> None:
        """This row of a stream is in the database, as the line with this number. `before`: that of the line before."""
        tail = self.tails.get(line.instance_id)
        if tail is not None and not tail.take(line, row, before, number):
            self.tell(line.instance_id)

    @contextmanager
    def news_of(self, instance_id: str) -> Generator[asyncio.Future[None]]:
        """A future that is done when this log may have moved since the beginning of the block."""
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        others = self.awaiting.setdefault(instance_id, {})
        others[news] = None
        try:
            yield news
        finally:
            del others[news]
            if not others:
                self.awaiting.pop(instance_id, None)
