"""That an attempt was asked to stop: by whom, and what is known of it since (decision 0058)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from romancy.engine.surroundings import here

if TYPE_CHECKING:
    from romancy.engine.instance import Live

__all__ = ["Interrupted", "Stop"]

_MOST: Final = 10_000
"""How many runs with interrupted attempts a worker remembers."""


class Stop:
    """One attempt that was asked to stop. Its state is written by `Attempts` and by what calls the function for it."""

    __slots__ = ("cancelled", "error", "fresh", "gone_on_at", "on_thread", "since", "unknown")

    def __init__(self) -> None:
        self.since = here().seconds()
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
        return here().seconds() - self.since


class Interrupted:
    """The attempts that were dropped after they had begun. Nobody knows what they did, and they may still run."""

    def __init__(self) -> None:
        self._of: OrderedDict[tuple[str, str], set[str]] = OrderedDict()
        """Ids of attempts, by instance and nonce of the run."""

    def note(self, live: Live, activity_id: str) -> None:
        """Record that an attempt at this work of the instance's present run was dropped."""
        self._of.setdefault(_run_of(live), set()).add(activity_id)
        if len(self._of) > _MOST:
            self._of.popitem(last=False)

    def has(self, live: Live, activity_id: str) -> bool:
        """Whether an attempt at this work of the instance's present run was dropped."""
        return activity_id in self._of.get(_run_of(live), ())

    def any_of(self, instance_id: str) -> bool:
        """Whether attempts of any run of this instance were dropped."""
        return any(of == instance_id for of, _ in self._of)

    def of(self, live: Live) -> bool:
        """Whether attempts of the instance's present run were dropped."""
        return _run_of(live) in self._of


def _run_of(live: Live) -> tuple[str, str]:
    started = live.run.state.started
    return live.instance_id, "" if started is None else started.nonce
