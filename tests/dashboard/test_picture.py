"""The geometry of a timeline: the length of each step is told where there is room for it."""

from __future__ import annotations

import msgspec
import pytest

from romancy import core as ev
from romancy.dashboard.instance._picture import picture
from romancy.dashboard.instance._rows import row_of
from romancy.insight import Timeline

RAW = msgspec.Raw(b"1")
SECOND = 1_000_000


def drawn(*spans: tuple[int, int], window: tuple[int, int] | None = None) -> list[tuple[str, float]]:
    """Where the text of each activity stands; an activity is the second of its beginning and of its end."""
    timeline = Timeline()
    timeline.take(ev.WorkflowStarted(0, "w", RAW, "n"), at=0)
    events: list[tuple[int, ev.LogEvent]] = []
    for number, (begins, ends) in enumerate(spans):
        events += [
            (begins, ev.ActivityScheduled(f"a:{number}", "a", RAW)), (ends, ev.ActivityCompleted(ends, f"a:{number}"))
        ]  # fmt: skip
    for second, event in sorted(events, key=lambda each: each[0]):
        timeline.take(event, at=second * SECOND)
    rows = [row_of(step, 0, 10 * SECOND) for step in timeline.steps]
    made = picture(rows, 0, *((None, None) if window is None else (window[0] * SECOND, window[1] * SECOND)))
    assert made is not None
    return [(lane.text_at, lane.text_x) for lane in made.lanes]


def test_the_length_of_a_bar_that_fills_the_plot_stands_in_it() -> None:
    assert [("inside", 100.0)] == drawn((0, 10))
    assert [("inside", 100.0)] * 99 == drawn(*[(0, 10)] * 99)


def test_the_length_stands_beside_a_bar_where_there_is_room() -> None:
    assert [("right", 40.0), ("left", 50.0)] == drawn((0, 4), (5, 10))
    assert [("inside", 100.0), ("inside", 100.0)] == drawn((0, 10), (1, 10))


@pytest.mark.parametrize("window", [(2, 3), (0, 5), (4, 10)])
def test_a_part_of_a_bar_that_fills_the_plot_has_its_length_in_it(window: tuple[int, int]) -> None:
    assert [("inside", 100.0)] == drawn((0, 10), window=window)
