"""The options of a schedule: their names and types, what they may be, and the value that is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, TypeAlias, TypedDict, cast

from msgspec import Struct

from romancy._schedule_times import Timing, timing_of
from romancy.errors import UsageError
from romancy.retry import Duration, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = ["BUFFER", "Catchup", "Drops", "Overlap", "ScheduleKeywords", "ScheduleOptions", "check_overlap"]

Overlap: TypeAlias = Literal["skip", "buffer_one", "allow"]
Catchup: TypeAlias = Literal["one", "all", "none"]
BUFFER: Final = "buffer_one"
_OVERLAPS: Final = ("skip", "buffer_one", "allow")
_CATCHUPS: Final = ("one", "all", "none")
_TIMING: Final = ("cron", "every", "at", "tz", "start", "end", "jitter")
_SECOND: Final = 1_000_000


class ScheduleKeywords(TypedDict, total=False):
    """When a schedule is due, and what happens to its ticks. One of `cron`, `every` and `at` is given."""

    cron: str | None
    """Minute, hour, day of the month, month and day of the week: "30 2 * * mon-fri"."""
    every: Duration | None
    """An interval of at least a second, counted from `start`, or from the epoch."""
    at: datetime | Sequence[datetime] | None
    """One moment, or several."""
    tz: str | None
    """The time zone of `cron`. Without it, UTC."""
    jitter: Duration | None
    """Each start is put off by a random part of it."""
    overlap: Overlap
    """What becomes of a tick that comes while a run is open: "skip", "buffer_one" or "allow"."""
    catchup: Catchup | Duration
    """What becomes of ticks that came while no worker ran: "one", "all", "none", or all not later than this."""
    pause_on_failure: bool
    """Whether the schedule is paused when a run has failed."""
    start: datetime | None
    """Nothing is due before it."""
    end: datetime | None
    """Nothing is due after it."""


class ScheduleOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a schedule is due, and what becomes of its ticks, as it was checked."""

    timing: Timing
    overlap: Overlap = "skip"
    catchup: Catchup | int = "one"
    """A number: how many microseconds a tick may be late."""
    pause_on_failure: bool = False

    @classmethod
    def of(cls, what: str, options: ScheduleKeywords) -> Self:
        """The value for these options. Raises UsageError, which says `what` they belong to."""
        if unknown := sorted(options.keys() - ScheduleKeywords.__annotations__.keys()):
            raise UsageError(
                f"{what}: no option {unknown[0]}=; there are {', '.join(ScheduleKeywords.__annotations__)}"
            )
        pauses = options.get("pause_on_failure", False)
        return cls(
            timing=timing_of(what, **{name: options.get(name) for name in _TIMING}),  # type: ignore[arg-type]
            overlap=check_overlap(options.get("overlap", "skip"), what),
            catchup=_catchup(options.get("catchup", "one"), what),
            pause_on_failure=cast("bool", _chosen(pauses, (True, False), f"{what}: pause_on_failure=")),
        )


class Drops(NamedTuple):
    """The ticks that a schedule has dropped."""

    schedule_id: str
    starts: str
    """The workflow that they would have started."""
    number: int


def check_overlap(value: Any, what: str) -> Overlap:
    """The rule, if it is one. Raises UsageError."""
    return cast("Overlap", _chosen(value, _OVERLAPS, f"{what}: overlap="))


def _chosen(value: Any, choices: tuple[Any, ...], what: str) -> Any:
    if not any(isinstance(value, type(each)) and value == each for each in choices):
        raise UsageError(f"{what} is {' or '.join(map(repr, choices))}, not {value!r}")
    return value


def _catchup(value: Any, what: str) -> Catchup | int:
    if isinstance(value, str):
        return cast("Catchup", _chosen(value, _CATCHUPS, f"{what}: catchup="))
    return round(seconds(value, f"{what}: catchup=") * _SECOND)
