"""When a schedule is due: a cron expression, an interval or given moments, as pure functions of time.

A cron expression is read in a time zone, as Debian's cron reads it when the clocks change: a time that is left out
runs right after the gap, and a time that comes twice runs once, except where the hour or the minute is `*`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from romancy._microseconds import at_of, microseconds_of, moment_of
from romancy.errors import UsageError
from romancy.retry import Duration, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Due", "Timing", "begins", "due", "timing_of"]

_SECOND: Final = 1_000_000
_LEAST: Final = 1.0
"""An interval of less than a second is work for a loop in a workflow."""
_MOST_MOMENTS: Final = 1000
_FIELDS: Final = 5
_EXTRA: Final = "schedules need the package cronsim, here and where workers run: pip install 'romancy[schedules]'"


class Timing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a schedule is due. One of `cron`, `every` and `at` is given."""

    cron: str | None = None
    tz: str = "UTC"
    every: int | None = None
    """In microseconds, counted from `start`, or from the epoch."""
    at: tuple[datetime, ...] = ()
    """In order."""
    start: datetime | None = None
    """Nothing is due before it."""
    end: datetime | None = None
    """Nothing is due after it."""
    jitter: int = 0
    """In microseconds. Each start is put off by a part of it."""

    def __str__(self) -> str:
        if self.cron is not None:
            return f"cron {self.cron!r} in {self.tz}"
        if self.every is not None:
            return f"every {timedelta(microseconds=self.every)}".removesuffix(", 0:00:00")
        others = f" and {len(self.at) - 1} others" if self.at[1:] else ""
        return f"at {self.at[0].isoformat()}{others}"


class Due(Struct, frozen=True, kw_only=True, gc=False):
    """What is due of a timing in a stretch of time."""

    ticks: tuple[datetime, ...]
    """The first ones, in order."""
    latest: datetime | None
    """The last one. None: there is none."""
    more: bool
    """Whether there are others after `ticks`."""
    following: datetime | None
    """The first one after `ticks`."""
    next: datetime | None
    """The first one after the stretch. None: nothing follows."""


def begins(timing: Timing, declared_at: datetime) -> datetime:
    """After which moment a timing that was declared then has ticks. Moments that are over are late."""
    return min(declared_at, timing.at[0] - timedelta(microseconds=1)) if timing.at else declared_at


def due(timing: Timing, after: datetime, until: datetime, most: int) -> Due:
    """What is due after one moment and until another one, at most the first `most` ticks one by one."""
    coming = _from(timing, after)
    ticks: list[datetime] = []
    following = next(coming, None)
    while following is not None and following <= until and len(ticks) < most:
        ticks.append(following)
        following = next(coming, None)
    if following is None or following > until:
        return Due(
            ticks=tuple(ticks), latest=ticks[-1] if ticks else None, more=False, following=following, next=following
        )
    coming = _from(timing, until)
    latest = _last(timing, until)
    return Due(ticks=tuple(ticks), latest=latest, more=True, following=following, next=next(coming, None))


def _from(timing: Timing, after: datetime) -> Iterator[datetime]:
    """The ticks after this moment, in UTC."""
    if timing.start is not None:
        after = max(after, timing.start - timedelta(microseconds=1))
    for tick in _endless(timing, after):
        if timing.end is not None and tick > timing.end:
            return
        yield tick


def _endless(timing: Timing, after: datetime) -> Iterator[datetime]:
    if timing.every is not None:
        return _multiples(timing, timing.every, after)
    if timing.cron is not None:
        return (tick.astimezone(UTC) for tick in _cron(timing.cron, after.astimezone(ZoneInfo(timing.tz))))
    return (moment for moment in timing.at if moment > after)


def _multiples(timing: Timing, every: int, after: datetime) -> Iterator[datetime]:
    anchor = 0 if timing.start is None else at_of(timing.start)
    number = (at_of(after) - anchor) // every + 1
    try:
        while True:
            yield moment_of(anchor + number * every)
            number += 1
    except OverflowError:
        return


