"""The pooler of this process, before the server that its run shares. Started on first use.

Its sessions have the settings of the planner that the guide advises, so that every statement is sent alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .pgbouncer import PgBouncer

if TYPE_CHECKING:
    from .access import Access

_running: dict[int, PgBouncer] = {}
"""By process: a forked one has its own."""


def of_this_process(access: Access) -> PgBouncer:
    """Return a pooler in transaction mode before the server of this access."""
    if os.getpid() not in _running:
        from romancy_postgres._connection import PLANNING  # noqa: PLC0415 - a run without PostgreSQL has no driver

        pooler = PgBouncer(access, for_sessions=PLANNING)
        pooler.start()
        _running[os.getpid()] = pooler
    return _running[os.getpid()]


def close() -> None:
    """End it."""
    pooler = _running.pop(os.getpid(), None)
    if pooler is not None:
        pooler.close()
