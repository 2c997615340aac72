"""Retries instances that failed or were cancelled: opens a new run behind the last one, and retries its children.

A retry remembers what still stands of the runs before it. `romancy.core` reads that from their commits, which stay in
the log. This module decides whether a retry is allowed, and makes its first event.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final, Literal

from romancy._logs import about, get_logger
from romancy.core import (
    ChildFailed,
    Recall,
    StartChild,
    WorkflowCancelled,
    WorkflowFailed,
    encode_commit,
    outcome_of,
)
from romancy.engine.child_starts import start_of_child
from romancy.engine.family import end_to_tell, parent_of
from romancy.engine.messages import (
    CancelMessage,
    ChildEnded,
    TerminateMessage,
    decode_message,
    encode_message,
)
from romancy.engine.replay import rows
from romancy.engine.slot import GONE, TAKEN
from romancy.engine.surroundings import here
from romancy.engine.topics import registered_at_once
from romancy.engine.worker.orphans import is_child_of, make_way
from romancy.errors import InstanceNotFoundError, StorageError, StorageUnavailableError, UsageError
from romancy.serialization import describe_exception
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.any_store import lying_in
from romancy.storage.records import Append, Change, Delivery, Outcome
from romancy.storage.services import Service

if TYPE_CHECKING:
    from romancy.engine.instance import Live
    from romancy.engine.reports import Drives
    from romancy.engine.worker.lease_keeper import LeaseKeeper
    from romancy.engine.worker.next_claim import NextClaim
    from romancy.engine.worker.tasks import Tasks
    from romancy.storage.protocol import Store
    from romancy.storage.records import Delivered, History, InstanceRow, LogRow

    Unsure = Literal["", "done", "undone"]

__all__ = ["RETRIED", "Revivals", "groups_of", "opening_of_retry", "requests_to_stop", "runs_so_far"]

logger = get_logger("romancy.engine")

RETRIED: Final = (Status.FAILED, Status.CANCELLED)
"""The statuses of the instances that can be retried."""
_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


async def opening_of_retry(
    store: Store, row: InstanceRow, recall: Recall, last: LogRow, *, now: int, unsure: Unsure, by: str = ""
) -> Append:
    """The append behind this row that begins a new run of the instance. A child is retried `by` its parent's run.

    Raises UsageError when the instance has not failed and was not cancelled, or when the log does not show what a retry
    should do.
    """
    if not isinstance(recall.ended, (WorkflowFailed, WorkflowCancelled)):
        raise UsageError(
            f"instance {row.instance_id!r} has not failed and was not cancelled; only such a one can be retried"
        )
    doubts = [item.id for item in recall.unsure()] if not unsure else []
    gone: list[str] = []
    running: dict[str, str] = {}
    for child in recall.children():
        found = await _child(store, row, child.key)
        if found is None:
            gone.append(child.key)
        elif found.instance.status not in TERMINAL_STATUSES:
            recalled, _ = await runs_so_far(store, found.instance)
            running[child.key] = recalled.wanted_by
        elif not unsure:
            doubts += await _doubts_of_child(store, found)
    if doubts:
        raise UsageError(
            f"instance {row.instance_id!r} cannot be retried before you have looked: it is unknown whether the work of "
            f"{', '.join(doubts)} stands. Its compensation failed for good or was cut off, or it was told to stop and "
            "did not answer, or it was at work when the instance was terminated. Say unsure='done' if its work stands, "
            "or unsure='undone' if it does not"
        )
    retried = recall.retried(at=max(now, row.updated_at), unsure=unsure, gone=tuple(gone), by=by, running=running)
    return Append(
        instance_id=row.instance_id,
        life=row.life,
        seq=last.seq + 1,
        writer=f"{here().token()}.retry",
        body=encode_commit([retried]),
        after=last.writer,
        change=Change(status=Status.RUNNING, seen=row.signals, release=True, wake_at=1, reopens=True, forgive=True),
        consumed=await requests_to_stop(store, row.instance_id),
        interests=registered_at_once(retried.subscriptions),
        uninterested=await groups_of(store, row),
    )


async def groups_of(store: Store, row: InstanceRow) -> tuple[str, ...]:
    """The groups of failures that the instance is in."""
    if row.status is not Status.FAILED or Service.LOOKUPS not in store.services.offered:
        return ()
    return tuple(group for _, group in await store.services.lookups.groups_of([row.instance_id]))


async def requests_to_stop(store: Store, instance_id: str) -> tuple[str, ...]:
    """The requests to cancel or terminate an ended instance that lie in its inbox. They were for the runs so far.

    What an ended instance has in its inbox, it had before its end. A parent's request names the run that it is for.
    """
    found: list[str] = []
    async for lying in lying_in(store, instance_id, most=sys.maxsize):
        try:
            message = decode_message(lying.row.body)
        except StorageError:
            continue  # the worker that takes it in reports the error
        if isinstance(message, TerminateMessage) or (isinstance(message, CancelMessage) and message.parent is None):
            found.append(lying.row.delivery_id)
    return tuple(found)


async def runs_so_far(store: Store, row: InstanceRow) -> tuple[Recall, LogRow]:
    """The runs so far, and the last row of the log. Raises the errors of reading a log."""
    recall, last = Recall(row.instance_id), None
    async for one, commit in rows(store, row.instance_id, after=row.run_from - 1, life=row.life):
        for event in commit:
            recall.follow(event)
        last = one
    if last is None:
        raise InstanceNotFoundError(f"instance {row.instance_id!r} was just removed")
    return recall, last


async def _child(store: Store, parent: InstanceRow, child: str) -> History | None:
    """The child, with the first row of its log; None if it is gone or another's."""
    found = await store.read(child, limit=1)
    return found if found is not None and is_child_of(found, parent.instance_id, parent.life) else None


