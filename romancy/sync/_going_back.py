"""Going back from outside, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.sync._acting import SyncActing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.going_back import ForkChildren, ForkPlan, RewindUndo


__all__ = ["SyncGoingBack"]


class SyncGoingBack(SyncActing):
    """Forks and rewinds instances, wherever they run."""

    def fork(
        self,
        instance_id: str,
        *,
        before: str | None = None,
        at: int | None = None,
        input: Mapping[str, Any] | None = None,
        id: str | None = None,
        children: ForkChildren = "keep",
    ) -> str:
        """Begin another instance with a copy of this one's log up to a point, from which it goes on. Returns its id.

        The point is `before` a step, by its id (`charge:2`), or behind the commit `at` of the log. The instance itself
        stays as it is, and may be open or have ended. The fork has the outcomes of all that ended before the point.
        What was open there it does again, with new keys: see `plan_fork`. It has its own random values and ids from the
        point on. `input` has new arguments by their names; where they change what the copied part shows, the fork is
        stuck. Children that were open at the point are started anew with `children="again"`; with `"keep"` their ends
        count, and those that have not ended are an error. The same call with an `id` is the same fork.
        """
        result: str = self._call("fork", instance_id, before=before, at=at, input=input, id=id, children=children)
        return result

    def plan_fork(
        self, instance_id: str, *, before: str | None = None, at: int | None = None, children: ForkChildren = "keep"
    ) -> ForkPlan:
        """What `fork` would keep of the instance, do again and leave out. Nothing is written."""
        result: ForkPlan = self._call("plan_fork", instance_id, before=before, at=at, children=children)
        return result

    def rewind(
        self,
        instance_id: str,
        *,
        before: str | None = None,
        at: int | None = None,
        undo: RewindUndo = "refuse",
        children: ForkChildren = "keep",
    ) -> None:
        """Take an instance back to a point of its log, from which it goes on under its id. It may have ended.

        The point is `before` a step, by its id (`charge:2`), or behind the commit `at` of the log. The instance has the
        outcomes of all that ended before the point. What was open there it does again, under the same keys; what it
        does behind the point has new keys. Work behind the point that was completed and not undone is refused by name,
        unless `undo="keep"` says that it may stand, or `undo="compensate"` that it is undone first, as if the run had
        failed: see `plan_rewind`. Until then the instance is `compensating` and runs no code; if an undo fails for
        good, it is paused behind the others. `children`: as of `fork`. A worker that holds
        the instance first lets what is at work end, for up to ten seconds. A paused instance stays paused. Raises
        UsageError, with nothing written, for what cannot be rewound.
        """
        self._call("rewind", instance_id, before=before, at=at, undo=undo, children=children)

    def plan_rewind(
        self,
        instance_id: str,
        *,
        before: str | None = None,
        at: int | None = None,
        undo: RewindUndo = "refuse",
        children: ForkChildren = "keep",
    ) -> ForkPlan:
        """What `rewind` would keep of the instance, do again and cut off, and what stands. Nothing is written."""
        result: ForkPlan = self._call("plan_rewind", instance_id, before=before, at=at, undo=undo, children=children)
        return result
