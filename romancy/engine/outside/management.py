"""Operations on instances from outside: retrying failed and resuming stuck ones, terminating, removing ended ones.

Each change is one append at the end of the log, so the fence decides against all other writers. An append needs the
token of a live worker: the app's own, or one that is registered for the call.
"""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Literal

from msgspec.structs import replace

from romancy.core import ChildStarted, Parent, WorkflowStarted, wanted_by
from romancy.engine.clock import boot_time
from romancy.engine.decide import owner_changed, terminated
from romancy.engine.messages import ChildEnded, TerminateMessage, encode_message
from romancy.engine.outside.signal_ids import REMEMBERED
from romancy.engine.worker.replay import history
from romancy.engine.worker.retrying import opening_of_retry, runs_so_far
from romancy.errors import (
    CodecError,
    HistoryCorruptError,
    HistoryVersionError,
    InstanceNotFoundError,
    StorageUnavailableError,
    UsageError,
)
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.records import (
    LATEST,
    MANAGEMENT,
    Append,
    Change,
    Delivered,
    Delivery,
    Outcome,
    PruneRequest,
    Worker,
    as_end,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from romancy.engine.messages import Message
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["Standing", "purge", "resume", "retry", "terminate"]

_TRIES: Final = 10
_LEASE: Final = 60_000_000
_UNREADABLE: Final = (HistoryCorruptError, HistoryVersionError, CodecError)


@asynccontextmanager
async def _acting(store: Store, worker: str | Standing | None) -> AsyncGenerator[tuple[str, int]]:
    """The token to write under, and the database's time. Without a worker, this call registers a row of its own."""
    if isinstance(worker, Standing):
        yield await worker.look(store)
        return
    if worker is not None:
        yield worker, 0
        return
    acting = _manager()
    pulse = await store.heartbeat(acting)
    try:
        yield acting.token, pulse.now
    finally:
        await store.heartbeat(acting, leaving=True)


class Standing:
    """The worker row under which an app without a worker writes.

    All calls of the app share the row, which expires like a crashed worker's.
    """

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._beat = self._now = 0

    async def look(self, store: Store) -> tuple[str, int]:
        """The token to write under, and the database's time."""
        at = boot_time()
        if self._worker is None or at - self._beat > _LEASE // 3:
            worker = self._worker = self._worker or _manager()  # a concurrent call uses the same row
            pulse = await store.heartbeat(worker)
            if not pulse.alive:
                worker = _manager()
                pulse = await store.heartbeat(worker)
            self._worker, self._beat, self._now = worker, at, pulse.now
        return self._worker.token, self._now + at - self._beat

    async def leave(self, store: Store) -> None:
        """Remove the row. Nothing is written under it afterwards."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await store.heartbeat(worker, leaving=True)


def _manager() -> Worker:
    return Worker(token=secrets.token_hex(8), worker_id=MANAGEMENT, lease=_LEASE)


async def _row(store: Store, instance_id: str) -> InstanceRow:
    found = await store.read(instance_id, limit=0)
    if found is None:
        raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
    return found.instance


async def _end_of_log(store: Store, row: InstanceRow) -> tuple[int, int, str | None]:
    """The seq, time and writer of the last commit (None: it is missing). No commit is decoded."""
    seq, at, more, writer = row.last_seq - 1, row.updated_at, True, None
    while more:
        page = await store.read(row.instance_id, after=seq)
        if page is None:
            raise InstanceNotFoundError(f"instance {row.instance_id!r} was just removed")
        if page.rows:
            seq, at, writer = page.rows[-1].seq, page.rows[-1].at, page.rows[-1].writer
        more = page.more
    return max(seq, row.last_seq), at, writer


async def retry(
    store: Store,
    instance_id: str,
    unsure: Literal["done", "undone"] | None = None,
    *,
    manager: Standing | None = None,
) -> None:
    """Begin a new run of a failed instance, which remembers what still stands. It is due at once for any worker."""
    if unsure not in (None, "done", "undone"):
        raise UsageError(f"unsure={unsure!r}: say 'done' or 'undone', or leave it out")
    row = await _row(store, instance_id)
    if row.status is not Status.FAILED:
        other = "; resume lets a stuck one be tried again" if row.status is Status.STUCK else ""
        raise UsageError(f"instance {instance_id!r} is {row.status}; only a failed one can be retried{other}")
    async with _acting(store, manager) as (token, now):
        recall, last = await runs_so_far(store, row)
        item = await opening_of_retry(store, row, recall, last, now=now, unsure=unsure or "")
        outcome = await _written(store, item, token)
    if outcome is not Outcome.ACCEPTED:
        raise UsageError(f"instance {instance_id!r} changed while it was to be retried ({outcome}); look at it again")


async def resume(store: Store, worker: str | Standing | None, instance_id: str) -> None:
    """Let every worker try a stuck instance again, including those whose code was refused. It is due at once."""
    row = await _row(store, instance_id)
    if row.status is not Status.STUCK:
        other = "; retry lets a failed one go on" if row.status is Status.FAILED else ""
        raise UsageError(f"instance {instance_id!r} is {row.status}; only a stuck one can be resumed{other}")
    seq, at, after = await _end_of_log(store, row)
    item = Append(
        instance_id=instance_id,
        life=row.life,
        seq=seq + 1,
        writer=f"{secrets.token_hex(8)}.resume",
        body=owner_changed(at, "", ""),
        after=after,
        change=Change(status=Status.RUNNING, seen=row.signals, release=True, wake_at=1, forgive=True),
    )
    async with _acting(store, worker) as (token, _):
        outcome = await _written(store, item, token)
    if outcome is not Outcome.ACCEPTED:
        raise UsageError(f"instance {instance_id!r} changed while it was to be resumed ({outcome}); look at it again")


async def terminate(store: Store, worker: str | Standing | None, instance_id: str, reason: str) -> bool:
    """End an instance at once, without compensation. Returns False if it had ended already."""
    async with _acting(store, worker) as (token, now):
        for _ in range(_TRIES):
            row = await _row(store, instance_id)
            if row.status in TERMINAL_STATUSES:
                return False
            if row.owner is not None:
                return await _ask_owner(store, instance_id, reason)
            item = await _end(store, row, now, reason or "terminated")
            if await _written(store, item, token) is Outcome.ACCEPTED:
                return True
    raise StorageUnavailableError(f"instance {instance_id!r} is too busy to be terminated now; try again")


async def _written(store: Store, item: Append, worker: str) -> Outcome:
    (outcome,) = await store.commit([item], worker=worker)
    if outcome is Outcome.LOCKED:
        raise StorageUnavailableError(
            f"instance {item.instance_id!r} is held by another transaction; try again, "
            "or look for a long one on the server"
        )
    return outcome


async def _ask_owner(store: Store, instance_id: str, reason: str) -> bool:
    (answer,) = await store.deliver([_message(instance_id, TerminateMessage(reason=reason))])
    return answer is Delivered.ACCEPTED


async def _end(store: Store, row: InstanceRow, now: int, reason: str) -> Append:
    seq, at, after = await _end_of_log(store, row)
    deliveries: tuple[Delivery, ...] = ()
    if row.parent is not None and (waits := await _who_waits(store, row, row.parent)):
        end = ChildEnded(child_id=waits.child_id, reason=reason, life=waits.life, wanted_by=waits.run)
        deliveries = (_message(row.parent, end),)
    return Append(
        instance_id=row.instance_id,
        life=row.life,
        seq=seq + 1,
        writer=as_end(f"{secrets.token_hex(8)}.terminate"),
        body=terminated(now or at, reason),
        after=after,
        change=Change(status=Status.CANCELLED, seen=row.signals, error=reason),
        deliveries=deliveries,
    )


async def _who_waits(store: Store, row: InstanceRow, parent: str) -> Parent | None:
    """The parent to which the instance reports, from its own log or, if that cannot be read, from its parent's.

    `run` is the run of the parent on whose behalf the instance works now.
    None if nobody waits for the instance. Raises UsageError when neither log can be read and the parent is open, since
    the parent would wait forever.
    """
    if own := await _parent_by_its_log(store, row):
        return own
    try:
        async for _, commit in history(store, parent):
            for event in commit:
                if isinstance(event, ChildStarted) and event.instance_id == row.instance_id:
                    return Parent(parent, event.id)
    except InstanceNotFoundError:
        pass
    except _UNREADABLE as error:
        found = await store.read(parent, limit=0)
        if found is not None and found.instance.status not in TERMINAL_STATUSES:
            raise UsageError(
                f"instance {row.instance_id!r} cannot be terminated here: its parent {parent!r} waits for it, and what "
                f"the parent calls it can be read neither in its log nor in the parent's ({type(error).__name__}). "
                "Let an app do it that has the codecs of both (`--app MODULE:APP` in a shell), "
                "or terminate the parent first"
            ) from error
    return None


async def _parent_by_its_log(store: Store, row: InstanceRow) -> Parent | None:
    parent: Parent | None = None
    try:
        async for _, commit in history(store, row.instance_id, after=row.run_from - 1):
            for event in commit:
                if isinstance(event, WorkflowStarted) and event.parent is not None:
                    parent = replace(event.parent, run=wanted_by(event))
    except _UNREADABLE:
        return None if parent is None else replace(parent, run="")  # a later row may name another run
    return parent


def _message(instance_id: str, message: Message) -> Delivery:
    return Delivery(instance_id=instance_id, delivery_id=f"m-{secrets.token_hex(8)}", body=encode_message(message))


async def purge(store: Store, instance_ids: Sequence[str], *, until: int = LATEST, forget: bool = False) -> int:
    """Remove ended instances with all their data, except those changed after `until`. Returns how many.

    With `forget`, old ids of signals are forgotten as well.
    """
    if not instance_ids:
        return 0
    ids = tuple(instance_ids)
    before = (await store.census()).now - REMEMBERED if forget else None
    return await store.prune(PruneRequest(instance_ids=ids, named_until=until, limit=len(ids), dedupe_before=before))
