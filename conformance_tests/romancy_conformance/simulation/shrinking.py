"""A smaller case of a slice that has found something: what the finding does not need is deleted.

A part is a program, an instance of a shape, a fault, a worker or a kind of weather. Parts are deleted in ever smaller
chunks, as delta debugging does, after a few guesses. A case that still has a finding of the same kind takes the place
of the one before. With less around it, each call meets other chance on the wire. Small cases are therefore tried with
several variations of it.
"""

from __future__ import annotations

import select
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from romancy.testing.simulating.wire import WEATHER
from romancy_conformance.chaos.kept import Kept
from romancy_conformance.simulation.slices import Forked, Outcome
from romancy_conformance.simulation.story import subject_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from romancy_conformance.chaos.rounds import Plan

__all__ = ["Part", "Shrinking", "kind_of", "parts_of"]

_VARIATIONS: Final = 3
_SMALL: Final = 24
"""A case of at most so many parts is also tried with other chance on the wire."""
_LONGER: Final = 3.0
"""A try may take so much longer than the slice that was found, and a few seconds."""
_LOOK: Final = 0.2
"""Seconds between two looks at the time."""


class Part(NamedTuple):
    """Something that can be deleted: `programs` 3, `weather` lost."""

    of: str
    which: int | str


def parts_of(plan: Plan, faults: int) -> list[Part]:
    """Return all that can be deleted from a slice, for whose workers and database so many faults were drawn."""
    return [
        *(Part("programs", number) for number in range(plan.programs)),
        *(Part("instances", number) for number in range(plan.instances)),
        *(Part("faults", number) for number in range(faults)),
        *(Part("weather", name) for name in WEATHER),
        *(Part("workers", number) for number in range(1, plan.workers)),
    ]


def kind_of(finding: str) -> str:
    """Return the first word, as in `DOUBLED x-1-4: …`."""
    return finding.partition(" ")[0]


def _kept(parts: Iterable[Part], variation: int) -> Kept:
    left: dict[str, list[int | str]] = {name: [] for name in ("programs", "instances", "faults", "weather", "workers")}
    for part in parts:
        left[part.of].append(part.which)
    return Kept(
        programs=tuple(int(each) for each in left["programs"]),
        instances=tuple(int(each) for each in left["instances"]),
        faults=tuple(int(each) for each in left["faults"]),
        weather=tuple(str(each) for each in left["weather"]),
        workers=1 + len(left["workers"]),
        variation=variation,
    )


class Shrinking:
    """The search for a smaller case of one slice."""

    def __init__(
        self,
        plan: Plan,
        found: Outcome,
        *,
        cores: int,
        seconds: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`found` is the outcome of the plan, with a finding."""
        self.plan = plan
        self.outcome = found
        """The smallest case until now, and its outcome."""
        self.parts = parts_of(plan, found.faults)
        self.tries = 0
        self._kind = kind_of(found.findings[0])
        self._cores = cores
        self._clock = clock
        self._end = clock() + seconds
        self._longest = _LONGER * found.seconds + 5

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self._clock() >= self._end

    def shrink(self) -> None:
        """Delete as much as the time allows."""
        with tempfile.TemporaryDirectory() as folder:
            self._folder = Path(folder)
            self._first(self._only_what_is_concerned(), variations=_VARIATIONS)
            while self._first(self._without_one_kind()) is not None:
                pass
            size = len(self.parts) // 2
            while size:
                self._delete(size)
                size //= 2
            while self._first(_without_a_chunk(self.parts, 1), variations=_VARIATIONS) is not None:
                pass
            if not self.outcome.story:
                self.outcome = self._begin(self.plan).outcome()  # the very case that was found, with its story

    def _delete(self, size: int) -> None:
        """Delete chunks of so many parts, from the first to the last."""
        done: int | None = 0
        begin = 0
        while done is not None:
            done = self._first(_without_a_chunk(self.parts, size, begin))
            begin += size * (done or 0)

    def _only_what_is_concerned(self) -> list[list[Part]]:
        """Leave only the program or the instance of the finding, with ever more of what hurts it."""
        subject = f"{subject_of(self.outcome.findings)}."
        mine = [part for part in self.parts if subject.startswith(self._path(part))]
        if not mine:
            return []
        others = [("workers",), ("faults", "workers"), ("faults", "weather", "workers")]
        return [mine + [part for part in self.parts if part.of in kinds] for kinds in others]

    def _path(self, part: Part) -> str:
        """Return how the ids of all its instances begin."""
        if part.of == "programs":
            return f"{self.plan.seed}-{part.which}."
        shapes = sorted(self.plan.shapes)
        if part.of == "instances" and shapes:
            return f"{self.plan.seed}-{shapes[int(part.which) % len(shapes)]}-{part.which}."
        return "\0"

    def _without_one_kind(self) -> list[list[Part]]:
        kinds = dict.fromkeys(part.of for part in self.parts)
        return [[part for part in self.parts if part.of != kind] for kind in kinds]

    def _first(self, cases: list[list[Part]], variations: int = 1) -> int | None:
        """Take one of these cases that still has such a finding, and return its number. None: no case has."""
        running: dict[int, tuple[Forked, int, Plan, float]] = {}
        waiting = self._varied(cases, variations)
        try:
            while not self.is_over:
                while len(running) < self._cores and (case := next(waiting, None)) is not None:
                    forked = self._begin(case[1])
                    running[forked.file] = (forked, *case, self._clock() + self._longest)
                if not running:
                    return None
                ready, _, _ = select.select(list(running), [], [], _LOOK)
                for file in ready:
                    forked, number, plan, _ = running.pop(file)
                    if self._has_found(outcome := forked.outcome()):
                        self.parts, self.plan, self.outcome = cases[number], plan, outcome
                        return number
                for file in [file for file, (*_, end) in running.items() if self._clock() > end]:
                    running.pop(file)[0].stop()
            return None
        finally:
            for forked, *_ in running.values():
                forked.stop()

    def _varied(self, cases: list[list[Part]], variations: int) -> Iterator[tuple[int, Plan]]:
        for further in range(variations):
            for number, parts in enumerate(cases):
                if not further or len(parts) <= _SMALL:
                    yield number, replace(self.plan, kept=_kept(parts, self.plan.kept.variation + further))

    def _begin(self, plan: Plan) -> Forked:
        self.tries += 1
        folder = self._folder / str(self.tries)
        folder.mkdir()
        return Forked(plan, keep=-1, kept=folder)

    def _has_found(self, outcome: Outcome) -> bool:
        outcome.findings.sort(key=lambda finding: kind_of(finding) != self._kind)
        return bool(outcome.findings) and kind_of(outcome.findings[0]) == self._kind


def _without_a_chunk(parts: list[Part], size: int, begin: int = 0) -> list[list[Part]]:
    """Return what is left without each chunk of so many parts, from one on."""
    return [parts[:at] + parts[at + size :] for at in range(begin, len(parts), size)]
