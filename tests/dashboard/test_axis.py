"""The axis of a timeline: what is cut short, and where times and labels are."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from romancy.dashboard.instance._axis import Axis

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR

times = st.integers(0, 400 * DAY)


def test_work_alone_is_drawn_to_scale() -> None:
    axis = Axis(0, 10 * SECOND, [(0, 10 * SECOND)], 0)

    assert [0.0, 25.0, 100.0] == [axis.x(at * SECOND // 2) for at in (0, 5, 20)]
    assert [] == axis.breaks


def test_a_long_idle_time_is_cut_short_and_says_how_long_it_was() -> None:
    axis = Axis(0, 2 * DAY, [(0, SECOND), (2 * DAY - SECOND, 2 * DAY)], 0)

    (cut,) = axis.breaks
    assert ("1 d 23 h", 48.5, 3.0) == (cut.length, cut.x, cut.width)
    assert [48.5, 51.5] == [axis.x(SECOND), axis.x(2 * DAY - SECOND)]


def test_what_was_worked_through_is_never_cut() -> None:
    assert [] == Axis(0, 2 * DAY, [(0, 2 * DAY), (5, 6)], 0).breaks


def test_an_axis_without_work_is_not_cut() -> None:
    assert [] == Axis(0, 2 * DAY, [(0, 0), (2 * DAY, 2 * DAY)], 0).breaks


def test_work_outside_of_the_axis_takes_no_room() -> None:
    axis = Axis(10, 20, [(0, 5), (12, 15), (30, 40)], 10)

    assert [0.0, 100.0] == [axis.x(at) for at in (10, 20)]


def test_labels_are_times_since_the_origin() -> None:
    def labels(ends: int, origin: int = 0) -> list[str]:
        return [
            tick.label for tick in Axis(origin, origin + ends, [(origin, origin + ends)], origin).ticks if tick.label
        ]

    assert ["0", *(f"+{count}00 ms" for count in range(1, 10))] == labels(SECOND, 77)
    assert ["0", "+1 s", "+2 s", "+3 s", "+4 s", "+5 s"] == labels(6 * SECOND)
    assert ["0", "+10 min", "+20 min", "+30 min", "+40 min", "+50 min"] == labels(HOUR - 1)


@given(times, times, st.lists(st.tuples(times, times).map(lambda pair: (min(pair), max(pair))), max_size=40))
def test_any_axis_keeps_the_order_of_times(one: int, other: int, work: list[tuple[int, int]]) -> None:
    begins, ends = sorted((one, other))
    axis = Axis(begins, ends, work, begins)

    edges = sorted({begins, ends, *(at for pair in work for at in pair)})
    places = [axis.x(at) for at in edges]
    assert places == sorted(places)
    assert all(0 <= place <= 100.001 for place in places)
    assert (0.0, 100.0) == (axis.x(begins), round(axis.x(max(ends, begins + 1)), 1))
    assert all(later.x >= earlier.x + earlier.width - 0.01 for earlier, later in pairwise(axis.breaks))
    assert len(axis.ticks) <= 60
