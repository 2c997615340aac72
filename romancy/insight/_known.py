"""What the process that explains an instance knows about it beside its log: from its worker, or from its code."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Known", "StillRuns", "Whereabouts"]


class StillRuns(NamedTuple):
    """An attempt that was given up and still runs in this process."""

    id: str
    number: int
    since: int
    """How long ago it was told to stop, in microseconds."""


class Whereabouts(NamedTuple):
    """Where a body waits, as far as its own code says."""

    place: str | None = None
    """The line."""
    conditions: Sequence[str] = ()
    """The conditions on its own state that it waits for, in words."""


class Known(NamedTuple):
    """What this process knows about an instance."""

    token: str | None = None
    """The worker, if there is one."""
    still_runs: Sequence[StillRuns] = ()
    whereabouts: Whereabouts | None = None
    """Where the body waits, if this process holds the instance or has replayed it."""
