"""What begins, ends and fails in a minute, by workflow, counted from the rows that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy._microseconds import moment_of
from romancy._start_options import length_of
from romancy.errors import UsageError
from romancy.managing.failures import FailedInstances
from romancy.rates import Rates, RateSpan, WorkflowRates
from romancy.retry import whole_number
from romancy.status import Status
from romancy.storage.services import Service

if TYPE_CHECKING:
    from romancy.retry import Duration
    from romancy.storage.figures import OpenWork, OpenWorkflow, Pace
    from romancy.storage.protocol import Store

__all__ = ["SPANS", "Rated", "rates_from", "rates_of"]

SPANS: Final = 12
_MOST: Final = 1_000_000
_LEAST: Final = SPANS
"""Microseconds: a span has at least one."""
_MINUTE: Final = 60_000_000
_DIGITS: Final = 4


class Rated(FailedInstances):
    """Counts what begins, ends and waits."""

    async def rates(self, within: Duration = 3600.0, *, most: int = 10_000) -> Rates:
        """How many instances of each workflow began, ended and failed in a minute, and how many are open and wait.

        `within` is the time until now, in seconds. It is told in twelve spans as well. The newest `most` begins and the
        newest `most` ends are counted, and of each status the `most` open instances that were started first. If there
        are more, the rates are those of a shorter time (`begun_since`, `ended_since`). What was purged is not counted,
        and a retry takes back the end of its instance.
        """
        length = length_of(within, "rates: within=")
        if length < _LEAST:
            raise UsageError("rates: within= must be more than 0 seconds; an hour is 3600")
        if whole_number(most, "rates: most=") > _MOST:
            raise UsageError(f"rates: most= is at most {_MOST:,}, not {most}")
        return await rates_of(self._access.lists().store, length, most)


async def rates_of(store: Store, within: int, most: int) -> Rates:
    """The rates of so many microseconds until now, in three bounded statements."""
    if Service.FIGURES not in store.services.offered:
        raise UsageError("the adapter of this database has no figures, so rates are not counted")
    now = (await store.services.reading.census()).now
    width = -(-within // SPANS)
    found = await store.services.figures.open_work(most=most, now=now)
    pace = await store.services.figures.pace(since=now - within, width=width, most=most)
    return rates_from(pace, found, since=now - within, width=width, now=now)


def rates_from(pace: Pace, found: OpenWork, *, since: int, width: int, now: int) -> Rates:
    """The rates from what was counted."""
    lines = {each.name: each for each in found.by_workflow()}
    quiet = {name for name, _ in pace.begun} | {name for name, _, _ in pace.ended}
    counting = _Counting(pace, since, width, now)
    return Rates(
        workflows=[counting.of(name, lines.get(name)) for name in [*lines, *sorted(quiet - lines.keys())]],
        since=moment_of(since),
        until=moment_of(now),
        begun_since=moment_of(pace.begun_from),
        ended_since=moment_of(pace.ended_from),
        uncounted=sorted(found.more),
    )


class _Counting:
    """The counts of a pace by workflow."""

    def __init__(self, pace: Pace, since: int, width: int, now: int) -> None:
        self._since, self._width, self._now = since, width, now
        self._begun_from, self._ended_from = pace.begun_from, pace.ended_from
        self._begun: dict[str, list[int]] = {}
        self._ended: dict[str, list[int]] = {}
        self._failed: dict[str, list[int]] = {}
        for (name, span), number in pace.begun.items():
            self._add(self._begun, name, span, number)
        for (name, status, span), number in pace.ended.items():
            self._add(self._ended, name, span, number)
            if status is Status.FAILED:
                self._add(self._failed, name, span, number)

    def _add(self, counts: dict[str, list[int]], name: str, span: int, number: int) -> None:
        """What came after `now`, while it was counted, is in the last span."""
        counts.setdefault(name, [0] * SPANS)[min(span, SPANS - 1)] += number

    def of(self, name: str, line: OpenWorkflow | None) -> WorkflowRates:
        nothing = [0] * SPANS
        begun, ended = self._begun.get(name, nothing), self._ended.get(name, nothing)
        failed = self._failed.get(name, nothing)
        number = 0 if line is None else line.number
        return WorkflowRates(
            workflow_name=name,
            open=number,
            statuses={} if line is None else line.statuses,
            due=0 if line is None else line.due,
            oldest=None if line is None else moment_of(line.oldest),
            more=line is not None and line.more,
            begun=self._a_minute(begun, self._begun_from),
            ended=self._a_minute(ended, self._ended_from),
            failed=self._a_minute(failed, self._ended_from),
            over_time=self._over_time(begun, ended, failed, number),
        )

    def _a_minute(self, counts: list[int], since: int) -> float:
        """Of what began at one moment, not all may be counted: a rate is of a minute at least, or of the whole time."""
        length = max(self._now - since, min(_MINUTE, self._now - self._since), 1)
        return round(sum(counts) * _MINUTE / length, _DIGITS)

    def _over_time(self, begun: list[int], ended: list[int], failed: list[int], number: int) -> list[RateSpan]:
        """Back from what is open now: what began later was not open yet, and what ended later still was."""
        whole_from = max(self._begun_from, self._ended_from)
        found: list[RateSpan] = []
        left: int | None = number
        for span in reversed(range(SPANS)):
            at = self._since + span * self._width
            whole = at >= whole_from
            found.append(
                RateSpan(
                    at=moment_of(at), begun=begun[span], ended=ended[span], failed=failed[span], open=left, whole=whole
                )
            )
            left = max(left - begun[span] + ended[span], 0) if left is not None and whole else None
        return found[::-1]
