"""The family: workflows of every shape with their scenarios, run by the core's tests and by every engine."""

from __future__ import annotations

from romancy_conformance.workflows import concurrent, outside, straight
from romancy_conformance.workflows._scenario import Scenario

__all__ = ["FAMILY", "Scenario"]


def _named(scenarios: list[Scenario]) -> dict[str, Scenario]:
    """Name the scenario after its workflow, with a number where the workflow is played in several ways."""
    named: dict[str, Scenario] = {}
    for scenario in scenarios:
        ways = sum(other.name == scenario.name for other in named.values())
        named[scenario.name if not ways else f"{scenario.name}-{ways + 1}"] = scenario
    return named


FAMILY = _named([*straight.SCENARIOS, *concurrent.SCENARIOS, *outside.SCENARIOS])
