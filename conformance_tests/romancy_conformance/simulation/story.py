"""The trace as people read it: who did what at which virtual time, in 80 columns, or as lines of JSON.

    ! 12.345678 worker3  died -9
      12.349120 worker1  takeover from worker3 x-1-4 x-1-7

A fault begins with `!`. Seconds are counted from the beginning of the slice, as `--stop-at` counts them.
"""

from __future__ import annotations

from textwrap import TextWrapper
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from romancy.testing.simulating.world import SECOND
from romancy_conformance.chaos.faults import ON_CLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from romancy_conformance.simulation.slices import Outcome

__all__ = ["COLUMNS", "Entry", "about", "in_columns", "subject_of", "tell", "told"]

COLUMNS: Final = 80
_FAULTS: Final = (
    frozenset({"lost", "unanswered", "hung", "late", "cut", "away", "posthumous", "died", "frozen", "clock set"})
    | ON_CLOCKS.keys()
)
_LIVES: Final = frozenset({"begun", "told to stop", "ended", "thawed"})
_HOLDING: Final = frozenset({"claim", "commit", "session commit"})
"""Calls of a worker about an instance that it holds, or gets."""
_SHARED: Final = frozenset({"database", "wire"})
_DRIVER: Final = "driver"
_AROUND: Final = 2.0
"""Seconds before the first and after the last line about an instance, in which faults are told too."""


class Entry(Struct, frozen=True):
    """One line of the trace."""

    at: float
    """Seconds since the beginning."""
    who: str
    what: str
    of: str
    fault: bool = False

    @property
    def instances(self) -> set[str]:
        """The words that may be instance ids."""
        return {word.partition("#")[0] for word in self.of.split()}

    @property
    def is_quiet(self) -> bool:
        """Whether it tells people nothing: a call without news, or the judge that reads."""
        if self.fault or self.what in _LIVES:
            return False
        return not self.of or (self.what == "read" and self.who == _DRIVER)


def entries(lines: Iterable[str]) -> list[Entry]:
    """Read the lines of a trace."""
    found: list[Entry] = []
    for line in lines:
        at, who, what, of = line.rstrip("\n").split("\t", 3)
        fault = what in _FAULTS or who == "wire"
        found.append(Entry(int(at) / SECOND, who, what, of, fault))
    return found


def subject_of(findings: Sequence[str]) -> str:
    """Return the instance, or the process, of the first finding: `DOUBLED x-1-4: …`."""
    words = findings[0].split() if findings else []
    return words[1].rstrip(":") if len(words) > 1 else ""


def about(told: list[Entry], subject: str) -> list[Entry]:
    """Return what concerns an instance and the processes that held it, or all if nothing concerns it."""
    mine = [entry for entry in told if not entry.is_quiet and (subject in entry.instances or subject == entry.who)]
    if not mine:
        return told
    holders = {entry.who for entry in mine if entry.what in _HOLDING or entry.who == subject}
    begin, end = mine[0].at - _AROUND, mine[-1].at + _AROUND

    def concerns(entry: Entry) -> bool:
        if subject in entry.instances or subject == entry.who:
            return True
        if not begin <= entry.at <= end:
            return False
        if entry.who in _SHARED:
            return True
        hurts = entry.fault or entry.what in _LIVES or (entry.what == "heartbeat" and bool(entry.of))
        return (hurts and entry.who in holders) or (
            entry.what == "takeover" and not holders.isdisjoint(entry.instances)
        )

    return [entry for entry in told if concerns(entry)]


def in_columns(entry: Entry) -> str:
    """Write an entry as one or more lines of at most 80 columns."""
    head = f"{'!' if entry.fault else ' '}{entry.at:>11.6f} {entry.who:<8} "
    wrapper = TextWrapper(width=COLUMNS, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
    return wrapper.fill(f"{entry.what} {entry.of}")


def told(outcome: Outcome, subject: str | None = None) -> list[Entry]:
    """Return the story of a slice: of its first finding, of another instance or process, or all of it (`all`)."""
    found = entries(outcome.story)
    subject = subject_of(outcome.findings) if subject is None else subject
    if subject not in {"", "all"}:
        found = about(found, subject)
    return [*found, *(Entry(outcome.virtual, "judge", "found", text) for text in outcome.findings)]


def tell(outcome: Outcome, file: Path, subject: str | None = None) -> None:
    """Write the story into a file: as JSON if it is named so, else for people."""
    story = told(outcome, subject)
    if file.suffix == ".jsonl":
        lines = [msgspec.json.encode(entry).decode() for entry in story]
    else:
        lines = [in_columns(entry) for entry in story if not entry.is_quiet]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
