"""One workflow whose steps follow each other: steps a second, and their share of the database's own commits.

Short rounds of the floor and of the library alternate, because the speed of a disk changes from second to second. The
share is the median of the rounds' shares. A step needs one durable commit, so no library can exceed 100 %.

On SQLite the time that the disk takes to flush 4 kB stands beside them.

If a library has steps whose results may wait for the next commit, rounds of ten times as many such steps alternate too.
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
WHO: Final = ("romancy", "dbos", "edda", "absurd", "temporal", "unhinged", "duroxide", "sayiir", "kairo", "restate")
FLOOR_SECONDS: Final = 0.1
MORE_LAZY: Final = 10


def measure(place: Place) -> Iterator[Figure]:
    """Alternate the floor and the library."""
    steps = place.sizes["sequential_steps"] * place.contestant.scale
    rates: list[float] = []
    shares: list[float] = []
    costs: list[float] = []
    lazy: list[float] = []
    flushes: list[float] = []
    with place.driver() as driver, place.driver("floor") as floor:
        place.count(driver.do("warm_up"))
        for _ in range(place.sizes["sequential_turns"]):
            below = floor.do("commits", seconds=FLOOR_SECONDS)
            if "syncs" in floor.said["tasks"]:
                flushed = floor.do("syncs", seconds=FLOOR_SECONDS)
                flushes.append(flushed["seconds"] / flushed["count"] * 1e6)
            answer = driver.do("sequential", steps=steps)
            place.count(answer)
            rates.append(steps / answer["seconds"])
            shares.append(rates[-1] * below["seconds"] / below["count"])
            costs.append(answer["cpu"] / steps * 1e6)
            if "lazily" in driver.said["tasks"]:
                answer = driver.do("lazily", steps=steps * MORE_LAZY)
                place.count(answer)
                lazy.append(steps * MORE_LAZY / answer["seconds"])
    yield Figure("steps", statistics.median(rates))
    yield Figure("share of the floor", statistics.median(shares) * 100, "%")
    yield Figure("CPU a step", statistics.median(costs), "µs")
    if flushes:
        yield Figure("a flush", statistics.median(flushes), "µs")
    if lazy:
        yield Figure("lazy steps", statistics.median(lazy))
        ratio = statistics.median([quick / plain for quick, plain in zip(lazy, rates, strict=True)])
        yield Figure("lazy to plain", ratio, "×")
