"""What is left of a round, by numbers: a smaller case of one that has found something.

Whatever is left out, the seed still decides the rest in the same way. Only times differ, and what they decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy_conformance.chaos.faults import Fault

__all__ = ["Kept"]


class Kept(Struct, frozen=True, kw_only=True):
    """What is played. None: all."""

    programs: tuple[int, ...] | None = None
    instances: tuple[int, ...] | None = None
    """Of the shapes."""
    faults: tuple[int, ...] | None = None
    """By their places in the list that is drawn."""
    workers: int | None = None
    """How many of the workers; the faults are drawn for all of them."""
    weather: tuple[str, ...] | None = None
    """What always happens on a simulated wire, now and then."""
    variation: int = 0
    """Another one means other chance on a simulated wire and in simulated processes, for the same programs."""

    def programs_of(self, numbers: range) -> list[int]:
        """Return the programs that are left."""
        return [number for number in numbers if self.programs is None or number in self.programs]

    def faults_of(self, drawn: Sequence[Fault], workers: int) -> list[Fault]:
        """Return the faults that are left, each at its own time, and on workers that are there."""
        found: list[Fault] = []
        pause = 0.0
        for number, fault in enumerate(drawn):
            pause += fault.pause
            if self.faults is None or number in self.faults:
                found.append(replace(fault, pause=pause, place=fault.place % workers))
                pause = 0.0
        return found
