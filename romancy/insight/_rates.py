"""How many instances begin, end and fail in a minute, and which queues grow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.insight._numbers import many
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.figures import OpenWorkflow, Pace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Rates", "growing", "one_holds_all"]

_DIGITS: Final = 3
_ENOUGH: Final = 100
"""A queue with fewer open instances is none to warn of."""
_FASTER: Final = 1.2
"""A queue grows if so many times as many begin as end."""
_SHARE: Final = 0.9
_LEAST_HELD: Final = 20


class Rates(NamedTuple):
    """The rates of a time, by workflow."""

    pace: Pace
    minutes: float

    def begun(self, workflow: str) -> float:
        """How many begin in a minute."""
        return self._rate(self.pace.begun.get(workflow, 0))

    def ended(self, workflow: str) -> float:
        """How many end in a minute, failed ones included."""
        return self._rate(self.pace.ended_of(workflow, *TERMINAL_STATUSES))

    def failed(self, workflow: str) -> float:
        """How many fail in a minute."""
        return self._rate(self.pace.ended_of(workflow, Status.FAILED))

    def _rate(self, number: int) -> float:
        return round(number / self.minutes, _DIGITS)

    def with_quiet(self, open_work: Iterable[OpenWorkflow], now: int) -> list[OpenWorkflow]:
        """What is open, and behind it the workflows of which nothing is open, but something began or ended."""
        lines = list(open_work)
        known = {each.name for each in lines}
        others = {*self.pace.begun, *(name for name, _ in self.pace.ended)} - known
        return [*lines, *(OpenWorkflow(now, name, {}, more=False) for name in sorted(others))]


def growing(pace: Pace, open_work: Iterable[OpenWorkflow]) -> list[str]:
    """A sentence for each workflow of which more begin than end, and many are open."""
    found: list[str] = []
    for each in open_work:
        begun, ended = pace.begun.get(each.name, 0), pace.ended_of(each.name, *TERMINAL_STATUSES)
        if each.number >= _ENOUGH and begun > ended * _FASTER:
            more = "+" if each.more else ""
            found.append(f"{each.name}: {begun:,} began, {ended:,} ended, {each.number:,}{more} are open")
    return found


def one_holds_all(loads: Mapping[str, int], names: Sequence[tuple[str, str]]) -> str:
    """That one of several live workers holds nearly everything. Empty: it is not so.

    `names` are the tokens and the names of the live workers.
    """
    total = sum(loads.get(token, 0) for token, _ in names)
    if len(names) <= 1 or total < _LEAST_HELD:
        return ""
    most, name = max((loads.get(token, 0), name) for token, name in names)
    if most < total * _SHARE:
        return ""
    return f"{name} holds {most:,} of {many(total, 'instance')} of {len(names)} live workers"
