"""Faults planted into the engine, for which the simulation looks: a tool that finds faults is tested by planting them.

    python -m tools.planting [--slices N] [--seeds WORD,…] [--cores N] [WORD…]

plants each fault whose name contains a word (all of them without words, and each fence of SQLite that `tools.mutations`
removes) into a copy of the tree, and lets `romancy_conformance.simulation` play slices until it finds something. It
prints how many slices, virtual hours and seconds of CPU that took (the medians of all seeds), and fails if a fault was
missed that is not named as unseen. `make planting` does the same. Slices are counted, and not minutes: they are the
same under any load. Changed code may no longer have the text of a fault: a test names such faults.
"""

from __future__ import annotations

from typing import Final

from tools.planting import histories, messages, owning, places, schedules, streams, windows
from tools.planting.planted import Planted

__all__ = ["PLANTED", "Planted"]

PLANTED: Final = (
    *owning.PLANTED,
    *histories.PLANTED,
    *messages.PLANTED,
    *schedules.PLANTED,
    *places.PLANTED,
    *windows.PLANTED,
    *streams.PLANTED,
)
