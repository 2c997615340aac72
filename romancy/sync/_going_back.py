"""Going back from outside, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.sync._acting import SyncActing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.going_back import ForkChildren, ForkPlan


__all__ = ["SyncGoingBack"]


class SyncGoingBack(SyncActing):
    """Forks instances, wherever they run."""

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
