"""The same queue under a limit: 20 jobs at once over all workers, and one job at a time for each of 20 keys.

A cell is blank where the library has no such limit. A lone job always finds a place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.scenarios.queue import PATIENCE, lone, module_of, rate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Figure
    from benchmarks.runs import Place

TITLE: Final = "A queue under a limit"
CORE: Final = False
SIZES: Final = {"limited_jobs": 500, "limited_lone": 50}
WHO: Final = ("romancy", "dbos", "procrastinate", "pgqueuer")
KINDS: Final = {"narrow": "20 at once", "keyed": "one a key"}


def measure(place: Place) -> Iterator[Figure]:
    """Measure each limit that the library has."""
    with place.database_url() as url, place.on(url, module=module_of(place)) as driver:
        has = driver.do("warm_up", patience=PATIENCE)
        place.count(has)
        for kind, what in KINDS.items():
            if kind in has["kinds"]:
                yield rate(place, driver, place.sizes["limited_jobs"], kind, f"jobs, {what}")
                yield from lone(place, driver, place.sizes["limited_lone"], kind, f"lone job, {what}")
