"""Workers of other processes and machines that are asked to drain, and how far they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from romancy.engine import draining_in
from romancy.errors import UsageError
from romancy.insight import alive, silent
from romancy.managing.noticing import notices_of, post, take_down
from romancy.managing.workflows import PausedWorkflows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.storage.protocol import Store
    from romancy.storage.records import Census, Peer

__all__ = ["Draining", "Progress", "ask_to_drain", "progress_of", "take_back"]

_DEAF: Final = 4
"""After so many heartbeats since it was asked, a worker that says nothing of it does not know how to drain."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a worker is that was asked to drain."""

    words: str
    attempts: int | None = None
    """How many attempts are at work. None: it has said nothing of it."""
    instances: int | None = None
    """How many instances it has."""
    over: bool = False
    """Whether nothing more comes of it."""
    failed: bool = False
    """Whether it does not drain."""


class Draining(PausedWorkflows):
    """Asks workers to drain."""

    async def drain_worker(self, worker_id: str) -> None:
        """Ask a worker of any process to drain, as if that had been told to stop (SIGTERM), and return.

        `serve()` and `romancy run` then return. Any other app drains beside what else it does, as by `drain()`. The
        worker hears of it as of a paused activity; `romancy workers` shows how far it is. Raises UsageError unless a
        live worker has this id. A worker of an older version of Romancy does not hear of it.
        """
        store = self._access.to_write("drain_worker")
        census = await store.services.reading.census()
        if not any(peer.works and peer.worker_id == worker_id for peer in census.workers):
            raise UsageError(f"no worker {worker_id!r} is registered; `romancy workers` lists those that are")
        if not (live := {peer.token: peer for peer in alive(census) if peer.worker_id == worker_id}):
            raise UsageError(
                f"worker {worker_id!r} does not live any more: there is nothing to drain, and others take over what it "
                "had when its lease has expired"
            )
        await ask_to_drain(store, live)


async def ask_to_drain(store: Store, workers: Mapping[str, Peer]) -> None:
    """Ask these workers, by token, except those that were asked already."""
    known = {one.name for one in await notices_of(store, "drain")}
    for token, peer in workers.items():
        if token not in known and draining_in(peer.codes) is None:
            await post(store, "drain", token)


async def take_back(store: Store, token: str) -> None:
    """Ask this worker no more."""
    await take_down(store, await notices_of(store, "drain", token))


def progress_of(asked: Peer, census: Census) -> Progress:
    """How far a worker is, which was as `asked` when it was asked."""
    now = next((peer for peer in census.workers if peer.token == asked.token), None)
    if now is None or now.dead:
        return Progress("it has ended", 0, 0, over=True)
    if silent(now, census.now):
        return Progress("it is silent: others take over when its lease has expired", over=True, failed=True)
    if (told := draining_in(now.codes)) is not None:
        attempts, instances = told
        if told == (0, 0):
            return Progress("it has drained, and takes nothing more", 0, 0, over=True)
        return Progress(f"attempts at work: {attempts}, open instances: {instances}", attempts, instances)
    if now.beat >= asked.beat + _DEAF:
        return Progress(
            "it does not drain: its version of Romancy does not know how; stop its process", over=True, failed=True
        )
    return Progress("it was asked")
