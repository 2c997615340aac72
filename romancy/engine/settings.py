"""A worker's settings, already checked."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from romancy._logs import Speaker

if TYPE_CHECKING:
    from romancy.engine.activities.attempt import Stage
    from romancy.engine.clock import DatabaseClock
    from romancy.hooks import Hook
    from romancy.retry import RetryPolicy

__all__ = ["Settings"]


class Settings:
    """The settings that the user chose."""

    def __init__(
        self,
        *,
        worker_id: str | None,
        lease: float,
        retry: RetryPolicy | None,
        max_activities: int,
        max_threads: int,
        max_live: int,
        sticky: int,
        warn_when_blocked: float | None,
        hooks: tuple[Hook, ...] = (),
        log_error_text: bool = True,
    ) -> None:
        self.worker_id = worker_id or f"{socket.gethostname()}:{os.getpid()}"
        self.speaker = Speaker(self.worker_id, error_text=log_error_text)
        self.named = worker_id is not None
        self.lease = round(lease * 1_000_000)
        self.retry = retry
        self.max_activities = max_activities
        self.max_threads = max_threads
        self.max_live = max_live
        self.sticky = sticky
        self.warn_when_blocked = warn_when_blocked
        self.hooks = hooks
        self.clock: DatabaseClock | None = None
        """The clock of a test; None: the worker makes its own."""
        self.stage: Stage | None = None
        """A test's way to make attempts. None: attempts call their functions."""
