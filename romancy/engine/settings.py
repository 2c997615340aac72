"""A worker's settings, already checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from romancy._logs import Speaker
from romancy.engine.clock import DatabaseClock
from romancy.engine.surroundings import here
from romancy.hooks import Hook
from romancy.kept_logs import KeepLogs
from romancy.retry import RetryPolicy
from romancy.storage.protocol import Store

if TYPE_CHECKING:
    from romancy.engine.activities.attempt import Stage  # noqa: TC004 - settings are never decoded
    from romancy.serialization import Codecs

__all__ = ["Settings"]


class Settings(Struct, frozen=True, kw_only=True):
    """The settings that the user chose, and what an app of another kind puts in the place of the usual parts."""

    worker_id: str
    named: bool
    """Whether the user chose the worker's id."""
    speaker: Speaker
    lease: int
    """In microseconds."""
    retry: RetryPolicy | None
    max_activities: int
    max_threads: int
    max_live: int
    sticky: int
    warn_when_blocked: float | None
    hooks: tuple[Hook, ...]
    keep_logs: KeepLogs | None = None
    """Which log lines of user code the worker keeps."""
    pin: bool = False
    """Whether instances are left to live workers of the code that they follow."""
    retains: str = ""
    """The mark of the rules by which the app removes what is over. "": it removes nothing."""
    clock: DatabaseClock | None = None
    """The clock of a test; None: the worker makes its own."""
    stage: Stage | None = None
    """Another way to make attempts; None: attempts call their functions."""
    around: Callable[[Store], Store] | None = None
    """Gives a store around the one through which starts, messages and the worker write; None: that one."""
    ended: Callable[[str], None] | None = None
    """Is told the id of each instance that has ended here."""

    @classmethod
    def chosen(  # noqa: PLR0913 - every choice of the user's
        cls,
        *,
        worker_id: str | None,
        lease: float,
        retry: RetryPolicy | None,
        max_activities: int,
        max_threads: int,
        max_live: int,
        sticky: int,
        warn_when_blocked: float | None,
        hooks: tuple[Hook, ...],
        log_error_text: bool,
        pin: bool,
        keep_logs: KeepLogs | None,
        codecs: Codecs,
    ) -> Settings:
        """Return the settings for these options of an app. The worker's id defaults to host and process."""
        name = worker_id or here().name()
        return cls(
            worker_id=name,
            named=worker_id is not None,
            speaker=Speaker(name, error_text=log_error_text, stored=codecs.stored_size, hides=codecs.hides),
            lease=round(lease * 1_000_000),
            retry=retry,
            max_activities=max_activities,
            max_threads=max_threads,
            max_live=max_live,
            sticky=sticky,
            warn_when_blocked=warn_when_blocked,
            hooks=hooks,
            keep_logs=keep_logs,
            pin=pin,
        )
