"""Workflows started a second while nothing runs them: by 50 callers, each with a call of its own, and in bulk.

Edda has no such call: its `start` returns when the workflow has ended. procrastinate defers jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.results import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.runs import Place

TITLE: Final = "Starts a second"
CORE: Final = False
SIZES: Final = {"starts_workflows": 1000, "starts_at_once": 50}
WHO: Final = ("romancy", "dbos", "absurd", "procrastinate", "unhinged")


def measure(place: Place) -> Iterator[Figure]:
    """Start them one by one, and in bulk if the library has such a call."""
    workflows = place.sizes["starts_workflows"] * place.contestant.scale
    with place.driver() as driver:
        place.count(driver.do("warm_up"))
        answer = driver.do("starts", workflows=workflows, at_once=place.sizes["starts_at_once"])
        place.count(answer)
        yield Figure("starts", answer["count"] / answer["seconds"])
        if "starts_in_bulk" in driver.said["tasks"]:
            answer = driver.do("starts_in_bulk", workflows=workflows)
            yield Figure("starts in bulk", answer["count"] / answer["seconds"])
