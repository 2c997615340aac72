"""The true time of a simulation, and what is due: one thing after another, in an order that the seed decides."""

from __future__ import annotations

import hashlib
import heapq
import itertools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SECOND", "Trace", "World"]

SECOND: Final = 1_000_000
"""In microseconds, in which the true time is counted."""


class Trace:
    """What has happened, line by line: a digest of all, and the last lines for people."""

    def __init__(self, keep: int = 0) -> None:
        """`keep`: how many lines are kept; -1: all."""
        self._digest = hashlib.sha256()
        self._keep = keep
        self.lines: list[str] = []
        self.counts: dict[str, int] = {}

    def note(self, at: int, who: str, what: str, of: str = "") -> None:
        """Add a line. `what` is counted. Tabs separate the four."""
        line = f"{at}\t{who}\t{what}\t{of}\n"
        self._digest.update(line.encode("utf-8", "surrogatepass"))
        self.counts[what] = self.counts.get(what, 0) + 1
        if self._keep:
            self.lines.append(line)
            if 0 < 2 * self._keep < len(self.lines):
                del self.lines[: -self._keep]

    def digest(self) -> str:
        """The same for the same run."""
        return self._digest.hexdigest()[:16]


class World:
    """The time, and what is due."""

    def __init__(self, seed: str, *, start: int, keep: int = 0) -> None:
        """`start` is the true time of day at the beginning, in microseconds."""
        self.seed = seed
        self.now = start
        self.began = start
        self.trace = Trace(keep)
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.turns = 0

    def at(self, due: int, action: Callable[[], None]) -> None:
        """Do this when that time has come. Of things that are due together, the first that asked comes first."""
        heapq.heappush(self._due, (max(due, self.now), next(self._numbers), action))

    def note(self, who: str, what: str, of: str = "") -> None:
        """Add a line to the trace."""
        self.trace.note(self.now - self.began, who, what, of)

    def run(self, until: Callable[[], bool], most: int | None = None) -> bool:
        """Go on until it is true. False: nothing is due any more, or the time `most` has come."""
        while not until():
            if not self._due or (most is not None and self._due[0][0] > most):
                return False
            due, _, action = heapq.heappop(self._due)
            self.now = max(self.now, due)
            action()
        return True
