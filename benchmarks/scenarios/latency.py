"""From the start of a workflow of one step to its result, one workflow after another: median and 99th percentile."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from benchmarks.results import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.runs import Place

TITLE: Final = "From start to result"
CORE: Final = True
SIZES: Final = {"latency_workflows": 50}
WHO: Final = ("romancy", "dbos", "edda", "absurd", "temporal", "unhinged", "duroxide", "sayiir", "kairo", "restate")


def measure(place: Place) -> Iterator[Figure]:
    """Measure each workflow."""
    with place.driver() as driver:
        place.count(driver.do("warm_up"))
        workflows = place.sizes["latency_workflows"] * max(1, place.contestant.scale // 2)
        answer = driver.do("latency", workflows=workflows)
        place.count(answer)
    took = sorted(answer["took"])
    yield Figure("median", statistics.median(took) * 1000, "ms")
    yield Figure("99th percentile", took[min(len(took) - 1, len(took) * 99 // 100)] * 1000, "ms")
