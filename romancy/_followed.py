"""An app as its handles see it: it acts on instances, and waits for their ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.managing.instances import Instances
from romancy.messages.senders import Senders

if TYPE_CHECKING:
    from collections.abc import Collection

    from romancy.core import RunEnd
    from romancy.registry import Registry
    from romancy.results.waiting import EndWaits
    from romancy.results.watch import Watch

__all__ = ["Followed"]


class Followed(Instances, Senders):
    """What a handle needs of an app. The app opens and closes what this waits with."""

    _registry: Registry
    _waiting: EndWaits
    """Waits for ends. It is made anew when the app is opened."""

    @property
    def error_names(self) -> Collection[str]:
        """The names of the exception classes that the code of this app's workflows and activities can reach."""
        return self._registry.errors

    def watch(self, instance_id: str) -> Watch:
        """The `Watch` that all handles of an instance share."""
        return self._watches.of(instance_id)

    async def outcome(self, instance_id: str, watch: Watch, recorded: int, timeout: float | None) -> RunEnd:
        """The outcome of the instance, once it has ended. Raises WorkflowStuckError if no worker continues it.

        `recorded`: how many ends the watch had recorded when the caller's handle was made.
        """
        if watch.knows_end(recorded):
            return watch.use()
        if timeout is None:
            return await self._waiting.end_of(instance_id, watch)
        return await self._waiting.end_within(instance_id, watch, timeout)

    async def end_of(self, instance_id: str, watch: Watch, recorded: int) -> RunEnd:
        """As `outcome`, however long it takes, and whoever waits: in a test, a body of the app is not the test."""
        return watch.use() if watch.knows_end(recorded) else await self._waiting.end_of(instance_id, watch)
