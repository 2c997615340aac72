"""Instances of a store that its caller opens and closes: for commands and pages, which have no worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy._access import Access
from romancy.engine import ActingWorker
from romancy.managing.bulk import found_to_act_on
from romancy.managing.instances import Instances
from romancy.messages.mailer import Mailer
from romancy.messages.senders import Senders
from romancy.results.watch import Watches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from romancy._lists import Lists
    from romancy.instance import Instance, Purged
    from romancy.query import InstanceFilter
    from romancy.registry import Registry
    from romancy.storage.protocol import Store

__all__ = ["Operator"]


class Operator(Instances, Senders):
    """Instances of an open store, for callers without an app and a worker."""

    def __init__(self, store: Store, lists: Lists | None = None, registry: Registry | None = None) -> None:
        access = Access(manager=ActingWorker())  # a command may act on many instances
        access.open(store, None, lists)
        access.registry = registry
        mailer = Mailer(access)
        Instances.__init__(self, access, mailer, Watches(access))
        Senders.__init__(self, access, mailer)
        self.store = store
        self.registry = registry
        self.lists = access.lists()

    async def leave(self) -> None:
        """Remove the worker row under which the calls wrote."""
        await self._access.give_up_row(self.store)
        await self._access.close_lists()

    def to_act_on(self, chosen: InstanceFilter) -> AsyncIterator[Instance]:
        """All instances that match, newest first. The name of their workflow is exactly the one that is given."""
        return found_to_act_on(self.store, chosen)

    async def purge_as_found(self, found: Instance, *, children: bool = False) -> Purged:
        """Remove an instance unless it has changed since it was found."""
        return await self._purge_as_found(found, children=children)

    async def purge_all_as_found(self, found: Sequence[Instance]) -> set[str]:
        """Remove instances in few transactions, unless they have changed since, and return the ids that are free then.

        All of them must have been found after the last change of each.
        """
        return await self._purge_all_as_found(found)
