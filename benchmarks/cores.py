"""Places processes on cores: together with their database, or apart from it.

A scheduler often puts two processes that wake each other in turn on one core, where each finds the caches filled by
the other. Sequential operations are then slower by a tenth or more. Romancy loses more than the floor, because it does
more. Whether this happens differs from run to run.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["apart"]


_GIVEN: Final = os.sched_getaffinity(0)
"""The cores of this process before it was narrowed to one of them."""


@contextmanager
def apart() -> Generator[None]:
    """Start processes in this context on all cores except the first; afterwards this thread has the first."""
    first, *others = sorted(_GIVEN)
    if not others:
        raise SystemExit("--apart: there is one core, and the database needs another one")
    os.sched_setaffinity(0, others)
    yield
    os.sched_setaffinity(0, {first})
