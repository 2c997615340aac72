"""The scenarios. Each file says what it measures, and has its sizes and the measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from benchmarks.scenarios import (
    fan_out,
    find,
    floor,
    growth,
    idle,
    latency,
    memory,
    network,
    queue,
    queue_limits,
    recovery,
    sequential,
    starts,
    together,
    wake_up,
    workers,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.runs import Scenario

__all__ = ["SCENARIOS"]

_MODULES = (
    floor, sequential, together, latency, starts, fan_out, wake_up, growth, recovery, workers, find, idle, memory,
    written, network, queue, queue_limits,
)  # fmt: skip
SCENARIOS: Final[Mapping[str, Scenario]] = {
    module.__name__.rpartition(".")[2]: cast("Scenario", module) for module in _MODULES
}
"""In the order in which they are measured and shown."""
