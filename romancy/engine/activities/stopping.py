"""That an attempt was asked to stop: by whom, and what is known of it since (decision 0058)."""

from __future__ import annotations

import time

__all__ = ["Stop"]


class Stop:
    """One attempt that was asked to stop. Its state is written by `Attempts` and by what calls the function for it."""

    __slots__ = ("cancelled", "error", "fresh", "gone_on_at", "on_thread", "since", "unknown")

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.cancelled = False
        """Whether its workflow asked, and not a limit or the engine."""
        self.error: Exception | None = None
        """The error of the limit that it has reached."""
        self.fresh = False
        """Whether its task was just cancelled, and has not taken notice yet."""
        self.on_thread = False
        """Whether its task waits for a function on a thread, which cannot be stopped from outside."""
        self.unknown = False
        """Whether its process was killed, so that nobody knows what it did."""
        self.gone_on_at = 0.0
        """When the engine went on without it. 0: it has not."""

    def takes_notice(self) -> bool:
        """Whether its task was cancelled in order to stop it. Each such cancellation is answered once."""
        fresh, self.fresh = self.fresh, False
        return fresh

    @property
    def late(self) -> float:
        """The seconds since it was asked."""
        return time.monotonic() - self.since
