"""A worker in a hurry: what it does by the clock it does so many times as often, and a short look at it sees it all.

    python -m romancy_conformance.behaviour.costs.hurried TIMES URL --ledger FILE …

is a worker process of the fault tests (`faults.program`) that is in a hurry. What a store does by itself to hear of
news keeps its pace.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

from romancy import _listening
from romancy.engine.worker import claims
from romancy_conformance.behaviour.faults import program

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

__all__ = ["DEFAULT_LEASE", "hurried"]

DEFAULT_LEASE = 30.0


@contextmanager
def hurried(times: float) -> Generator[float]:
    """Sweeps and looks in case of lost news come so many times as often; the lease with which heartbeats do as well."""
    with faster(claims, "_SWEEP_EVERY", times), faster(_listening, "_SAFETY_POLL", times):
        yield DEFAULT_LEASE / times


def faster(module: object, name: str, times: float) -> AbstractContextManager[object]:
    return mock.patch.object(module, name, getattr(module, name) / times)


if __name__ == "__main__":
    with hurried(float(sys.argv.pop(1))):
        program.main()
