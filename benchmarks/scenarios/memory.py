"""Resident memory of a process: idle, with 10,000 live workflows in a step, and beside 1,000,000 that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.results import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.runs import Place

TITLE: Final = "Memory"
CORE: Final = False
SIZES: Final = {"memory_live": 10_000, "memory_waiting": 1_000_000}
WHO: Final = ("romancy",)
REST: Final = 15
PATIENCE: Final = 1800.0


def measure(place: Place) -> Iterator[Figure]:
    """Weigh a process with live workflows, and another one beside many that wait."""
    with place.database_url() as url, place.on(url, env={"ROMANCY_BENCH_HELD": "1"}) as driver:
        answer = driver.do("hold", patience=PATIENCE, workflows=place.sizes["memory_live"])
        yield Figure("idle", answer["before"], "MB")
        yield Figure("live", answer["resident"], "MB")
        driver.kill()
    with place.database_url() as url:
        with place.on(url, module="benchmarks.drivers.rows") as rows:
            rows.do("fill_waiting", patience=PATIENCE, size=place.sizes["memory_waiting"])
        with place.on(url) as driver:
            yield Figure("beside those that wait", driver.do("nothing", seconds=REST)["resident"], "MB")
