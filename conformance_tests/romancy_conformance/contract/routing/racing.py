"""Calls that are made again while another transaction is in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.errors import StorageUnavailableError
from romancy.storage.records import Outcome
from romancy_conformance.contract.routing.scenes import drained

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.routing.scenes import Receiver

    Receive = Callable[..., Awaitable[Receiver]]
    Scene = tuple[Awaitable[Any], Awaitable[Any], Callable[[Any, Any], Awaitable[None]]]

__all__ = ["patiently", "settled"]


async def patiently(store: Store, *addresses: str) -> int:
    """Dispatch, again while another transaction is in the way, as an engine does."""
    for _ in range(20):
        try:
            return await drained(store, *addresses)
        except StorageUnavailableError:
            continue
    raise AssertionError("the others are in the way for ever")


async def settled(store: Store, item: Append, worker: str) -> Outcome:
    """Commit, again while another transaction is in the way."""
    for _ in range(20):
        (outcome,) = await store.commit([item], worker=worker)
        if outcome is not Outcome.LOCKED:
            return outcome
    raise AssertionError("the others are in the way for ever")
