"""Shared parts of the contention tests: retries after a long lock wait, items that lock crosswise, deadlock counters.

A store reports a lock that another transaction holds for too long, and the test repeats the call: this is a slow disk,
not a deadlock. The store must resolve deadlocks by itself; the server counts how many there were.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import pytest

from romancy.errors import StorageUnavailableError
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import append, change, delivery

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor

__all__ = ["crosswise", "deadlocks", "has_row_locks", "in_the_end", "in_the_way", "needs_row_locks", "settled"]

T = TypeVar("T")

_WAITED_TOO_LONG = (
    "held a lock for too long; try again [55P03]",
    "is locked by another transaction",
    "waited too long for a lock that another transaction holds",
)
_SHORTEST_WAIT = 0.5
"""Seconds. A store waits at least a second for a lock, so an earlier LOCKED has another cause."""
_DEADLOCKS = {
    "PostgreSQL": "select deadlocks as n from pg_stat_database where datname = current_database()",
    "MySQL": "select `count` as n from information_schema.innodb_metrics where name = 'lock_deadlocks'",
    "Vitess": "select `count` as n from information_schema.innodb_metrics where name = 'lock_deadlocks'",
    "MariaDB": "select variable_value as n from information_schema.global_status "
    "where variable_name = 'Innodb_deadlocks'",
}
"""Query for the server's deadlock counter. PostgreSQL counts for this database alone, some seconds late."""


def has_row_locks(store: Store) -> bool:
    """Whether two of the store's transactions can wait for each other and the server counts deadlocks."""
    return store.capabilities.row_locks and store.capabilities.name.split()[0] in _DEADLOCKS


def needs_row_locks(store: Store) -> None:
    """Skip the test where a transaction does not wait for the rows of another one, but one of them is rolled back."""
    if not store.capabilities.row_locks:
        pytest.skip(f"capability: {store.capabilities.name} locks no rows of one node for the others")


async def deadlocks(store: Store) -> int:
    """How many deadlocks the server has counted so far."""
    async with store.services.sessions.begin() as session:
        (row,) = await session.fetch_all(_DEADLOCKS[store.capabilities.name.split()[0]])
    return int(row["n"])


def in_the_way(error: StorageUnavailableError) -> bool:
    """Whether the error reports a lock wait that timed out."""
    return any(words in str(error) for words in _WAITED_TOO_LONG)


async def in_the_end(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call that waited too long for a lock on a slow disk: such a call had no effect, or only part of it."""
    while True:
        try:
            return await call()
        except StorageUnavailableError as error:
            if not in_the_way(error):
                raise


async def settled(worker: Actor, items: Sequence[Append]) -> list[Outcome]:
    """Commit the items, and repeat as long as another transaction locks one of them for longer than a store waits."""
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        outcomes = await worker.store.commit(items, worker=worker.token)
        if Outcome.LOCKED not in outcomes:
            return outcomes
        if loop.time() - began < _SHORTEST_WAIT:
            pytest.fail(f"LOCKED after {loop.time() - began:.3f} s: nobody can have waited for a lock")


def crosswise(one: Append, everybody: list[Append], seq: int, chance: random.Random) -> Append:
    """An append that also writes to the rows of others."""
    others = [other for other in chance.sample(everybody, k=4) if other is not one]
    return append(one, seq, change=change(), deliveries=tuple(delivery(other) for other in others))
