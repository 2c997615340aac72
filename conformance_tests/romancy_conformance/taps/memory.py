"""The tap of the store in memory. Its calls are atomic: a call is held before it begins, and never inside.

A call that reads or writes is named `read` or `commit`, and a session's commit is named `commit`.
"""

# pyright: reportPrivateUsage=false
# A tap reaches into the adapter, which knows nothing of it.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from romancy_conformance.taps.tap import Tap
from romancy_sqlite._memory_turn import MemoryTurn

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Worker
    from romancy_conformance.taps.tap import Gate
    from romancy_sqlite import MemoryStore
    from romancy_sqlite._connection import Tx
    from romancy_sqlite._memory_database import MemoryDatabase

__all__ = ["MemoryTap"]

T = TypeVar("T")


class MemoryTap(Tap):
    """Hears each call before it reaches the database."""

    atomic = True

    def sender(self, store: Store) -> object:
        return store

    def listen(self, store: Store, gate: Gate, way: str) -> None:
        self.leave(store)
        ours = cast("MemoryStore", store)
        database, sessions = ours.database, ours._sessions
        heard: Any = _HeardDatabase(database, gate)
        ours.database = heard
        turn: Any = lambda: _HeardTurn(database, sessions._limit, sessions._beat, gate)  # noqa: E731
        setattr(sessions, "_turn", turn)  # noqa: B010 - a method for the type checkers
        super().listen(store, gate, way)

    def leave(self, store: Store) -> None:
        ours: Any = store
        if isinstance(ours.database, _HeardDatabase):
            ours.database = ours.database.usual
            del ours._sessions._turn
        super().leave(store)


class _HeardDatabase:
    """The database of a store that is listened to. No call takes a way on which it cannot wait for the gate."""

    quick = False

    def __init__(self, usual: MemoryDatabase, gate: Gate) -> None:
        self.usual = usual
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self.usual, name)

    @property
    def writer(self) -> _HeardDatabase:
        return self

    def run_inline(self, work: Callable[[Tx], T], sql: dict[str, str], weight: int) -> None:
        return None

    async def read(self, sql: dict[str, str], work: Callable[[Tx], T]) -> T:
        await self._gate("read")
        return await self.usual.read(sql, work)

    async def write(self, sql: dict[str, str], work: Callable[[Tx], T]) -> T:
        await self._gate("commit")
        return await self.usual.write(sql, work)


class _HeardTurn(MemoryTurn):
    """A session whose commit is heard."""

    def __init__(self, database: MemoryDatabase, limit: float, beat: tuple[str, Worker] | None, gate: Gate) -> None:
        super().__init__(database, limit, beat)
        self._gate = gate

    async def ask(self, action: Callable[[], T], *, commits: bool = False) -> T:
        if commits:
            await self._gate("commit")
        return await super().ask(action, commits=commits)
