"""The trace as people read it: who did what at which time of the simulation, in 80 columns.

    ! 12.345678 worker3  died -9
      12.349120 worker1  takeover from worker3 x-1-4 x-1-7

A fault begins with `!`. Seconds are counted from the beginning.
"""

from __future__ import annotations

from textwrap import TextWrapper
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from romancy.testing.simulating.world import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["COLUMNS", "Entry", "about", "entries", "in_columns", "last_of"]

COLUMNS: Final = 80
_MOST: Final = 40
_FAULTS: Final = frozenset({
    "lost", "unanswered", "hung", "late", "cut", "away", "posthumous", "died", "frozen", "clock set",
})  # fmt: skip
_LIVES: Final = frozenset({"begun", "told to stop", "ended", "thawed"})
_HOLDING: Final = frozenset({"claim", "commit", "session commit"})
"""Calls of a worker about an instance that it holds, or gets."""
_SHARED: Final = frozenset({"database", "wire"})
_READERS: Final = frozenset({"driver", "test"})
"""Those that look at everything, to judge it."""
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
        return not self.of or (self.what == "read" and self.who in _READERS)


def entries(lines: Iterable[str]) -> list[Entry]:
    """Read the lines of a trace."""
    found: list[Entry] = []
    for line in lines:
        at, who, what, of = line.rstrip("\n").split("\t", 3)
        fault = what in _FAULTS or (who in _SHARED and what not in _LIVES)
        found.append(Entry(int(at) / SECOND, who, what, of, fault))
    return found


def about(told: list[Entry], subject: str) -> list[Entry]:
    """What concerns an instance and the processes that held it, or all if nothing concerns it."""
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
    """An entry as one or more lines of at most 80 columns."""
    head = f"{'!' if entry.fault else ' '}{entry.at:>11.6f} {entry.who:<8} "
    wrapper = TextWrapper(width=COLUMNS, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
    return wrapper.fill(f"{entry.what} {entry.of}")


def last_of(lines: Iterable[str]) -> list[str]:
    """The last entries of a trace that say something, for people."""
    return [in_columns(entry) for entry in entries(lines) if not entry.is_quiet][-_MOST:]
