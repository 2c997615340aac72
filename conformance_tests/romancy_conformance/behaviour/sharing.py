"""Jobs for several workers, and what the logs say of them: who executed each, and how often each was handed on."""

# Only a worker's private state shows which workers it knows.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.core import OwnerChanged, decode_commit
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy import Handle
    from romancy.storage.records import History

__all__ = [
    "Shares",
    "acquainted",
    "calls_share_blocks",
    "calls_share_sleeps",
    "ended",
    "ids",
    "share_family",
    "share_twice",
    "shares",
    "so_many_ended",
]


@activity
async def share_sleeps(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return os.getpid()


@activity
def share_blocks(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


calls_share_sleeps = calling(share_sleeps)
calls_share_blocks = calling(share_blocks)


@workflow
async def share_twice(ctx: WorkflowContext, seconds: float) -> int:
    await share_sleeps(seconds)
    return await share_sleeps(seconds)


@workflow
async def share_family(ctx: WorkflowContext, children: int, seconds: float) -> list[int]:
    return list(await asyncio.gather(*(calls_share_sleeps(seconds) for _ in range(children))))


class Shares(NamedTuple):
    """Who executed some instances."""

    done: Counter[str]
    """How many each worker ended, by its token."""
    moves: int
    """How often an instance was handed back before it had ended."""
    moved: Counter[str]
    """By worker: how many instances it ended that another one had handed back."""

    @property
    def by_others(self) -> int:
        """How many of the instances that were handed back another worker ended."""
        return sum(self.moved.values())


async def shares(storage_url: str, instance_ids: Sequence[str]) -> Shares:
    """Read the logs of these ended instances."""
    store = create_store(storage_url)
    await store.open()
    done, moved, moves = Counter[str](), Counter[str](), 0
    for instance_id in instance_ids:
        history = await store.read(instance_id)
        assert history is not None
        worker = history.rows[-1].writer.partition(".")[0]
        handed = handed_back_by(history)
        done[worker] += 1
        moves += len(handed)
        moved[worker] += bool(handed) and handed[0] != worker
    await store.close()
    print(f"shares: {sorted(done.values())}, moves: {moves}, of these by others: {sum(moved.values())}")
    return Shares(done, moves, moved)


def handed_back_by(history: History) -> list[str]:
    """Return the workers that handed the instance back although it had not ended, in order."""
    found: list[str] = []
    for row in history.rows:
        events = decode_commit(row.body)
        if all(isinstance(event, OwnerChanged) and not event.owner for event in events):
            found.append(row.writer.partition(".")[0])
    return found


async def ended(handles: Sequence[Handle[Any]], timeout: float = 120) -> None:
    """Wait for all of them."""
    await asyncio.gather(*(handle.result(timeout=timeout) for handle in handles))


async def so_many_ended(handles: Sequence[Handle[Any]], count: int, timeout: float = 60) -> None:
    """Wait until so many of them have ended."""
    waiting = {asyncio.ensure_future(handle.result(timeout=timeout)) for handle in handles}
    left = set(waiting)
    while len(waiting) - len(left) < count:
        _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
    for one in left:
        one.cancel()
    await asyncio.wait(waiting)


def ids(handles: Sequence[Handle[Any]]) -> list[str]:
    """Return their ids."""
    return [handle.instance_id for handle in handles]


async def acquainted(*apps: Romancy) -> None:
    """Wait until each of these workers knows all the others."""
    await until(
        lambda: all(app._access.worker and len(app._access.worker.leases.peers) >= len(apps) - 1 for app in apps)
    )
