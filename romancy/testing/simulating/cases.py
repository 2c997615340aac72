"""A case: a seed, how many workers there are, and which faults of the seed happen. A word says all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy.testing.simulating.faults import Fault

__all__ = ["Case", "Outcome", "smaller"]


class Case(Struct, frozen=True):
    """One run."""

    seed: int
    workers: int
    kept: tuple[int, ...] | None = None
    """The faults that happen, by their numbers. None: all of the seed."""

    def __str__(self) -> str:
        if self.kept is None:
            return f"{self.seed}/{self.workers}"
        return f"{self.seed}/{self.workers}/{'.'.join(map(str, self.kept)) or 'none'}"

    @classmethod
    def read(cls, given: Any, workers: int) -> Case:
        """The case that `seed=` names: a number, or the word of a case."""
        if isinstance(given, int) and not isinstance(given, bool):
            return cls(given, workers)
        try:
            seed, *more = str(given).split("/")
            place = int(more[0]) if more else workers
            kept = None
            if len(more) > 1:
                kept = () if more[1] == "none" else tuple(int(each) for each in more[1].split("."))
            if len(more) > 2 or place < 1:  # noqa: PLR2004 - seed, workers and faults
                raise ValueError
            return cls(int(seed), place, kept)
        except ValueError:
            raise UsageError(
                f"simulate(seed={given!r}): this takes a number, or the text that a report of simulate() gives, "
                'such as "17/1/2.5"'
            ) from None

    def of(self, faults: list[Fault]) -> list[tuple[int, Fault]]:
        """Those of the seed's faults that happen, with their numbers."""
        return [(number, each) for number, each in enumerate(faults) if self.kept is None or number in self.kept]


class Outcome(Struct, kw_only=True):
    """How a case was played."""

    findings: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """The kind and the text of each."""
    refusal: str = ""
    """What the code under test asked for and no simulation can give."""
    struck: tuple[int, ...] = ()
    """The numbers of the faults that happened before all was over."""
    faults: list[str] = field(default_factory=list[str])
    """The same in words."""
    instances: int = 0
    deaths: int = 0
    effects: int = 0
    virtual: float = 0.0
    digest: str = ""
    story: list[str] = field(default_factory=list[str])

    @property
    def kinds(self) -> set[str]:
        """What kinds of findings there are."""
        return {kind for kind, _ in self.findings}


def smaller(case: Case, outcome: Outcome) -> Iterator[Case]:
    """Cases that are smaller than this one, the smallest first."""
    kept = outcome.struck
    if case.kept != kept:
        case = replace(case, kept=kept)
        yield case
    if case.workers > 1:
        yield replace(case, workers=1)
    if case.workers > 2:  # noqa: PLR2004 - one of two is the case above
        yield replace(case, workers=case.workers - 1)
    size = len(kept)
    while size:
        for start in range(0, len(kept), size):
            yield replace(case, kept=kept[:start] + kept[start + size :])
        size //= 2
