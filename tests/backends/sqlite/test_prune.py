"""Pruning old rows while others write."""

# pyright: reportPrivateUsage=false
# A test may look inside.

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy.storage.records import Outcome, PruneRequest
from romancy_conformance.contract.building import start
from romancy_sqlite._prune import KEYS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_sqlite import SqliteStore

    Open = Callable[..., Awaitable[SqliteStore]]

_KEYS = """
insert into romancy_seen (unit, life, dedupe, at)
with recursive keys (number) as (select 1 union all select number + 1 from keys where number < ?)
select 'e/old', 0, 'key ' || number, 1 from keys
"""

pytestmark = pytest.mark.anyio


async def test_others_write_between_two_portions_of_old_keys(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    async with store.services.sessions.begin() as session:
        await session.execute(_KEYS, 3 * KEYS_AT_ONCE)
        assert await session.commit(start()) is Outcome.ACCEPTED
    writing: list[asyncio.Task[list[Outcome]]] = []
    written_before: list[bool] = []

    loop = asyncio.get_running_loop()

    async def write_meanwhile() -> None:
        written_before.append(any(task.done() for task in writing))
        writing.append(asyncio.create_task(other.commit([start()])))

    def traced(sql: str) -> None:
        if sql.startswith("delete from romancy_seen"):
            asyncio.run_coroutine_threadsafe(write_meanwhile(), loop).result()

    assert store._opened is not None
    writer = store._opened[0].writer
    writer._connection.set_trace_callback(traced)  # both stores write on this connection
    await store.services.upkeep.prune(PruneRequest(dedupe_before=2))
    writer._connection.set_trace_callback(None)

    assert [[Outcome.ACCEPTED]] * 4 == await asyncio.gather(*writing)
    assert [False, True] == [written_before[0], written_before[-1]]
