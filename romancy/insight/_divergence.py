"""A divergence in parts: what the log holds beside what the code asked for.

The log records it as data. Older instances have only the report to people, and so has a reader who cannot open the log:
then the text is parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from romancy.core import Departure

__all__ = ["Divergence", "divergence_of"]

_WHERE: Final = re.compile(r"^  where: +event (\d+), after (.*)$", re.MULTILINE)
_RECORDED: Final = re.compile(r"^  the log says: +(.*)$", re.MULTILINE)
_ASKED: Final = re.compile(r"^  the code now does: (.*)$", re.MULTILINE)
_MORE: Final = re.compile(
    r"^  ((?:the same calls, |differs: |code of the log: |runtime of the log: ).*)$", re.MULTILINE
)
_VALUES: Final = re.compile(r"^  (differs: .*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where the code left the log."""

    position: int
    """The event of the run at which the code did something else, counted from 1 or as the report counts it."""
    after: str
    recorded: tuple[str, ...]
    asked: tuple[str, ...]
    more: tuple[str, ...]
    """The arguments, and the versions of the code and of Python, where they differ."""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Both sides, line by line; an empty text if one side has fewer lines."""
        longest = max(len(self.recorded), len(self.asked))
        left, right = (side + ("",) * (longest - len(side)) for side in (self.recorded, self.asked))
        return list(zip(left, right, strict=True))


def divergence_of(reason: str, recorded: Departure | None = None) -> Divergence | None:
    """The recorded divergence, or else the one that this reason for being stuck reports, or None."""
    if recorded is not None:
        more = (*recorded.more, *_VALUES.findall(reason))
        return Divergence(recorded.position, recorded.after, recorded.recorded, recorded.asked, more)
    return _told(reason)


def _told(reason: str) -> Divergence | None:
    where, recorded, asked = (form.search(reason) for form in (_WHERE, _RECORDED, _ASKED))
    if where is None or recorded is None or asked is None:
        return None
    return Divergence(int(where[1]), where[2], _calls(recorded[1]), _calls(asked[1]), tuple(_MORE.findall(reason)))


def _calls(text: str) -> tuple[str, ...]:
    return () if text == "nothing" else tuple(text.split("; "))
