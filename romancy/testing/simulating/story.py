"""The trace of a simulation for people: without the calls that come all the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.testing.simulating.world import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["told"]

_MOST: Final = 40
_TOLD: Final = frozenset({
    "begins", "returns", "fails", "did", "died", "ended", "frozen", "thawed", "cut", "commit", "session",
    "dies", "deaths", "freezes", "drains", "clocks", "cuts", "stalls", "away", "wire", "posthumous",
})  # fmt: skip
_FAULT: Final = "fault"
_UPKEEP: Final = frozenset({"heartbeat", "wait_for_work", "outbox.wait", "claim"})


def told(lines: Iterable[str]) -> list[str]:
    """The last of the lines that say something."""
    return [_line(*parts) for parts in map(_parts, lines) if _says_something(*parts[1:])][-_MOST:]


def _parts(line: str) -> tuple[int, str, str, str]:
    at, who, what, of = line.rstrip("\n").split("\t")
    return int(at), who, what, of


def _says_something(who: str, what: str, of: str) -> bool:
    if who == "test":
        return what == "commit"
    return what.partition(" ")[0] in _TOLD and of not in _UPKEEP


def _line(at: int, who: str, what: str, of: str) -> str:
    if who == _FAULT:
        return f"{at / SECOND:10.4f} s  *** {of.partition(': ')[2]}"
    return f"{at / SECOND:10.4f} s  {who} {what} {of}".rstrip()
