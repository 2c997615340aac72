"""Decides which instances may run code: all of them or, during a trial, the suspect alone.

During a trial, the inputs of other instances are queued and their replays are postponed.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Admission"]


class Admission:
    """Which instances may be driven in this process."""

    def __init__(self) -> None:
        self.only: str | None = None
        """The one instance that may be driven; None: all."""
        self._replaying = 0
        self._over = asyncio.Event()
        self._over.set()
        self._nobody_replays = asyncio.Event()
        self._nobody_replays.set()

    async def begin(self, instance_id: str, timeout: float) -> bool:
        """Let only this instance be driven.

        Returns False, and lets all instances be driven, if a replay lasted longer than `timeout` seconds.
        """
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
        """Let all instances be driven again."""
        self.only = None
        self._over.set()

    async def turn_of(self, instance_id: str) -> None:
        """Wait until this instance may be driven."""
        while self.only not in (None, instance_id):
            await self._over.wait()

    @contextmanager
    def replaying(self) -> Generator[None]:
        """Mark a replay: until the block ends, code of an admitted instance may run."""
        self._replaying += 1
        self._nobody_replays.clear()
        try:
            yield
        finally:
            self._replaying -= 1
            if not self._replaying:
                self._nobody_replays.set()
