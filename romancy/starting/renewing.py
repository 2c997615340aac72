"""Restarting an ended instance under its id. One commit removes the old life and begins the new one.

An open instance that is to be replaced is terminated first, by a commit of its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy.engine import start_alone, terminate_with_children
from romancy.engine.surroundings import here
from romancy.errors import StorageUnavailableError, UsageError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.records import Former, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy._access import Access
    from romancy.storage.protocol import Store
    from romancy.storage.records import Append

__all__ = ["RENEWS", "renew", "replace", "started", "workflow_of"]

RENEWS: Final[Mapping[str, frozenset[Status]]] = {
    "restart_ended": frozenset(TERMINAL_STATUSES),
    "restart_failed": frozenset({Status.FAILED, Status.CANCELLED}),
}
"""The statuses of instances that a start replaces, by its `if_exists`."""

_TRIES: Final = 8
_REPLACEMENTS: Final = 20
"""How often a start ends the instance that another caller has just put in place of the one it had ended."""
_PAUSE: Final = 0.05


async def renew(store: Store, start: Append, statuses: frozenset[Status]) -> bool:
    """Replace an ended instance by a new one. False if the existing instance stays.

    An instance of another workflow always stays. Of several callers that found the same end, one replaces it, and the
    others find the instance that it started.
    """
    former: Former | None = None
    problem: StorageUnavailableError | None = None
    for tries in range(_TRIES):
        found = await store.read(start.instance_id, limit=0)
        row = None if found is None else found.instance
        if row is not None and row.life == start.life:
            return True  # this start is in: the answer to its commit was lost
        if row is not None:
            if former is not None and former.life != row.life:
                return False
            if row.status not in statuses or row.workflow_name != workflow_of(start):
                return False
            former = Former(row.life, statuses)
        try:
            if started(start, await start_alone(store, start, former=former if row is not None else None)):
                return True
        except StorageUnavailableError as error:
            problem = error
        await asyncio.sleep(_PAUSE * tries * here().uniform(0.5, 1.5))
    raise problem or StorageUnavailableError(f"instance {start.instance_id!r} could not be replaced; try again")


async def replace(store: Store, start: Append, access: Access) -> bool:
    """Replace the instance by a new one. If it is open, end it first, with its open children. False as for `renew`.

    Of several callers, each replaces what the others have begun.
    """
    for _ in range(_REPLACEMENTS):
        found = await store.read(start.instance_id, limit=0)
        row = None if found is None else found.instance
        if row is not None and row.life != start.life and row.workflow_name != workflow_of(start):
            return False
        if row is not None and row.life != start.life and row.status not in TERMINAL_STATUSES:
            worker = await access.writes_as(store)
            await terminate_with_children(store, worker, start.instance_id, "replaced by a new start")
        if await renew(store, start, RENEWS["restart_ended"]):
            return True
    raise StorageUnavailableError(f"instance {start.instance_id!r} is replaced by others again and again; try again")


def workflow_of(start: Append) -> str:
    """The name of the workflow that is started."""
    return "" if start.create is None else start.create.workflow_name


def started(start: Append, outcome: Outcome) -> bool:
    """Whether the start was written. False if its id is taken, or if the life that it should replace is gone."""
    if outcome is Outcome.INVALID:
        raise UsageError(f"the database cannot hold the start of instance {start.instance_id!r}")
    return outcome is Outcome.ACCEPTED
