"""What all programs of this package share: they read their arguments, open their store, and stop when they are told."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, TypeVar, cast

from romancy.engine import ToldToStop
from romancy.errors import StorageUnavailableError
from romancy.storage.backends import create_store
from romancy.storage.records import Outcome
from romancy_conformance.contract.fire.notes import Notes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store

__all__ = ["insist", "run"]

T = TypeVar("T")
_PATIENCE = 60.0
_PAUSE = 0.02


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat the call while the store is unavailable or a row is locked, which every caller may do."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            answer = await call()
        except StorageUnavailableError:
            if time.monotonic() > deadline:
                raise
        else:
            if not _locked(answer) or time.monotonic() > deadline:
                return answer
        await asyncio.sleep(_PAUSE)


def _locked(answer: object) -> bool:
    return answer is Outcome.LOCKED or (isinstance(answer, list) and Outcome.LOCKED in cast("list[object]", answer))


def run(main: Callable[[Store, Notes, asyncio.Event, list[str]], Awaitable[None]]) -> None:
    """Run a program with the arguments `NOTES URL …`; a signal to stop sets the event."""
    notes, url, *arguments = sys.argv[1:]

    async def start() -> None:
        stop = asyncio.Event()
        with ToldToStop() as told:
            listening = asyncio.create_task(told.wait())
            listening.add_done_callback(lambda _: stop.set())
            store = create_store(url)
            await insist(store.open)
            await main(store, Notes(notes), stop, arguments)
            await store.close()
            listening.cancel()

    asyncio.run(start())
