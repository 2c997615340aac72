"""The pooler of this process, before the server that its run shares. Started on first use.

Its sessions have the settings of the planner that the guide advises, so that every statement is sent alone.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from .access import AccessError, access_by_url
from .kinds import Kind
from .pgbouncer import PgBouncer

if TYPE_CHECKING:
    from .access import Access

_OF_OURS: Final = {"ignore_startup_parameters": "default_transaction_read_only"}
"""What the suite's own connections say."""
_PATIENCE, _BETWEEN_LOOKS = 10.0, 0.1
_running: dict[int, PgBouncer] = {}
"""By process: a forked one has its own."""


def of_this_process(access: Access) -> PgBouncer:
    """Return a pooler in transaction mode before the server of this access."""
    if os.getpid() not in _running:
        from romancy_postgres._connection import PLANNING  # noqa: PLC0415 - a run without PostgreSQL has no driver

        pooler = PgBouncer(access, settings=_OF_OURS, for_sessions=PLANNING)
        pooler.start()
        _running[os.getpid()] = pooler
    return _running[os.getpid()]


def let_in(url: str) -> str:
    """The URL of a database behind the pooler, when it lets clients in.

    A test that gave the database back has ended its sessions. If one was being made, the pooler refuses clients for
    half a second.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            access_by_url(Kind.POSTGRES, url).fetch("select 1")
        except AccessError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_BETWEEN_LOOKS)
        else:
            return url


def close() -> None:
    """End it."""
    pooler = _running.pop(os.getpid(), None)
    if pooler is not None:
        pooler.close()
