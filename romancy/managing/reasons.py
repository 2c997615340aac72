"""Explains why an instance does not move, from its store, for `app.explain` and for the errors of waits."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from romancy.errors import InstanceNotFoundError, RomancyError, StorageUnavailableError, WorkflowStuckError
from romancy.insight import Known, StillRuns, explain
from romancy.managing.lines import lines_of, places_of
from romancy.managing.others import others_of
from romancy.managing.waits import timeline_of, untaken_by
from romancy.replaying.whereabouts import replayed_to, whereabouts_of
from romancy.status import TERMINAL_STATUSES, Status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy._access import Access
    from romancy.engine import Worker
    from romancy.registry import Registry
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["in_time", "reasons_of", "stuck_error"]

PATIENCE: Final = 2.0
"""Limit in seconds on reading the reason after a wait timed out. The database may be the reason."""


async def reasons_of(
    store: Store, instance_id: str, worker: Worker | None = None, registry: Registry | None = None
) -> list[str]:
    """Why the instance does not move, in sentences. Reads its current run. Raises InstanceNotFoundError.

    `worker` is that of this process, which knows what still runs here, and `registry` the code of this process.
    """
    timeline = await timeline_of(store, instance_id, after=(await _row(store, instance_id)).run_from - 1)
    row = await _row(store, instance_id)
    census, untaken = await store.services.reading.census(), await untaken_by(store, row.instance_id, row.status)
    waits = any(one.kind == "place" for one in timeline.open)
    lines = await lines_of(store, await places_of(store, row)) if waits else {}
    known = Known() if worker is None else _known_here(worker, row)
    if known.whereabouts is None and registry is not None and row.status is Status.WAITING:
        known = known._replace(whereabouts=await replayed_to(store, registry, row))
    others = await others_of(store, row, timeline)
    return explain(row, timeline, census, untaken, known, lines=lines, others=others)


def _known_here(worker: Worker, row: InstanceRow) -> Known:
    """What the worker knows about the instance."""
    still_runs = [
        StillRuns(one.id, one.effect.attempt, round(one.asks_to_stop().late * 1_000_000))
        for one in worker.driver.attempts.given_up
        if one.live.instance_id == row.instance_id and one.live.life == row.life
    ]
    live = worker.driver.live.get(row.instance_id)
    held = live is not None and live.life == row.life
    return Known(worker.leases.token, still_runs, whereabouts_of(live.run) if live is not None and held else None)


async def stuck_error(store: Store, row: InstanceRow) -> WorkflowStuckError:
    """The error for a wait for this instance, which was read as stuck."""
    reason = row.error or "no reason was recorded"
    try:
        timeline = await timeline_of(store, row.instance_id, after=row.run_from - 1)
        told = explain(
            row, timeline, await store.services.reading.census(), await untaken_by(store, row.instance_id, row.status)
        )
    except StorageUnavailableError:
        raise
    except RomancyError:  # its log cannot be read, which may be why it is stuck
        told = [
            f"It is stuck: {reason}",
            f"After the cause is fixed, `romancy resume {row.instance_id}` makes a worker try it again.",
        ]
    return WorkflowStuckError(
        f"instance {row.instance_id} of workflow {row.workflow_name} does not continue. {' '.join(told)}",
        instance_id=row.instance_id,
        reason=reason,
    )


async def _row(store: Store, instance_id: str) -> InstanceRow:
    found = await store.read(instance_id, limit=0)
    if found is None:
        raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
    return found.instance


@asynccontextmanager
async def in_time(access: Access, instance_id: str, timeout: float | None) -> AsyncGenerator[None]:
    """Limit a wait for the end of an instance. The TimeoutError says what the instance waits for."""
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            yield
    except TimeoutError:
        if timeout is None or not limit.expired():
            raise
        raise TimeoutError(await _in_vain(access, instance_id, timeout)) from None


async def _in_vain(access: Access, instance_id: str, timeout: float) -> str:
    """The text of the TimeoutError. A failure here is never raised, because it would hide the timeout."""
    said = [f"instance {instance_id} has not ended within {timeout:g} s"]
    try:
        async with asyncio.timeout(PATIENCE):
            store = access.opened()
            row = await _row(store, instance_id)
            said = [f"instance {instance_id} of workflow {row.workflow_name} has not ended within {timeout:g} s"]
            if row.status in TERMINAL_STATUSES:
                return f"{said[0]}, but has just now ({row.status}): ask again"
            said.append(f"Its status is {row.status}")
            return ". ".join([*said, " ".join(await reasons_of(store, instance_id, registry=access.registry))])
    except Exception as error:  # noqa: BLE001 - it must not hide the timeout
        return f"{'. '.join(said)}. What it waits for could not be read ({type(error).__name__})"
