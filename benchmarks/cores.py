"""Who runs where: beside its database, or each on cores of its own.

A scheduler likes to put two processes that wake each other in turn on one core, where each finds its caches emptied by
the other. What goes one at a time is slower then by a tenth or more, ours more than the floor's because there is more
of it; and whether it happens is another matter in each run.
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
    """What is started inside has all cores but the first; afterwards this thread has the first."""
    first, *others = sorted(_GIVEN)
    if not others:
        raise SystemExit("--apart: there is one core, and the database needs another one")
    os.sched_setaffinity(0, others)
    yield
    os.sched_setaffinity(0, {first})
