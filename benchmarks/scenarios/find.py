"""A find among 10,000, 100,000 and 1,000,000 instances, by a path with and without an index: median of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.results import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.runs import Place

TITLE: Final = "Find among many instances"
CORE: Final = False
SIZES: Final = {"find_few": 10_000, "find_more": 100_000, "find_many": 1_000_000}
WHO: Final = ("romancy",)
PATIENCE: Final = 1800.0


def measure(place: Place) -> Iterator[Figure]:
    """Fill the same database in steps, and search it after each."""
    with place.database_url() as url, place.on(url, module="benchmarks.drivers.rows") as rows:
        for size in ("find_few", "find_more", "find_many"):
            rows.do("fill", patience=PATIENCE, size=place.sizes[size])
            for indexed in (True, False):
                answer = rows.do("find", patience=PATIENCE, indexed=indexed)
                what = "indexed" if indexed else "not indexed"
                yield Figure(f"{place.sizes[size]:,}, {what}", answer["each"] * 1000, "ms")
