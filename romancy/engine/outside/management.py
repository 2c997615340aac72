"""Operations on instances from outside: retrying failed and resuming stuck ones, removing ended ones.

Each change is one append at the end of the log, so the fence decides against all other writers. An append needs the
token of a live worker: the app's own, or one that is registered for the call.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from romancy.engine.clock import boot_time
from romancy.engine.decide import owner_changed
from romancy.engine.outside.signal_ids import REMEMBERED
from romancy.engine.surroundings import here
from romancy.engine.worker.retrying import RETRIED, opening_of_retry, runs_so_far
from romancy.errors import InstanceNotFoundError, StorageUnavailableError, UsageError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.any_store import taken_ids_of
from romancy.storage.records import MANAGEMENT, Append, Change, Outcome, PruneRequest, Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = [
    "ActingWorker",
    "ActsAs",
    "ActsUnder",
    "acting",
    "end_of_log",
    "purge",
    "resume",
    "retry",
    "row_of",
    "written",
]

_LEASE: Final = 60_000_000
_PAUSES: Final = (0.02, 0.1)
"""Seconds before each further attempt to remove instances whose rows were held."""


class ActsAs(NamedTuple):
    """The worker under whose row a call writes, and the database's time."""

    token: str
    now: int


@asynccontextmanager
async def acting(store: Store, worker: ActsUnder) -> AsyncGenerator[ActsAs]:
    """The token to write under, and the database's time. Without a worker, this call registers a row of its own."""
    if isinstance(worker, ActingWorker):
        yield await worker.look(store)
        return
    if worker is not None:
        yield worker
        return
    acting = _manager()
    pulse = await store.heartbeat(acting)
    try:
        yield ActsAs(acting.token, pulse.now)
    finally:
        await store.leave(acting)


