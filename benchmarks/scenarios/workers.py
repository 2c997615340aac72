"""1, 2, 4 and 8 worker processes share workflows of five steps on the cores of this machine: steps a second.

The database shares the cores too, so there is no gain beyond their number.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from benchmarks.results import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.runs import Place

TITLE: Final = "Several workers"
CORE: Final = False
SIZES: Final = {"workers_workflows": 16_000}
WHO: Final = ("romancy",)
WARM_UP: Final = 600
COUNTS: Final = (1, 2, 4, 8)


def measure(place: Place) -> Iterator[Figure]:
    """Let each number of workers do the same work."""
    with place.database_url() as url, place.on(url, env={"ROMANCY_BENCH_CLIENT": "1"}) as client:
        for count in COUNTS:
            with ExitStack() as workers:
                for _ in range(count):
                    workers.enter_context(place.on(url))
                client.do("all_done", workflows=WARM_UP)
                answer = client.do("all_done", workflows=place.sizes["workers_workflows"])
            yield Figure(f"{count}", answer["count"] / answer["seconds"], "steps/s")
