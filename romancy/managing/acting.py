"""Acts on one instance at a time, wherever it runs: cancels, retries, resumes, terminates and removes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from romancy._options import yes_or_no
from romancy.engine import descent_of, pause, purge, resume, retry, row_of, terminate, unpause
from romancy.engine.messages import CancelMessage, PauseMessage
from romancy.engine.surroundings import here
from romancy.instance import Instance, Purged, changed_at
from romancy.managing.bulk import if_still
from romancy.status import Status
from romancy.storage.any_store import taken_ids_of
from romancy.storage.limits import check_id, check_text
from romancy.storage.records import Delivered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from romancy._access import Access
    from romancy.messages.mailer import Mailer
    from romancy.results.watch import Watches

__all__ = ["Acting"]

_FORGET_EVERY: Final = 3600.0
_PURGED_AT_ONCE: Final = 500
_ROWS_AT_ONCE: Final = 5000
"""Roughly how many rows of logs one transaction removes, unless a single log is longer."""


class Acting:
    """Changes an instance, wherever it runs."""

    def __init__(self, access: Access, mailer: Mailer, watches: Watches) -> None:
        self._access = access
        self._mailer = mailer
        self._watches = watches
        self._forgets_at = 0.0

    async def cancel(self, instance_id: str, *, reason: str = "") -> bool:
        """Ask a workflow to stop and to undo its work. False if it had ended already. You may ask twice.

        A stuck workflow is not asked. Any worker that knows its name and its activities cancels its activities in
        flight and undoes the completed ones from the log, without its code. To let its own code end it, `resume` it
        with code that fits, and cancel it then.
        """
        check_id(instance_id)
        check_text(reason, "reason")
        store = self._access.to_write("cancel", instance_id)
        with self._access.deadlines.call("cancel", [instance_id]):
            row = await row_of(store, instance_id)
            stuck = row.status is Status.STUCK
            message = CancelMessage(reason=reason, stuck=stuck, life=row.life)
            asked = await self._mailer.mail(store, instance_id, message) is not Delivered.CLOSED
            if stuck and asked:
                await if_still(self.resume(instance_id))
        return asked

    async def retry(self, instance_id: str, *, unsure: Literal["done", "undone"] | None = None) -> None:
        """Begin a new run of a failed or cancelled instance, under its id, that remembers what stands.

        Calls that were completed and not undone are answered from memory when the body makes them with the same
        arguments. Failed calls are tried again under the same idempotency key. Undone calls are made again under a new
        one. Raises UsageError if the instance has not ended so, or if it is unknown what became of an activity: its
        compensation failed for good, it did not answer when it was asked to stop, or `terminate` cut it off. In the
        latter case say whether the work of these activities stands, with `unsure="done"` or `"undone"`.
        """
        store = self._access.to_write("retry", instance_id)
        with self._access.deadlines.call("retry", [instance_id]):
            await retry(store, instance_id, unsure, manager=self._access.manager)
        self._access.stir()

    async def resume(self, instance_id: str) -> None:
        """Let any worker that knows the workflow try a stuck instance again.

        Use it when the cause is gone and the code is the same: other code takes the instance up by itself. The instance
        is replayed first, so nothing that was completed runs again. If the code still does not fit, the instance is
        stuck again with the reason. Raises UsageError if the instance is not stuck.
        """
        store = self._access.to_write("resume", instance_id)
        with self._access.deadlines.call("resume", [instance_id]):
            await resume(store, self._access.actor, instance_id)
        self._access.stir()

    async def pause(self, instance_id: str, *, reason: str = "", freeze_time: bool = False) -> bool:
        """Stop an open instance where it is, until it is unpaused. False: it is paused as soon as its attempts end.

        Nothing new of it begins. Attempts at work end as they do, and are recorded. Signals, cancellations and timers
        that come are kept, and take effect in their order when the pause is over. Time limits go on meanwhile. With
        `freeze_time=True` they do not: its sleeps, the limits of its waits and its own are over later, by as much time
        as it was paused. `explain` and the instance's `error` tell the reason. Raises UsageError if it has ended, is
        stuck, or is paused already.
        """
        check_text(reason, "reason")
        yes_or_no(freeze_time, "freeze_time")
        store = self._access.to_write("pause", instance_id)
        with self._access.deadlines.call("pause", [instance_id]):
            access = self._access
            wanted = PauseMessage(reason=reason, freeze=freeze_time)
            paused = await pause(store, access.actor, instance_id, wanted, stamp=access.stamp)
        self._access.stir()
        return paused

    async def unpause(self, instance_id: str) -> None:
        """Let a paused instance go on, also one that was asked to pause and is not paused yet.

        What came meanwhile takes effect now, in its order. Raises UsageError if it is not paused.
        """
        store = self._access.to_write("unpause", instance_id)
        with self._access.deadlines.call("unpause", [instance_id]):
            access = self._access
            await unpause(store, access.actor, instance_id, stamp=access.stamp)
        self._access.stir()

    async def terminate(self, instance_id: str, *, reason: str = "") -> bool:
        """End an instance at once, whatever it does. Nothing is undone. False if it had ended already.

        It has ended when this returns. The worker that holds it is asked to end it, and has five seconds. A worker that
        does not answer can write nothing more for the instance. Its children go on.
        """
        check_text(reason, "reason")
        worker = self._access.actor
        store = self._access.to_write("terminate", instance_id)
        with self._access.deadlines.call("terminate", [instance_id]):
            ended = await terminate(store, worker, instance_id, reason)
        self._access.sweep()  # it may have taken a message that another waiter can use
        return ended

    async def purge(self, *instance_ids: str, children: bool = False) -> Purged:
        """Remove ended instances with all data under their ids, and return how many. Open ones are left alone.

        An instance whose row another transaction holds is left for the next call. With `children=True`, their ended
        children are removed too, and the children of those, as far as the logs name them; `open` of the result names
        the children that are open and were left. Without it, children stay. If the parent's id is used again, its new
        life replaces those that have ended.
        """
        if not children:
            return Purged(await self._purge(instance_ids))
        found = await descent_of(self._access.opened(), instance_ids)
        return Purged(await self._purge(tuple(found.ended), found.until), found.open)

    async def _purge_as_found(self, found: Instance, *, children: bool = False) -> Purged:
        """Remove an instance unless it has changed since it was found, for example by a retry."""
        if not children:
            return Purged(await self._purge((found.instance_id,), changed_at(found)))
        descent = await descent_of(self._access.opened(), (found.instance_id,))
        if descent.ended.get(found.instance_id) != changed_at(found):
            return Purged()
        return Purged(await self._purge(tuple(descent.ended), descent.until), descent.open)

    async def _purge_all_as_found(self, found: Sequence[Instance]) -> set[str]:
        """Remove those of the instances that have not changed since, and return the ids that are free then.

        One transaction removes some of them. All must have been found after the last change of each: `until` is the
        latest change among those that go together.
        """
        gone: set[str] = set()
        for some in _portions(found):
            ids = [one.instance_id for one in some]
            removed = await self._purge(ids, max(map(changed_at, some)))
            gone.update(ids)
            if removed < len(ids):
                gone -= await taken_ids_of(self._access.opened(), ids)
        return gone

    async def _purge(self, ids: Sequence[str], until: int | None = None) -> int:
        """Remove these instances. From time to time, remove old ids of signals as well."""
        forget = here().seconds() >= self._forgets_at
        store, gone = self._access.to_write("purge", *ids), 0
        for first in range(0, len(ids), _PURGED_AT_ONCE):
            portion = ids[first : first + _PURGED_AT_ONCE]
            with self._access.deadlines.call("purge", portion):
                gone += await purge(store, portion, until=until, forget=forget and not first)
        if forget:
            self._forgets_at = here().seconds() + _FORGET_EVERY
        self._watches.removed(ids)
        return gone


def _portions(found: Sequence[Instance]) -> Iterator[list[Instance]]:
    """Instances that one transaction may remove: so many, and with not many more rows than `_ROWS_AT_ONCE`."""
    some: list[Instance] = []
    rows = 0
    for one in found:
        if some and (len(some) == _PURGED_AT_ONCE or rows + one.log_length > _ROWS_AT_ONCE):
            yield some
            some, rows = [], 0
        some.append(one)
        rows += one.log_length
    if some:
        yield some
