"""Replays instances after their ends, beside a worker of `romancy dev`, and logs what a body does differently."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger
from romancy.errors import RomancyError
from romancy.replaying.off_stage import differences, recorded

if TYPE_CHECKING:
    from romancy.registry import Registry
    from romancy.storage.protocol import Store

__all__ = ["UnreplayedEnds"]

logger = get_logger("romancy")

_AT_ONCE: Final = 100
_MOST: Final = 10_000
"""The most ends that are kept for a replay. Others are not replayed."""


class UnreplayedEnds:
    """The instances that have ended here and were not replayed yet."""

    def __init__(self) -> None:
        self._ended: dict[str, None] = {}
        self._some = asyncio.Event()

    def note(self, instance_id: str) -> None:
        """The instance has ended."""
        if len(self._ended) < _MOST:
            self._ended[instance_id] = None
            self._some.set()

    async def tell(self, store: Store, registry: Registry) -> None:
        """Replay them as they come, until cancelled. Each difference is a warning in the log."""
        while True:
            await self._some.wait()
            batch = list(self._ended)[:_AT_ONCE]
            for instance_id in batch:
                del self._ended[instance_id]
            if not self._ended:
                self._some.clear()
            try:
                cases = await recorded(store, registry, batch)
                found = await asyncio.to_thread(differences, cases)
            except RomancyError as error:
                logger.info("cannot replay what has ended: %s", error)
                continue
            for text in found.values():
                logger.warning(
                    "this workflow has ended, and cannot be replayed. After a crash it would be stuck. `romancy lint` "
                    "names calls that cause this.\n%s",
                    text,
                )
