"""One workflow of 10,000 steps: the time of a step in its first tenth and in its last one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.results import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.runs import Place

TITLE: Final = "A workflow of 10,000 steps"
CORE: Final = False
SIZES: Final = {"growth_steps": 10_000}
WHO: Final = ("romancy", "dbos", "edda", "absurd", "unhinged", "duroxide", "sayiir", "kairo", "restate")
PATIENCE: Final = 600.0


def measure(place: Place) -> Iterator[Figure]:
    """Run it, and compare its parts."""
    with place.driver() as driver:
        place.count(driver.do("warm_up"))
        answer = driver.do("growth", patience=PATIENCE, steps=place.sizes["growth_steps"])
        place.count(answer)
    first, last = answer["each"][0], answer["each"][-1]
    yield Figure("first tenth, a step", first * 1000, "ms")
    yield Figure("last tenth, a step", last * 1000, "ms")
    yield Figure("last to first", last / first, "×")
