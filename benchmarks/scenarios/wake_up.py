"""The delay of a waiting workflow: after a signal from its own process, and after a timer of 50 ms.

The time ends in the first activity after the wait, so it contains the commits of the signal, the wake-up and the
activity's start.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from benchmarks.results import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.runs import Place

TITLE: Final = "From a signal or a timer to the next activity"
CORE: Final = False
SIZES: Final = {"wake_up_times": 100}
WHO: Final = ("romancy", "dbos")
PATIENCE: Final = 300.0


def measure(place: Place) -> Iterator[Figure]:
    """Wake one workflow again and again."""
    with place.driver() as driver:
        place.count(driver.do("warm_up"))
        for by in ("signals", "timers"):
            answer = driver.do("wake_ups", patience=PATIENCE, times=place.sizes["wake_up_times"], by=by)
            place.count(answer)
            took = sorted(answer["took"])
            yield Figure(f"{by}, median", statistics.median(took) * 1000, "ms")
            yield Figure(f"{by}, 99th percentile", took[min(len(took) - 1, len(took) * 99 // 100)] * 1000, "ms")
