"""When schedules are due: cron expressions against an oracle that looks at every minute, intervals and moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from romancy._schedule_times import Timing, due, timing_of
from romancy.errors import UsageError

FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def timing(**options: object) -> Timing:
    given: dict[str, Any] = {
        name: options.get(name) for name in ("cron", "every", "at", "tz", "start", "end", "jitter")
    }
    return timing_of("schedule 'nightly'", **given)


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


# ── cron ────────────────────────────────────────────────────────────────────────────────────────────────────────────

YEARS = {
    "UTC": 2026,
    "Europe/Berlin": 2026,
    "America/New_York": 2026,
    "America/St_Johns": 2006,  # the clocks changed at one minute past midnight
    "America/Santiago": 2026,  # they change at midnight: the first hour of a day is left out
    "America/Sao_Paulo": 2018,
    "Australia/Lord_Howe": 2026,  # they change by half an hour
    "Africa/Casablanca": 2026,  # they change for Ramadan
    "Asia/Kathmandu": 2026,  # a quarter of an hour off
    "Pacific/Apia": 2011,  # a whole day was left out
}
TIMES = ((2, 30), (0, 0), (0, 15), (1, 0), (23, 59))


def days_with_changes(zone: ZoneInfo, year: int) -> list[list[datetime]]:
    """Every minute, in UTC, of the days around each change of the clock, and of two other days."""
    first, last = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    hours = [first + timedelta(hours=n) for n in range((last - first) // timedelta(hours=1))]
    changes = [
        hour
        for hour in hours
        if hour.astimezone(zone).utcoffset() != (hour - timedelta(hours=1)).astimezone(zone).utcoffset()
    ]
    begins = [first + timedelta(days=40), *(change - timedelta(days=1, hours=12) for change in changes)]
    return [[begin + n * MINUTE for n in range(3 * 24 * 60)] for begin in begins]


def daily(zone: ZoneInfo, minutes: list[datetime], hour: int, minute: int) -> list[datetime]:
    """A daily time as the wall clock of each minute gives it.

    What the clock leaves out comes right after the gap. What it shows twice comes once.
    """
    found: list[datetime] = []
    before = (minutes[0] - MINUTE).astimezone(zone).replace(tzinfo=None)
    for moment in minutes:
        wall = moment.astimezone(zone).replace(tzinfo=None)
        wanted = wall.replace(hour=hour, minute=minute)
        left_out = any(before < each < wall for each in (wanted, wanted - timedelta(days=1)))
        if (wall == wanted and wall > before) or left_out:
            found.append(moment)
        before = max(before, wall)
    return found


@pytest.mark.parametrize(("name", "year"), YEARS.items())
def test_daily_ticks_around_changes_of_the_clock_are_those_of_an_oracle(name: str, year: int) -> None:
    zone = ZoneInfo(name)
    stretches = days_with_changes(zone, year)
    assert len(stretches) > 1 or name in ("UTC", "Asia/Kathmandu")
    for hour, minute in TIMES:
        given = timing(cron=f"{minute} {hour} * * *", tz=name)
        for minutes in stretches:
            ticks = due(given, minutes[0] - MINUTE, minutes[-1], 1000).ticks
            assert list(ticks) == daily(zone, minutes, hour, minute), (hour, minute)


@pytest.mark.parametrize(("name", "year"), YEARS.items())
def test_an_expression_with_stars_follows_the_clock_of_the_wall(name: str, year: int) -> None:
    zone = ZoneInfo(name)
    given = timing(cron="15 * * * *", tz=name)
    for minutes in days_with_changes(zone, year):
        ticks = due(given, minutes[0] - MINUTE, minutes[-1], 10_000).ticks
        assert list(ticks) == [moment for moment in minutes if moment.astimezone(zone).minute == 15]


@pytest.mark.parametrize(("name", "year"), YEARS.items())
def test_a_year_of_daily_ticks_has_each_day_once(name: str, year: int) -> None:
    zone = ZoneInfo(name)
    first, last = datetime(year, 1, 1, tzinfo=zone), datetime(year, 12, 31, 23, 59, tzinfo=zone)
    for hour, minute in TIMES:
        ticks = due(timing(cron=f"{minute} {hour} * * *", tz=name), first - MINUTE, last, 1000).ticks
        days = [(first + timedelta(days=n)).date() for n in range((last.date() - first.date()).days + 1)]
        shown = [tick.astimezone(zone).date() for tick in ticks]
        expected = [day + timedelta(days=1) if str(day) == "2011-12-30" and "Apia" in name else day for day in days]
        if (hour, minute) == (0, 0):
            expected = list(dict.fromkeys(expected))  # the day that is left out would begin when the next one does
        assert shown == expected, (hour, minute)


def test_the_last_tick_is_found_from_behind() -> None:
    found = due(timing(cron="30 2 * * *", tz="Europe/Berlin"), at(2000, 1, 1), at(2026, 11, 28, 12), 3)
    assert found.more
    assert found.ticks == (at(2000, 1, 1, 1, 30), at(2000, 1, 2, 1, 30), at(2000, 1, 3, 1, 30))
    assert found.latest == at(2026, 11, 28, 1, 30)
    assert found.next == at(2026, 11, 29, 1, 30)


def test_portions_together_are_the_whole() -> None:
    given = timing(cron="*/7 * * * *")
    whole = due(given, at(2026, 1, 1), at(2026, 1, 2), 1000)
    assert not whole.more
    parts: list[datetime] = []
    after = at(2026, 1, 1)
    while (part := due(given, after, at(2026, 1, 2), 10)).ticks:
        assert (part.latest, part.next) == (whole.latest, whole.next)
        parts += part.ticks
        after = parts[-1]
    assert tuple(parts) == whole.ticks


# ── intervals and moments ───────────────────────────────────────────────────────────────────────────────────────────


def test_an_interval_counts_from_the_epoch_or_from_its_start() -> None:
    every = timing(every=timedelta(hours=6))
    assert due(every, at(2026, 1, 1, 5), at(2026, 1, 1, 13), 10).ticks == (at(2026, 1, 1, 6), at(2026, 1, 1, 12))
    started = timing(every=timedelta(hours=6), start=at(2026, 1, 1, 1))
    assert due(started, at(2025, 1, 1), at(2026, 1, 1, 13), 10).ticks == (
        at(2026, 1, 1, 1),
        at(2026, 1, 1, 7),
        at(2026, 1, 1, 13),
    )


def test_a_long_time_of_seconds_is_not_counted_through() -> None:
    found = due(timing(every=1), at(1970, 1, 1), at(2026, 1, 1), 2)
    assert found.ticks == (at(1970, 1, 1, 0, 0, 1), at(1970, 1, 1, 0, 0, 2))
    assert (found.latest, found.more) == (at(2026, 1, 1), True)


@pytest.mark.parametrize(
    "options", [{"every": 3600}, {"cron": "0 * * * *"}, {"at": [at(2026, 1, 1, n) for n in range(9)]}]
)
def test_nothing_is_due_before_the_start_and_after_the_end(options: dict[str, object]) -> None:
    given = timing(**options, start=at(2026, 1, 1, 2), end=at(2026, 1, 1, 4))
    for most in (1, 10):
        found = due(given, at(2025, 1, 1), at(2027, 1, 1), most)
        assert found.ticks == tuple(at(2026, 1, 1, hour) for hour in (2, 3, 4))[:most]
        assert (found.latest, found.more, found.next) == (at(2026, 1, 1, 4), most == 1, None)
    assert due(given, at(2025, 1, 1), at(2025, 6, 1), 10).next == at(2026, 1, 1, 2)


def test_moments_come_in_order_and_once() -> None:
    given = timing(at=[at(2026, 1, 2), at(2026, 1, 1), at(2026, 1, 2)])
    assert due(given, at(2025, 1, 1), FOR_EVER, 10).ticks == (at(2026, 1, 1), at(2026, 1, 2))


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "one of cron=, every= and at=, not none of them"),
        ({"cron": "* * * * *", "every": 5}, "not cron= and every="),
        ({"cron": "0 0 31 2 *"}, "31 2"),
        ({"cron": "61 * * * *"}, "Bad minute"),
        ({"cron": "* * * * * *"}, "has 6 fields"),
        ({"cron": "@daily"}, "has 1 fields"),
        ({"cron": 5}, "a text of five fields, not int"),
        ({"cron": "* * * * *", "tz": "Europe/Atlantis"}, "Europe/Atlantis"),
        ({"cron": "* * * * *", "tz": "../../etc/passwd"}, "is no time zone"),
        ({"every": 60, "tz": "UTC"}, "tz= is the time zone of cron="),
        ({"every": 0}, "at least a second"),
        ({"every": 0.5}, "at least a second"),
        ({"every": -1}, "every="),
        ({"at": []}, "one to 1,000 moments"),
        ({"at": datetime(2026, 1, 1)}, "no time zone"),  # noqa: DTZ001 - what a user forgets
        ({"at": "tomorrow"}, "at="),
        ({"every": 60, "start": datetime(2026, 1, 1)}, "start="),  # noqa: DTZ001
        ({"every": 60, "start": at(2026, 1, 2), "end": at(2026, 1, 1)}, "start= is after end="),
        ({"every": 60, "jitter": -1}, "jitter="),
    ],
)
def test_a_timing_that_cannot_be_is_refused_by_name(options: dict[str, object], why: str) -> None:
    with pytest.raises(UsageError) as error:
        timing(**options)
    assert why in str(error.value)
    assert "schedule 'nightly'" in str(error.value)


def test_without_the_extra_a_schedule_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_: str) -> None: ...

    monkeypatch.setattr("romancy._schedule_times.find_spec", nothing)
    with pytest.raises(UsageError, match=r"romancy\[schedules\]"):
        timing(every=60)
