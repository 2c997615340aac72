"""1,000 workflows in a step when their process is killed: the time from the start of the next process to their end.

Each has four of its five steps in the log. The next process starts at once; the time until it may take over is part of
the figure.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from benchmarks.results import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.runs import Place

TITLE: Final = "Recovery of 1,000 workflows after SIGKILL"
CORE: Final = False
SIZES: Final = {"recovery_workflows": 1000}
WHO: Final = ("romancy", "dbos")
PATIENCE: Final = 300.0


def measure(place: Place) -> Iterator[Figure]:
    """Kill one process and wait for the other."""
    workflows = place.sizes["recovery_workflows"]
    with place.database_url() as url:
        with place.on(url, env={"ROMANCY_BENCH_HELD": "1"}) as driver:
            place.count(driver.do("warm_up"))
            driver.do("hold", patience=PATIENCE, workflows=workflows)
            driver.kill()
        began = time.perf_counter()
        with place.on(url) as driver:
            place.count(driver.do("recover", patience=PATIENCE, workflows=workflows))
            yield Figure("until all had ended", time.perf_counter() - began, "s")
