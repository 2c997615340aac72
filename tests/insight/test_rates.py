"""Rates by workflow, queues that grow, and a worker that holds nearly everything."""

from __future__ import annotations

import pytest

from romancy.insight import Rates, growing, one_holds_all
from romancy.status import Status
from romancy.storage.figures import OpenWorkflow, Pace

PACE = Pace({"order": 300, "quiet": 3}, {("order", Status.COMPLETED): 60, ("order", Status.FAILED): 30}, more=False)


def work(name: str, number: int, *, more: bool = False) -> OpenWorkflow:
    return OpenWorkflow(0, name, {Status.PENDING: number}, more)


def test_rates_are_a_minutes() -> None:
    rates = Rates(PACE, 15)
    assert (rates.begun("order"), rates.ended("order"), rates.failed("order")) == (20, 6, 2)
    assert (rates.begun("nothing"), rates.ended("nothing"), rates.failed("nothing")) == (0, 0, 0)


def test_what_is_not_open_has_a_line_too() -> None:
    lines = Rates(PACE, 15).with_quiet([work("order", 5)], 7)
    assert [(one.name, one.number, one.oldest) for one in lines] == [("order", 5, 0), ("quiet", 0, 7)]


@pytest.mark.parametrize(
    ("open_work", "sentences"),
    [
        ([work("order", 99)], []),
        ([work("order", 100)], ["order: 300 began, 90 ended, 100 are open"]),
        ([work("order", 10_000, more=True)], ["order: 300 began, 90 ended, 10,000+ are open"]),
        ([work("resting", 5_000)], []),
    ],
)
def test_a_queue_grows_if_more_begin_than_end(open_work: list[OpenWorkflow], sentences: list[str]) -> None:
    assert growing(PACE, open_work) == sentences


def test_a_queue_that_is_worked_off_does_not_grow() -> None:
    pace = Pace({"order": 100}, {("order", Status.COMPLETED): 95}, more=False)
    assert growing(pace, [work("order", 5_000)]) == []


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
