"""The disk space of a step: bytes stored, and bytes written to the log of the database.

The result of a step is a number of at most one digit, so nearly all bytes are the library's and the database's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.results import Figure
from benchmarks.weighing import weigh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.runs import Place

TITLE: Final = "Bytes a step"
CORE: Final = False
SIZES: Final = {"written_steps": 500}
WHO: Final = ("romancy", "dbos", "edda", "absurd")


def measure(place: Place) -> Iterator[Figure]:
    """Run one workflow of many steps, then many at once."""
    steps = place.sizes["written_steps"] * place.contestant.scale
    with place.database_url() as url, place.on(url) as driver:
        place.count(driver.do("warm_up"))
        for what, task, sizes in (
            ("one after another", "sequential", {"steps": steps}),
            ("50 at once", "together", {"workflows": steps // 5, "at_once": 50}),
        ):
            before = weigh(place.database, url, driver.pid)
            place.count(driver.do(task, **sizes))
            added = weigh(place.database, url, driver.pid).since(before)
            yield Figure(f"stored, {what}", added.stored / steps, "B")
            yield Figure(f"written, {what}", added.written / steps, "B")
            if added.stored > 0:
                yield Figure(f"written to stored, {what}", added.written / added.stored, "×")
