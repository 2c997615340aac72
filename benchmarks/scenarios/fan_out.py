"""One workflow that runs 1,000 activities at once, and one that runs 1,000 children: calls a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.results import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.runs import Place

TITLE: Final = "One workflow that fans out to 1,000"
CORE: Final = False
SIZES: Final = {"fan_out_width": 1000}
WHO: Final = ("romancy", "dbos")


def measure(place: Place) -> Iterator[Figure]:
    """Run one of each kind, after a small one."""
    with place.driver() as driver:
        place.count(driver.do("warm_up"))
        for of in ("activities", "children"):
            driver.do("fan_out", width=10, of=of)
            answer = driver.do("fan_out", width=place.sizes["fan_out_width"], of=of)
            place.count(answer)
            yield Figure(of, answer["count"] / answer["seconds"])
