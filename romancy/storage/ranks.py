"""The order of those that wait: instances for a worker, and demands for a place under a limit. Pure.

Who waits stands in a line by its rank: since when it waits, and `AHEAD` earlier for each priority. So a higher priority
goes first, and nothing waits for ever: what has waited that much longer goes before one priority more. The rank never
changes while something waits.
"""

from __future__ import annotations

from typing import Final

from romancy._start_options import HIGHEST, LOWEST

__all__ = ["AHEAD", "HIGHEST", "LOWEST", "rank"]


AHEAD: Final = 3_600_000_000
"""How many microseconds of waiting one priority is worth."""


def rank(since: int, priority: int) -> int:
    """The place in a line of what has waited since then; the lowest goes first."""
    return since - priority * AHEAD