class ActingWorker:
    """The worker row under which an app without a worker writes.

    All calls of the app share the row, which expires like a crashed worker's.
    """

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._beat = self._now = 0

    async def look(self, store: Store) -> ActsAs:
        """The token to write under, and the database's time."""
        at = boot_time()
        if self._worker is None or at - self._beat > _LEASE // 3:
            worker = self._worker = self._worker or _manager()  # a concurrent call uses the same row
            pulse = await store.heartbeat(worker)
            if not pulse.alive:
                worker = _manager()
                pulse = await store.heartbeat(worker)
            self._worker, self._beat, self._now = worker, at, pulse.now
        return ActsAs(self._worker.token, self._now + at - self._beat)

    async def leave(self, store: Store) -> None:
        """Remove the row. Nothing is written under it afterwards."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await store.leave(worker)


ActsUnder: TypeAlias = ActsAs | ActingWorker | None
"""Under whose row a call writes. None: under one that is registered for the call."""


def _manager() -> Worker:
    return Worker(token=here().token(), worker_id=MANAGEMENT, lease=_LEASE)


async def row_of(store: Store, instance_id: str) -> InstanceRow:
    """The row of the instance. Raises InstanceNotFoundError."""
    found = await store.read(instance_id, limit=0)
    if found is None:
        raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
    return found.instance


class EndOfLog(NamedTuple):
    """The last commit of a log."""

    seq: int
    at: int
    writer: str | None
    """None: the commit is missing."""
    body: bytes = b""


async def end_of_log(store: Store, row: InstanceRow) -> EndOfLog:
    """The last commit. It is not decoded."""
    last, more = EndOfLog(row.last_seq - 1, row.updated_at, None), True
    while more:
        page = await store.read(row.instance_id, after=last.seq)
        if page is None:
            raise InstanceNotFoundError(f"instance {row.instance_id!r} was just removed")
        if page.rows:
            found = page.rows[-1]
            last = EndOfLog(found.seq, found.at, found.writer, found.body)
        more = page.more
    return last._replace(seq=max(last.seq, row.last_seq))


async def retry(
    store: Store,
    instance_id: str,
    unsure: Literal["done", "undone"] | None = None,
    *,
    manager: ActingWorker | None = None,
) -> None:
    """Begin a new run of a failed or cancelled instance, which remembers what still stands. It is due at once."""
    if unsure not in (None, "done", "undone"):
        raise UsageError(f"unsure={unsure!r}: say 'done' or 'undone', or leave it out")
    row = await row_of(store, instance_id)
    if row.status not in RETRIED:
        other = "; resume lets a stuck one be tried again" if row.status is Status.STUCK else ""
        raise UsageError(
            f"instance {instance_id!r} is {row.status}; only a failed or cancelled one can be retried{other}"
        )
    async with acting(store, manager) as (token, now):
        recall, last = await runs_so_far(store, row)
        item = await opening_of_retry(store, row, recall, last, now=now, unsure=unsure or "")
        outcome = await written(store, item, token)
    if outcome is not Outcome.ACCEPTED:
        raise UsageError(f"instance {instance_id!r} changed while it was to be retried ({outcome}); look at it again")


async def resume(store: Store, worker: ActsUnder, instance_id: str) -> None:
    """Let every worker try a stuck instance again, including those whose code was refused. It is due at once.

    One that a worker tries at this moment is left to that worker.
    """
    row = await row_of(store, instance_id)
    if row.status is not Status.STUCK:
        raise UsageError(_not_stuck(row))
    seq, at, after, _ = await end_of_log(store, row)
    change = Change(status=Status.RUNNING, seen=row.signals, release=True, wake_at=1, forgive=True, unowned=True)
    async with acting(store, worker) as (token, now):
        item = Append(
            instance_id=instance_id,
            life=row.life,
            seq=seq + 1,
            writer=f"{here().token()}.resume",
            body=owner_changed(max(now, at), "", ""),
            after=after,
            change=change,
        )
        outcome = await written(store, item, token)
    if outcome is Outcome.OWNED:
        if (found := await row_of(store, instance_id)).status is not Status.STUCK:
            raise UsageError(_not_stuck(found))
    elif outcome is not Outcome.ACCEPTED:
        raise UsageError(f"instance {instance_id!r} changed while it was to be resumed ({outcome}); look at it again")


def _not_stuck(row: InstanceRow) -> str:
    others = {Status.FAILED: "; retry lets a failed one go on", Status.PAUSED: "; unpause lets a paused one go on"}
    return f"instance {row.instance_id!r} is {row.status}; only a stuck one can be resumed{others.get(row.status, '')}"


async def written(store: Store, item: Append, worker: str) -> Outcome:
    """The outcome of the append. StorageUnavailableError if another transaction holds the instance."""
    (outcome,) = await store.commit([item], worker=worker)
    if outcome is Outcome.LOCKED:
        raise StorageUnavailableError(
            f"instance {item.instance_id!r} is held by another transaction; try again, "
            "or look for a long one on the server"
        )
    return outcome


async def purge(store: Store, instance_ids: Sequence[str], *, until: int | None = None, forget: bool = False) -> int:
    """Remove ended instances with all their data, except those changed after `until`. Returns how many.

    Without `until`, those are left that change after they are read here. So a purge that the database carries out late
    removes no later life of an id.
    With `forget`, old ids of signals are forgotten as well. If some are not removed, another transaction may hold their
    rows for a moment, such as the sweep after a termination: they are tried again.
    """
    if not instance_ids:
        return 0
    ids = tuple(instance_ids)
    if until is None:
        ended = await _ended_of(store, ids)
        ids, until = tuple(ended), max(ended.values(), default=0)
    before = (await store.services.reading.census()).now - REMEMBERED if forget else None
    gone = await store.services.upkeep.prune(
        PruneRequest(instance_ids=ids, named_until=until, limit=len(instance_ids), dedupe_before=before)
    )
    for pause in _PAUSES:
        held = await _still_there(store, ids, until) if gone < len(ids) else ()
        if not held:
            break
        await asyncio.sleep(pause)
        gone += await store.services.upkeep.prune(PruneRequest(instance_ids=held, named_until=until, limit=len(held)))
    return gone


async def _still_there(store: Store, ids: Sequence[str], until: int) -> tuple[str, ...]:
    """Those of the instances that could be removed, and are still there."""
    ended = await _ended_of(store, sorted(await taken_ids_of(store, ids)))
    return tuple(instance_id for instance_id, changed_at in ended.items() if changed_at <= until)


async def _ended_of(store: Store, ids: Sequence[str]) -> dict[str, int]:
    """Those of the instances that have ended, each with the time of its last change."""
    found = await asyncio.gather(*(store.read(one, limit=0) for one in ids))
    rows = [one.instance for one in found if one is not None]
    return {row.instance_id: row.updated_at for row in rows if row.status in TERMINAL_STATUSES}