async def _doubts_of_child(store: Store, child: History) -> list[str]:
    """The items of a child, and of its children, for which the log does not show whether they stand."""
    if child.instance.status not in RETRIED:
        return []
    try:
        recall, _ = await runs_so_far(store, child.instance)
    except InstanceNotFoundError:
        return []  # it was purged just now; its retry starts it anew
    doubts = [f"{item.id} of instance {child.instance.instance_id!r}" for item in recall.unsure()]
    for grandchild in recall.children():
        found = await _child(store, child.instance, grandchild.key)
        doubts += [] if found is None else await _doubts_of_child(store, found)
    return doubts


class Revivals:
    """Retries the failed children of retried runs, each when its parent asks for it.

    Repeating a retry changes nothing.
    """

    def __init__(
        self,
        store: Store,
        keeper: LeaseKeeper,
        tasks: Tasks,
        next_claim: NextClaim,
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._tasks = tasks
        self._next_claim = next_claim

    def begin(self, driver: Drives, live: Live, child: StartChild) -> None:
        """Retry the child, or tell its parent why that is impossible. Until then, the parent stays loaded."""
        self._tasks.spawn(self._bring_back(driver, live, child, live.revives(child.child_id)))

    def look_again(self, driver: Drives, live: Live) -> None:
        """Look once more at children that ended on behalf of another run than this one: a person had retried them."""
        for effect in live.run.outstanding():
            if isinstance(effect, StartChild) and effect.again and effect.child_id in live.to_revive:
                self.begin(driver, live, effect)

    async def _bring_back(self, driver: Drives, live: Live, child: StartChild, mark: object) -> None:
        try:
            await self._until_done(driver, live, child)
        finally:
            live.has_revived(mark)
        if not live.reviving:
            await self._let_rest(driver, live)
        self._next_claim.look()

    async def _let_rest(self, driver: Drives, live: Live) -> None:
        """Release the parent if it has nothing else to do, once its last append is settled.

        Otherwise parents that only wait would take the room that their children need (`max_live`).
        """
        while live.slot is TAKEN:
            if live.moves is None or live.moves.is_set():
                live.watch_moves()
            assert live.moves is not None  # noqa: S101 - it has just been made
            await live.moves.wait()
        if live.slot is not GONE and driver.live.get(live.instance_id) is live:
            driver.release(live)

    async def _until_done(self, driver: Drives, live: Live, child: StartChild) -> None:
        pause = _PAUSE
        while live.slot is not GONE:
            try:
                if await self._try(driver, live, child):
                    return
            except InstanceNotFoundError:
                pass  # it was purged just now
            except StorageUnavailableError as error:
                logger.warning(
                    "instance %s: its child %s cannot be retried yet, next try in %.1f s: %s",
                    live.instance_id, child.instance_id, pause, error, extra=about(live),
                )  # fmt: skip
            except (StorageError, UsageError) as error:
                _refuse(driver, live, child, error)
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _try(self, driver: Drives, live: Live, child: StartChild) -> bool:
        """Try once. Returns False if the child has changed meanwhile and must be read again."""
        found = await self._store.read(child.instance_id, limit=1)
        if found is None:
            (outcome,) = await self._store.commit(
                [start_of_child(driver.registry, driver.incarnation, live, child)], worker=self._keeper.leases.token
            )
            return outcome is Outcome.ACCEPTED or outcome is Outcome.DEAD
        row = found.instance
        if not is_child_of(found, live.instance_id, live.life):
            await self._make_way(child)
            return False
        if row.status in (*RETRIED, Status.COMPLETED):
            recall, last = await runs_so_far(self._store, row)
            if child.child_id not in live.run.state.children:
                return True
            end = None if recall.ended is None else outcome_of(recall.ended)
            if end is None:
                return False  # another process has just retried it
            if row.status is Status.COMPLETED or recall.wanted_by in (child.by, child.wanted_by):
                # Its own message may have come before the parent asked for it, and was then of no use.
                name = f"end-{child.by}-{child.child_id}"
                await self._deliver(live.instance_id, name, end_to_tell(end, child.child_id, live.life, child.by))
                return True
            now = driver.clock.now()
            item = await opening_of_retry(self._store, row, recall, last, now=now, unsure=child.unsure, by=child.by)
            (outcome,) = await self._store.commit([item], worker=self._keeper.leases.token)
            if outcome is Outcome.DEAD:
                return True  # the worker that takes the parent over retries the child
            if outcome is not Outcome.ACCEPTED:
                return False
        still = live.run.state.children.get(child.child_id)
        if live.slot is not GONE and still is not None and still.cancel_requested:
            return await self._give_up(live, child)
        return True

    async def _make_way(self, child: StartChild) -> None:
        """Free the id of a child that was removed. Raises UsageError if it is another's."""
        if await make_way(self._store, child.instance_id, child.workflow) is not None:
            raise UsageError(
                f"the child {child.child_id} cannot be retried: it was removed, and its id {child.instance_id!r} is "
                "another's"
            )

    async def _give_up(self, live: Live, child: StartChild) -> bool:
        """Ask the child to stop, in its present run. Returns False if that run has ended meanwhile.

        A later run of the parent may have retried the child during the reads: that one is not asked.
        """
        found = await self._store.read(child.instance_id, limit=0)
        if found is None:
            return False
        recall, _ = await runs_so_far(self._store, found.instance)
        if recall.ended is not None:
            return False
        if recall.wanted_by not in ("", child.by, child.wanted_by) and not await self._is_present(live, child):
            return True
        reason, wanted_by = f"its parent {live.instance_id} gave it up", recall.wanted_by
        parent = parent_of(live.instance_id, live.life, child)
        message = CancelMessage(reason=reason, parent=parent, wanted_by=wanted_by)
        await self._deliver(child.instance_id, f"cancel-{wanted_by or child.by}-{child.child_id}", message)
        return True

    async def _is_present(self, live: Live, child: StartChild) -> bool:
        """Whether the run of the parent that wants the child is its present one."""
        found = await self._store.read(live.instance_id, limit=0)
        if found is None or found.instance.life != live.life:
            return False
        recall, _ = await runs_so_far(self._store, found.instance)
        return recall.started is not None and recall.started.nonce == child.by

    async def _deliver(self, instance_id: str, delivery_id: str, message: ChildEnded | CancelMessage) -> Delivered:
        delivery = Delivery(instance_id=instance_id, delivery_id=delivery_id, body=encode_message(message))
        (answer,) = await self._store.deliver([delivery])
        return answer


def _refuse(driver: Drives, live: Live, child: StartChild, error: Exception) -> None:
    if live.slot is not GONE:
        now = max(driver.clock.now(), live.run.last_time)
        driver.feed(live, ChildFailed(at=now, id=child.child_id, error=describe_exception(error)))
