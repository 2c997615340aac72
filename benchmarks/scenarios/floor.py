"""The machine and the databases without any library: calls, syncs, commits, batches and round trips a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.results import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.runs import Place

TITLE: Final = "The floor"
CORE: Final = True
SIZES: Final = {"floor_ms": 500}
WHO: Final = ("floor",)
UNITS: Final = {
    "python_calls": ("calls of a Python function", "/s"),
    "syncs": ("fdatasync of 4 kB", "/s"),
    "commits": ("commits of one row", "/s"),
    "default_journal": ("commits, default journal", "/s"),
    "commits_of_many": ("commits on 16 connections", "/s"),
    "rows": ("rows in batches of 64", "/s"),
    "round_trips": ("round trips", "/s"),
}


def measure(place: Place) -> Iterator[Figure]:
    """Repeat each kind of operation for the same time."""
    seconds = place.sizes["floor_ms"] / 1000
    with place.driver() as driver:
        for task, (what, unit) in UNITS.items():
            if task in driver.said["tasks"]:
                answer = driver.do(task, seconds=seconds)
                yield Figure(what, answer["count"] / answer["seconds"], unit)
