"""Failures by their causes, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.sync._draining import SyncDraining

if TYPE_CHECKING:
    from romancy.failure import FailureGroups


__all__ = ["SyncFailedInstances"]


class SyncFailedInstances(SyncDraining):
    """Lists failures by their causes."""

    def failures(self, workflow_name: str | None = None, *, silenced: bool = False, limit: int = 50) -> FailureGroups:
        """What has failed, by workflow, activity, class and message, the group that was seen last first.

        Numbers, ids, addresses and quoted values in messages do not count. `workflow_name` is a whole name. Groups that
        are silenced come with `silenced=True`. The newest 10,000 failed instances are looked at. An instance that is
        retried or removed is in no group any more.
        """
        result: FailureGroups = self._call("failures", workflow_name, silenced=silenced, limit=limit)
        return result

    def silence_failures(self, group: str, reason: str = "") -> None:
        """Leave a group out of lists, also what fails later, until `unsilence_failures`. Its instances stay failed."""
        self._call("silence_failures", group, reason)

    def unsilence_failures(self, group: str) -> None:
        """List a group again. Nothing happens if it is not silenced."""
        self._call("unsilence_failures", group)
