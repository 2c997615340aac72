"""Whose code may run: everybody's, or while a suspect is tried its own and nobody else's.

What waits meanwhile is not lost: inputs stay with their instances, and whoever was about to replay a log does it later.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Solitude"]


class Solitude:
    """Who may be driven in this process."""

    def __init__(self) -> None:
        self.only: str | None = None
        """The one instance that may be; None: all."""
        self._replaying = 0
        self._over = asyncio.Event()
        self._over.set()
        self._nobody_replays = asyncio.Event()
        self._nobody_replays.set()

    async def begin(self, instance_id: str, timeout: float) -> bool:
        """Let nobody else be driven; False if somebody was being replayed for longer than that, and all may go on."""
        self.only = instance_id
        self._over.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._nobody_replays.wait()
        except TimeoutError:
            self.end()
            return False
        return True

    def end(self) -> None:
        """All may be driven again."""
        self.only = None
        self._over.set()

    async def turn_of(self, instance_id: str) -> None:
        """Return when this instance may be driven."""
        while self.only not in (None, instance_id):
            await self._over.wait()

    @contextmanager
    def replaying(self) -> Generator[None]:
        """Until the block ends somebody may run code of an instance whose turn it was."""
        self._replaying += 1
        self._nobody_replays.clear()
        try:
            yield
        finally:
            self._replaying -= 1
            if not self._replaying:
                self._nobody_replays.set()
