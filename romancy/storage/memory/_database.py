"""A small database: tables of frozen rows, transactions at READ COMMITTED, row locks.

It models *visibility*. A transaction's writes are unseen by others until it commits. Two writers of one row wait for
each other. After a wait for a row, the row is read again. A transaction names its statements (`Transaction.step`), so
that the interleavings that break real databases can be played here first. This module does not know instances or logs.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Database", "Key", "LockedError", "Transaction"]

Key = tuple[Any, ...]


class LockedError(Exception):
    """Another transaction holds a row for longer than this one waits. Leave the transaction and try again."""


class Database:
    """Committed rows, the locks on them, and the listeners for changes."""

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self.tables: defaultdict[str, dict[Key, Any]] = defaultdict(dict)
        self.locks: dict[tuple[str, Key], Transaction] = {}
        self.waiting: list[asyncio.Future[None]] = []
        self.listeners: list[Callable[[frozenset[str]], None]] = []
        self._clock = clock or (lambda: time.time_ns() // 1000)
        self._now = self._clock()

    def now(self) -> int:
        """The database's time in microseconds. It never goes back."""
        self._now = max(self._now, self._clock())
        return self._now

    def tell(self, instance_ids: frozenset[str]) -> None:
        """Wake every store that waits, after a commit."""
        for listener in list(self.listeners):
            listener(instance_ids)


class Transaction:
    """One transaction. `async with` rolls it back unless `commit` was reached."""

    def __init__(self, database: Database, patience: float | None = None) -> None:
        self._database = database
        self._patience = patience
        """Seconds to wait for a row that another transaction holds. None: until it is free."""
        self._writes: dict[tuple[str, Key], Any] = {}
        self._held: set[tuple[str, Key]] = set()
        self.touched: set[str] = set()
        """Instances to announce to others once this is committed."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writes.clear()
        self._release()

    async def step(self, statement: str) -> None:
        """The boundary before a statement of this name. Nothing happens here, as there is no server to send it to."""

    async def lock(self, table: str, key: Key) -> Any:
        """Wait until no other transaction holds the row, lock it, and read it as it is *now*."""
        entry = (table, key)
        if self._database.locks.get(entry, self) is not self:
            try:
                async with asyncio.timeout(self._patience):
                    await self._until_free(entry)
            except TimeoutError:
                raise LockedError from None
        self._take(entry)
        return self.get(table, key)

    async def _until_free(self, entry: tuple[str, Key]) -> None:
        while self._database.locks.get(entry, self) is not self:
            released = asyncio.get_running_loop().create_future()
            self._database.waiting.append(released)
            await released

    def try_lock(self, table: str, key: Key) -> bool:
        """Lock the row if no other transaction holds it (SKIP LOCKED)."""
        entry = (table, key)
        if self._database.locks.get(entry, self) is not self:
            return False
        self._take(entry)
        return True

    def get(self, table: str, key: Key) -> Any:
        """The row as this transaction sees it: its own write, else the committed row, or None."""
        entry = (table, key)
        return self._writes[entry] if entry in self._writes else self._database.tables[table].get(key)

    def scan(self, table: str) -> Iterator[tuple[Key, Any]]:
        """All rows that this transaction sees, in key order."""
        own = {key: row for (name, key), row in self._writes.items() if name == table}
        merged = self._database.tables[table] | own
        return iter(sorted((key, row) for key, row in merged.items() if row is not None))

    def put(self, table: str, key: Key, row: Any) -> None:
        """Write a row that this transaction has locked; None deletes it."""
        entry = (table, key)
        if entry not in self._held:
            raise AssertionError(f"row {entry} written without its lock")
        self._writes[entry] = row

    def mark(self) -> dict[tuple[str, Key], Any]:
        """A savepoint."""
        return dict(self._writes)

    def rewind(self, mark: dict[tuple[str, Key], Any]) -> None:
        """Undo everything after the savepoint."""
        self._writes = dict(mark)

    async def commit(self) -> None:
        """Make the writes visible at once and for everyone."""
        await self.step("commit")
        for (table, key), row in self._writes.items():
            if row is None:
                self._database.tables[table].pop(key, None)
            else:
                self._database.tables[table][key] = row
        self._writes.clear()
        self._release()
        if self.touched:
            self._database.tell(frozenset(self.touched))

    def _take(self, entry: tuple[str, Key]) -> None:
        self._database.locks[entry] = self
        self._held.add(entry)

    def _release(self) -> None:
        for entry in self._held:
            self._database.locks.pop(entry, None)
        self._held.clear()
        waiting, self._database.waiting = self._database.waiting, []
        for released in waiting:
            if not released.done():
                released.set_result(None)
