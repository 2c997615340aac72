"""A network between worker and database whose round trip takes 0.5, 2 and 5 ms: steps a second, alone and at once.

The wire is a process of its own on this machine, so it takes some CPU too; `none` has no wire.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from benchmarks.results import Figure
from benchmarks.wire import slow_wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.runs import Place

TITLE: Final = "A network between worker and database"
CORE: Final = False
SIZES: Final = {"network_steps": 50, "network_workflows": 500, "network_at_once": 500}
WHO: Final = ("romancy", "dbos", "edda", "absurd")
ROUND_TRIPS: Final = (0.0, 0.5, 2.0, 5.0)


def measure(place: Place) -> Iterator[Figure]:
    """Measure behind each wire."""
    if place.database == "sqlite":
        return
    steps = place.sizes["network_steps"] * place.contestant.scale
    workflows = place.sizes["network_workflows"] * place.contestant.scale
    at_once = place.sizes["network_at_once"]
    for milliseconds in ROUND_TRIPS:
        with place.database_url() as near:
            far = slow_wire(near, milliseconds) if milliseconds else nullcontext(near)
            with far as url, place.on(url) as driver:
                place.count(driver.do("warm_up"))
                one = driver.do("sequential", steps=steps)
                many = driver.do("together", workflows=workflows, at_once=at_once)
        place.count(one)
        place.count(many)
        name = f"{milliseconds} ms" if milliseconds else "none"
        yield Figure(f"{name}: one after another", one["count"] / one["seconds"], "steps/s")
        yield Figure(f"{name}: {at_once} at once", many["count"] / many["seconds"], "steps/s")
