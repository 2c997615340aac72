"""Those of this process who wait for the answers of instances.

The worker that records an answer wakes those who wait here for its instance. A worker elsewhere tells nobody, so the
log is looked at: by one of those who wait, who wakes the others when it has moved.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["Answers", "Awaiting"]


class Awaiting:
    """One who waits for an answer of an instance, from when it begins until it is `left`."""

    __slots__ = ("_all", "_news", "instance_id")

    def __init__(self, instance_id: str, everybody: dict[Awaiting, None]) -> None:
        self.instance_id = instance_id
        self._all = everybody
        self._news: asyncio.Future[None] | None = None

    @property
    def leads(self) -> bool:
        """Whether this one looks at the log, on behalf of all who wait for this instance."""
        return next(iter(self._all)) is self

    def news(self) -> asyncio.Future[None]:
        """A future that is done when the log may have moved, counted from this call."""
        self._news = asyncio.get_running_loop().create_future()
        return self._news

    def told(self) -> None:
        """The log may have moved."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def tell_others(self) -> None:
        """The log has moved."""
        for other in self._all:
            if other is not self:
                other.told()


class Answers:
    """All who wait for answers here, by instance."""

    __slots__ = ("awaiting", "idle")

    def __init__(self) -> None:
        self.awaiting: dict[str, dict[Awaiting, None]] = {}
        self.idle: Callable[[], AbstractContextManager[None]] = nullcontext
        """Entered by each while it waits for news."""

    def tell(self, instance_id: str) -> None:
        """Wake those who wait for this instance: its log may have an answer, or its end."""
        for one in self.awaiting.get(instance_id, ()):
            one.told()

    def enter(self, instance_id: str) -> Awaiting:
        """One more waits for this instance."""
        everybody = self.awaiting.setdefault(instance_id, {})
        one = Awaiting(instance_id, everybody)
        everybody[one] = None
        return one

    def leave(self, one: Awaiting) -> None:
        """It waits no more. Another one looks at the log from now on."""
        everybody = self.awaiting[one.instance_id]
        del everybody[one]
        if everybody:
            next(iter(everybody)).told()
        else:
            del self.awaiting[one.instance_id]
