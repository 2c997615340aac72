"""One workflow whose steps follow each other: steps a second, and their share of the database's own commits.

Short rounds of the floor and of the library alternate, because the speed of a disk changes from second to second. The
share is the median of the rounds' shares. A step needs one durable commit, so no more than 100 % can be had.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from benchmarks.results import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.runs import Place

TITLE: Final = "Steps of one workflow, one after another"
CORE: Final = True
SIZES: Final = {"sequential_steps": 50, "sequential_turns": 8}
WHO: Final = ("romancy", "dbos", "edda", "absurd", "temporal")
FLOOR_SECONDS: Final = 0.1


def measure(place: Place) -> Iterator[Figure]:
    """Alternate the floor and the library."""
    steps = place.sizes["sequential_steps"] * place.contestant.scale
    rates: list[float] = []
    shares: list[float] = []
    costs: list[float] = []
    with place.driver() as driver, place.driver("floor") as floor:
        place.count(driver.do("warm_up"))
        for _ in range(place.sizes["sequential_turns"]):
            below = floor.do("commits", seconds=FLOOR_SECONDS)
            answer = driver.do("sequential", steps=steps)
            place.count(answer)
            rates.append(steps / answer["seconds"])
            shares.append(rates[-1] * below["seconds"] / below["count"])
            costs.append(answer["cpu"] / steps * 1e6)
    yield Figure("steps", statistics.median(rates))
    yield Figure("share of the floor", statistics.median(shares) * 100, "%")
    yield Figure("CPU a step", statistics.median(costs), "µs")
