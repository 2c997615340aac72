"""Acting on one instance from outside, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.sync._calling import Caller

if TYPE_CHECKING:
    from typing import Literal

    from romancy.instance import Purged


__all__ = ["SyncActing"]


class SyncActing(Caller):
    """Changes an instance, wherever it runs."""

    def cancel(self, instance_id: str, *, reason: str = "") -> bool:
        """Ask a workflow to stop and to undo its work. False if it had ended already. You may ask twice.

        A stuck workflow is not asked. Any worker that knows its name and its activities cancels its activities in
        flight and undoes the completed ones from the log, without its code. To let its own code end it, `resume` it
        with code that fits, and cancel it then.
        """
        result: bool = self._call("cancel", instance_id, reason=reason)
        return result

    def retry(self, instance_id: str, *, unsure: Literal["done", "undone"] | None = None) -> None:
        """Begin a new run of a failed or cancelled instance, under its id, that remembers what stands.

        Calls that were completed and not undone are answered from memory when the body makes them with the same
        arguments. Failed calls are tried again under the same idempotency key. Undone calls are made again under a new
        one. Raises UsageError if the instance has not ended so, or if it is unknown what became of an activity: its
        compensation failed for good, it did not answer when it was asked to stop, or `terminate` cut it off. In the
        latter case say whether the work of these activities stands, with `unsure="done"` or `"undone"`.
        """
        self._call("retry", instance_id, unsure=unsure)

    def resume(self, instance_id: str) -> None:
        """Let any worker that knows the workflow try a stuck instance again.

        Use it when the cause is gone and the code is the same: other code takes the instance up by itself. The instance
        is replayed first, so nothing that was completed runs again. If the code still does not fit, the instance is
        stuck again with the reason. Raises UsageError if the instance is not stuck.
        """
        self._call("resume", instance_id)

    def pause(self, instance_id: str, *, reason: str = "", freeze_time: bool = False) -> bool:
        """Stop an open instance where it is, until it is unpaused. False: it is paused as soon as its attempts end.

        Nothing new of it begins. Attempts at work end as they do, and are recorded. Signals, cancellations and timers
        that come are kept, and take effect in their order when the pause is over. Time limits go on meanwhile. With
        `freeze_time=True` they do not: its sleeps, the limits of its waits and its own are over later, by as much time
        as it was paused. `explain` and the instance's `error` tell the reason. Raises UsageError if it has ended, is
        stuck, or is paused already.
        """
        result: bool = self._call("pause", instance_id, reason=reason, freeze_time=freeze_time)
        return result

    def unpause(self, instance_id: str) -> None:
        """Let a paused instance go on, also one that was asked to pause and is not paused yet.

        What came meanwhile takes effect now, in its order. Raises UsageError if it is not paused.
        """
        self._call("unpause", instance_id)

    def terminate(self, instance_id: str, *, reason: str = "") -> bool:
        """End an instance at once, whatever it does. Nothing is undone. False if it had ended already.

        It has ended when this returns. The worker that holds it is asked to end it, and has five seconds. A worker that
        does not answer can write nothing more for the instance. Its children go on.
        """
        result: bool = self._call("terminate", instance_id, reason=reason)
        return result

    def purge(self, *instance_ids: str, children: bool = False) -> Purged:
        """Remove ended instances with all data under their ids, and return how many. Open ones are left alone.

        An instance whose row another transaction holds is left for the next call. With `children=True`, their ended
        children are removed too, and the children of those, as far as the logs name them; `open` of the result names
        the children that are open and were left. Without it, children stay. If the parent's id is used again, its new
        life replaces those that have ended.
        """
        result: Purged = self._call("purge", *instance_ids, children=children)
        return result