def _last(timing: Timing, until: datetime) -> datetime:
    """The last tick at or before this moment, of which there is one."""
    if timing.end is not None:
        until = min(until, timing.end)
    if timing.every is not None:
        anchor = 0 if timing.start is None else at_of(timing.start)
        return moment_of(anchor + (at_of(until) - anchor) // timing.every * timing.every)
    if timing.cron is not None:
        beyond = (until + timedelta(seconds=1)).astimezone(ZoneInfo(timing.tz))
        return next(_cron(timing.cron, beyond, reverse=True)).astimezone(UTC)
    return max(moment for moment in timing.at if moment <= until)


def _cron(expression: str, start: datetime, *, reverse: bool = False) -> Iterator[datetime]:
    from cronsim import CronSim  # noqa: PLC0415 - the extra `schedules`

    return CronSim(expression, start, reverse=reverse)


# ── what a user gives ───────────────────────────────────────────────────────────────────────────────────────────────


def timing_of(
    what: str,
    *,
    cron: str | None,
    every: Duration | None,
    at: datetime | Sequence[datetime] | None,
    tz: str | None,
    start: datetime | None,
    end: datetime | None,
    jitter: Duration | None,
) -> Timing:
    """The timing of these options. Raises UsageError, which names `what` they belong to and the option."""
    if find_spec("cronsim") is None:
        raise UsageError(f"{what}: {_EXTRA}")
    given = [name for name, value in (("cron", cron), ("every", every), ("at", at)) if value is not None]
    if len(given) != 1:
        names = " and ".join(f"{name}=" for name in given) or "none of them"
        raise UsageError(f"{what}: give one of cron=, every= and at=, not {names}")
    if tz is not None and cron is None:
        raise UsageError(f"{what}: tz= is the time zone of cron=; {given[0]}= needs none")
    first, last = _utc(start, f"{what}: start="), _utc(end, f"{what}: end=")
    if first is not None and last is not None and first > last:
        raise UsageError(f"{what}: start= is after end=")
    timing = Timing(
        cron=cron,
        tz="UTC" if tz is None else _zone(tz, what),
        every=None if every is None else _interval(every, what),
        at=() if at is None else _moments(at, what),
        start=first,
        end=last,
        jitter=0 if jitter is None else round(seconds(jitter, f"{what}: jitter=") * _SECOND),
    )
    if cron is not None:
        _check_cron(timing, what)
    return timing


def _utc(moment: datetime | None, what: str) -> datetime | None:
    return None if moment is None else moment_of(microseconds_of(moment, what))


def _interval(every: Duration, what: str) -> int:
    length = seconds(every, f"{what}: every=")
    if length < _LEAST:
        raise UsageError(
            f"{what}: every= is at least a second, not {length:g} s; a shorter loop belongs into a workflow"
        )
    return round(length * _SECOND)


def _moments(at: Any, what: str) -> tuple[datetime, ...]:
    moments = [at] if isinstance(at, datetime) else list(at)
    if not 0 < len(moments) <= _MOST_MOMENTS:
        raise UsageError(f"{what}: at= takes one to {_MOST_MOMENTS:,} moments, not {len(moments):,}")
    return tuple(sorted({moment_of(microseconds_of(moment, f"{what}: at=")) for moment in moments}))


def _zone(tz: Any, what: str) -> str:
    try:
        ZoneInfo(tz)
    except (KeyError, ValueError, TypeError, OSError):
        raise UsageError(
            f"{what}: tz={tz!r} is no time zone that this machine knows; write one of the IANA database, such as "
            "'Europe/Berlin', or install tzdata"
        ) from None
    return str(tz)


def _check_cron(timing: Timing, what: str) -> None:
    """Refuse what is no cron expression, and one that no day fits, as the 31st of February."""
    from cronsim import CronSimError  # noqa: PLC0415 - the extra `schedules`

    if not isinstance(timing.cron, str):
        raise UsageError(f"{what}: cron= takes a text of five fields, not {type(timing.cron).__name__}")
    expression = timing.cron
    if (count := len(expression.split())) != _FIELDS:
        raise UsageError(
            f"{what}: cron={expression!r} has {count} fields; write minute, hour, day of the month, "
            "month and day of the week, such as '30 2 * * mon-fri'"
        )
    try:
        found = next(_cron(expression, datetime(2000, 1, 1, tzinfo=ZoneInfo(timing.tz))), None)
    except CronSimError as error:
        raise UsageError(f"{what}: cron={expression!r} is no cron expression: {error}") from None
    if found is None:
        raise UsageError(f"{what}: cron={expression!r} never comes: no day fits it")
