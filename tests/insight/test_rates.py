"""Queues that grow, a worker that holds nearly everything, and rates and courses as texts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from romancy.insight import course, growing, one_holds_all, rate
from romancy.managing.rates import rates_from
from romancy.status import Status
from romancy.storage.figures import Oldest, OpenWork, Pace, pace_from

if TYPE_CHECKING:
    from romancy.rates import Rates

MINUTE = 60_000_000
QUIET = Pace({}, {}, 0, 0)


def rates(pace: Pace, *, number: int = 0, due: int = 0, more: bool = False) -> Rates:
    """Those of an hour, in which nothing began before it: an hour ago is 0."""
    counts = {("order", Status.PENDING): Oldest(number, 0, due)} if number else {}
    found = OpenWork(counts, frozenset({Status.PENDING} if more else ()))
    return rates_from(pace, found, since=0, width=5 * MINUTE, now=60 * MINUTE)


def hour(begun: int, ended: int, failed: int = 0) -> Pace:
    return Pace(
        {("order", 11): begun}, {("order", Status.COMPLETED, 0): ended, ("order", Status.FAILED, 11): failed}, 0, 0
    )


def test_rates_are_a_minutes_and_told_in_twelve_spans() -> None:
    (order,) = rates(hour(300, 60, 30), number=210, due=200).workflows

    assert (order.begun, order.ended, order.failed) == (5, 1.5, 0.5)
    assert (order.open, order.due, order.change) == (210, 200, 210)
    assert (order.over_time[11].begun, order.over_time[11].ended, order.over_time[11].failed) == (300, 30, 30)
    assert [one.at.minute for one in order.over_time[:3]] == [0, 5, 10]
    assert all(one.whole for one in order.over_time)


def test_what_was_open_is_counted_back_from_now() -> None:
    pace = Pace({("order", 5): 4, ("order", 10): 1}, {("order", Status.COMPLETED, 7): 2}, 0, 0)
    (order,) = rates(pace, number=3).workflows

    assert [one.open for one in order.over_time] == [0, 0, 0, 0, 0, 4, 4, 2, 2, 2, 3, 3]
    assert course(order) == "▁▁▁▁▁██▅▅▅▇▇"


def test_what_was_not_counted_makes_rates_those_of_a_shorter_time() -> None:
    pace = Pace({("order", 10): 50, ("order", 11): 50}, {("order", Status.FAILED, 11): 10}, 52 * MINUTE, 0)
    found = rates(pace, number=200)
    (order,) = found.workflows

    assert (order.begun, order.ended) == (12.5, round(10 / 60, 4))
    assert found.partial
    assert found.begun_since == datetime(1970, 1, 1, 0, 52, tzinfo=UTC)
    assert order.change is None
    assert [one.whole for one in order.over_time] == [False] * 11 + [True]
    assert [one.open for one in order.over_time] == [None] * 10 + [160, 200]
    assert course(order) == "··········▇█"


def test_a_burst_of_a_moment_is_a_rate_of_a_minute_at_least() -> None:
    pace = Pace({("order", 11): 100}, {}, 60 * MINUTE - 1, 0)
    assert [one.begun for one in rates(pace).workflows] == [100]


def test_what_is_not_open_has_a_line_too() -> None:
    found = rates(Pace({("quiet", 0): 3, ("order", 0): 1}, {("gone", Status.FAILED, 3): 1}, 0, 0), number=5)
    assert [(one.workflow_name, one.open, one.oldest is None) for one in found.workflows] == [
        ("order", 5, False), ("gone", 0, True), ("quiet", 0, True),
    ]  # fmt: skip


def test_lines_of_a_database_are_a_pace() -> None:
    """What is open, or ended before that time, was only in the index. It counts for the bound alone."""
    lines = [
        ("begun", "order", "", 0, 2, 7),
        ("ended", "order", "completed", 3, 1, 9),
        ("ended", "order", "waiting", 3, 2, 5),
        ("ended", "order", "failed", -1, 1, 6),
    ]

    assert pace_from(lines, 100, 4) == Pace({("order", 0): 2}, {("order", Status.COMPLETED, 3): 1}, 100, 106)
    assert pace_from([], 100, 4) == Pace({}, {}, 100, 100)


@pytest.mark.parametrize(
    ("number", "due", "more", "open_ones"),
    [
        (500, 99, "", ""),
        (500, 100, "", "500 that are open, 100"),
        (9_000, 8_000, "more", "9,000+ that are open, 8,000+"),
    ],
)
def test_a_queue_grows_if_more_begin_than_end(number: int, due: int, more: str, open_ones: str) -> None:
    said = growing(rates(hour(300, 60, 30), number=number, due=due, more=bool(more)))
    words = f"order: 5 begin and 1.5 end in a minute; of {open_ones} wait for a worker"
    assert said == ([words] if open_ones else [])


def test_a_queue_that_is_worked_off_does_not_grow() -> None:
    assert growing(rates(hour(100, 90), number=5_000, due=5_000)) == []
    assert growing(rates(QUIET, number=5_000, due=5_000)) == []


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.0001, "<0.01"), (0.25, "0.25"), (9.5, "9.5"), (12.34, "12.3"), (100, "100"), (1234.5, "1,234")],
)
def test_a_rate_has_few_characters(number: float, text: str) -> None:
    assert rate(number) == text


@pytest.mark.parametrize(
    ("loads", "names", "said"),
    [
        ({"a": 95, "b": 5}, [("a", "w1"), ("b", "w2")], "w1 holds 95 of 100 instances of 2 live workers"),
        ({"a": 100}, [("a", "w1")], ""),
        ({"a": 19}, [("a", "w1"), ("b", "w2")], ""),
        ({"a": 80, "b": 20}, [("a", "w1"), ("b", "w2")], ""),
        ({}, [], ""),
    ],
)
def test_one_worker_that_holds_all(loads: dict[str, int], names: list[tuple[str, str]], said: str) -> None:
    assert one_holds_all(loads, names) == said
