"""Workflows of five steps, with 1, 50 and 500 in flight at every moment: steps a second.

A caller starts a workflow, waits for its result and starts the next one, as a web handler does; there are as many
callers as workflows in flight. Absurd's worker runs as many at once instead, while a client spawns them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.results import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.runs import Place

TITLE: Final = "Workflows of five steps at once"
CORE: Final = True
SIZES: Final = {"together_1": 40, "together_50": 250, "together_500": 500}
WHO: Final = ("romancy", "dbos", "edda", "absurd", "temporal", "unhinged", "duroxide", "sayiir", "kairo", "restate")


def measure(place: Place) -> Iterator[Figure]:
    """Run all three, from few to many."""
    with place.driver() as driver:
        place.count(driver.do("warm_up"))
        for at_once in (1, 50, 500):
            workflows = max(at_once, place.sizes[f"together_{at_once}"] * place.contestant.scale)
            answer = driver.do("together", workflows=workflows, at_once=at_once)
            place.count(answer)
            yield Figure(f"{at_once} at once", answer["count"] / answer["seconds"], "steps/s")
            if at_once > 50:
                yield Figure(f"CPU a step, {at_once} at once", answer["cpu"] / max(1, answer["count"]) * 1e6, "µs")
        if "in_batches" in driver.said["tasks"]:
            workflows = max(500, place.sizes["together_500"] * place.contestant.scale)
            answer = driver.do("in_batches", workflows=workflows, at_once=500)
            place.count(answer)
            yield Figure("500 at once, started in bulk", answer["count"] / answer["seconds"], "steps/s")
            yield Figure("CPU a step, started in bulk", answer["cpu"] / answer["count"] * 1e6, "µs")
