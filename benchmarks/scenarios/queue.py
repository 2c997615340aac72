"""A queue of jobs of one step, which a worker process of the library runs: jobs a second, and the time of a lone job.

A burst is timed from its first call to the execution of its last job. A lone job meets an idle worker; its time is the
one until the process that enqueued it sees it run, and until it has its result.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, Final

from benchmarks.queues.queue_driver import INSIDE
from benchmarks.results import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.process import Process
    from benchmarks.runs import Place

__all__ = ["PATIENCE", "lone", "module_of", "rate"]

TITLE: Final = "A queue of jobs of one step"
CORE: Final = False
SIZES: Final = {"queue_jobs": 2000, "queue_lone": 100}
WHO: Final = ("romancy", "dbos", "procrastinate", "pgqueuer", "huey", "celery")
PATIENCE: Final = 300.0


def module_of(place: Place) -> str:
    """Return the driver of the library's queue."""
    return f"benchmarks.queues.{place.contestant.name}_queue"


def measure(place: Place) -> Iterator[Figure]:
    """Enqueue many at once, and one after another."""
    with place.database_url() as url, place.on(url, module=module_of(place)) as driver:
        has = driver.do("warm_up", patience=PATIENCE)
        place.count(has)
        jobs, alone = place.sizes["queue_jobs"], place.sizes["queue_lone"]
        yield rate(place, driver, jobs, "free", "jobs")
        if has["bulk"]:
            yield rate(place, driver, jobs, "free", "jobs, in bulk", bulk=True)
        yield from lone(place, driver, alone, "free", "lone job")
        if has["results"]:
            answer = driver.do("lone_results", patience=PATIENCE, jobs=alone)
            place.count(answer)
            yield from _median_and_99th(answer, "its result")
    if has["inside"]:
        with place.database_url() as url, place.on(url, module=module_of(place), env={INSIDE: "1"}) as driver:
            place.count(driver.do("warm_up", patience=PATIENCE))
            yield from lone(place, driver, alone, "free", "lone job in one process")


def rate(place: Place, driver: Process, jobs: int, kind: str, what: str, *, bulk: bool = False) -> Figure:
    """Measure the jobs a second of one burst."""
    answer = driver.do("burst", patience=PATIENCE, jobs=jobs, kind=kind, bulk=bulk)
    place.count(answer)
    return Figure(what, answer["count"] / answer["seconds"])


def lone(place: Place, driver: Process, jobs: int, kind: str, what: str) -> Iterator[Figure]:
    """Measure jobs that are alone."""
    answer = driver.do("lone", patience=PATIENCE, jobs=jobs, kind=kind)
    place.count(answer)
    yield from _median_and_99th(answer, what)


def _median_and_99th(answer: Mapping[str, Any], what: str) -> Iterator[Figure]:
    took = sorted(answer["took"])
    yield Figure(f"{what}, median", statistics.median(took) * 1000, "ms")
    yield Figure(f"{what}, 99th percentile", took[min(len(took) - 1, len(took) * 99 // 100)] * 1000, "ms")
