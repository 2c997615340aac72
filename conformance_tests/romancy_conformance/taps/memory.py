"""The tap of the in-memory store: between two steps of a transaction."""

# pyright: reportPrivateUsage=false
# A tap reaches into the adapter, which knows nothing of it.

from __future__ import annotations

from typing import TYPE_CHECKING, cast
from unittest import mock

from romancy.storage.memory import Database, MemoryStore
from romancy.storage.memory._database import Transaction
from romancy_conformance.taps.tap import Tap

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

__all__ = ["MemoryTap"]


class _View(Database):
    """A database as one store sees it: everything in it is shared."""

    def __init__(self, database: Database) -> None:
        self.__dict__ = database.__dict__


class MemoryTap(Tap):
    """Hears each step, which transactions name themselves."""

    def __init__(self) -> None:
        super().__init__()
        step = Transaction.step

        async def heard(transaction: Transaction, statement: str) -> None:
            await self.heard(transaction._database, statement)
            await step(transaction, statement)

        mock.patch.object(Transaction, "step", heard).start()

    def sender(self, store: Store) -> object:
        ours = cast("MemoryStore", store)
        if not isinstance(ours.database, _View):
            ours.database = _View(ours.database)
        return ours.database
