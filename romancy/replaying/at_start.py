"""Sample open instances after a worker's start and report those that its code does not fit.

The sample runs in the background. It covers only open instances that no worker holds and that other code ran last. The
log of each is replayed; nothing is written. There are at most six searches and fifty replays, and the sample leaves
four fifths of the time to the worker's own work. Where all open instances are of this code, no instance is replayed.
A replay that ends the process leaves no trace. So a worker samples only if the database has no row of another worker,
alive or dead, with the same code.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy._logs import get_logger
from romancy.checking import misfit_of
from romancy.engine import known_in
from romancy.engine.surroundings import here
from romancy.errors import InstanceNotFoundError, RomancyError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.query import Position, build_query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy.checking import Misfit
    from romancy.engine import Worker
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["tell_misfits"]

logger = get_logger("romancy")

_AFTER: Final = 15.0
"""Seconds between the worker's start and the sample. A worker that lives for a shorter time takes no sample."""
_DAY: Final = 86_400_000_000
_AGES: Final = (0, _DAY // 24, _DAY, 7 * _DAY, 30 * _DAY, 365 * _DAY)
"""Ages of the instances to sample, in microseconds. Searches list the newest first, so old sleeping instances need a
search of their own.
"""
_PAGE: Final = 25
_MOST: Final = 50
_LONGEST: Final = 1000
"""The most commits in a log that is replayed beside other work."""
_REST: Final = 4.0
"""The pause after a replay, as a multiple of the replay's duration."""
_ASLEEP: Final = tuple(status for status in Status if status not in {*TERMINAL_STATUSES, Status.STUCK})


async def tell_misfits(store: Store, worker: Worker) -> None:
    """Log how many sampled instances do not fit the worker's code, if any. Stops when the worker is drained."""
    if _is_known(worker):
        return
    await asyncio.sleep(_AFTER)
    looked_at = 0
    misfits: list[Misfit] = []
    try:
        async for row in _sample(store, worker):
            began = here().seconds()
            misfit = await _replayed(store, worker, row)
            looked_at += 1
            if misfit is not None:
                misfits.append(misfit)
            await asyncio.sleep((here().seconds() - began) * _REST)
    except RomancyError as error:
        logger.info("cannot check whether this code fits open instances: %s", error)
    except Exception:
        logger.exception("cannot check whether this code fits open instances")
    if misfits:
        _tell(misfits, looked_at)


def _is_known(worker: Worker) -> bool:
    """Whether another worker with the same code was registered before: it takes the sample, has taken it, or died."""
    mine = known_in(worker.leases.worker.codes)
    return any(mine == known_in(peer.codes) for peer in worker.leases.peers)


def _tell(misfits: list[Misfit], looked_at: int) -> None:
    first = misfits[0]
    logger.warning(
        "this code does not fit %d of %d open instances of other versions that were looked at: they will be stuck when "
        "they wake up. One of them is %s of workflow %s: %s. `romancy check MODULE:APP` names all of them",
        len(misfits),
        looked_at,
        first.instance_id,
        first.workflow_name,
        _in_short(first.report),
    )


def _in_short(report: str) -> str:
    """The parts of the report that say what the log holds and what the code does now; else its first line."""
    lines = [" ".join(line.split()) for line in report.splitlines()]
    telling = [line for line in lines if line.startswith(("the log says", "the code now does"))]
    return "; ".join(telling or lines[:1])


async def _sample(store: Store, worker: Worker) -> AsyncIterator[InstanceRow]:
    """Open instances of several ages, each once, that other code ran last."""
    now, workflows = worker.clock.now(), worker.registry.workflows
    query, given = build_query(status=_ASLEEP, limit=_PAGE), 0
    for age in _AGES:
        if age and (query.after is None or now - age < query.after.created_at):
            query = replace(query, after=Position(now - age, ""))
        page = await store.services.reading.find(query)
        for row in page.rows:
            if worker.draining or given == _MOST:
                return
            definition = workflows.get(row.workflow_name)
            short = row.last_seq - row.run_from < _LONGEST
            if definition is not None and definition.code != row.code and row.owner is None and short:
                given += 1
                yield row
        if page.next_token is None:
            return
        query = replace(query, after=Position(page.rows[-1].created_at, page.rows[-1].instance_id))


async def _replayed(store: Store, worker: Worker, row: InstanceRow) -> Misfit | None:
    try:
        return await misfit_of(store, worker.registry, row)
    except InstanceNotFoundError:
        return None
