"""The statements a second that an idle process sends to its database.

It counts transactions on PostgreSQL and statements on MySQL and MariaDB.
SQLite is part of the process and counts no statements, so it is left out. Reading the counters takes some statements of
its own, which are subtracted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.results import Figure
from benchmarks.weighing import weigh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.runs import Place

TITLE: Final = "An idle process"
CORE: Final = False
SIZES: Final = {"idle_seconds": 30}
WHO: Final = ("romancy", "dbos", "edda")
SETTLE: Final = 12
"""Seconds before the counters are read. An idle backend of PostgreSQL may delay its counts for ten."""


def measure(place: Place) -> Iterator[Figure]:
    """Count the statements of an idle process."""
    if place.database == "sqlite":
        return
    seconds = place.sizes["idle_seconds"]
    with place.database_url() as url, place.on(url) as driver:
        place.count(driver.do("warm_up"))
        driver.do("nothing", seconds=SETTLE)
        own = weigh(place.database, url, driver.pid).asked
        before = weigh(place.database, url, driver.pid).asked
        answer = driver.do("nothing", seconds=seconds)
        asked = weigh(place.database, url, driver.pid).asked - before - (before - own)
        yield Figure("asked", max(0, asked) / seconds)
        yield Figure("CPU", answer["cpu"] / seconds * 1000, "ms a second")
        yield Figure("resident", answer["resident"], "MB")
