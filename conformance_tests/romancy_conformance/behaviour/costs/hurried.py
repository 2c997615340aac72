"""A hurried worker: its periodic work comes so many times as often, so that a short observation sees all of it.

    python -m romancy_conformance.behaviour.costs.hurried TIMES URL --ledger FILE …

is a hurried worker process of the fault tests (`faults.program`). The store's own periodic queries keep their pace.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

from romancy.engine.worker import claims
from romancy.results import listening
from romancy_conformance.behaviour.faults import program

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

__all__ = ["DEFAULT_LEASE", "hurried"]

DEFAULT_LEASE = 30.0


@contextmanager
def hurried(times: float) -> Generator[float]:
    """Make sweeps and safety polls so many times as frequent; yield the lease that does this for heartbeats."""
    with faster(claims, "_SWEEP_EVERY", times), faster(listening, "_SAFETY_POLL", times):
        yield DEFAULT_LEASE / times


def faster(module: object, name: str, times: float) -> AbstractContextManager[object]:
    return mock.patch.object(module, name, getattr(module, name) / times)


if __name__ == "__main__":
    with hurried(float(sys.argv.pop(1))):
        program.main()
