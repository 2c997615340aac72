"""Replays the instances of a test after their ends, so that a body that is not deterministic fails its test."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from romancy.replaying.off_stage import differences, recorded

if TYPE_CHECKING:
    from romancy.registry import Registry
    from romancy.storage.protocol import Store

__all__ = ["EndsOfTest"]

_ALWAYS: Final = 0.1
"""Seconds that the replays of one test may take in any case."""


class EndsOfTest:
    """The instances that have ended and were not replayed yet. Each end is replayed once."""

    def __init__(self) -> None:
        self._ended: dict[str, None] = {}
        self._began = time.monotonic()
        self._took = 0.0

    def note(self, instance_id: str) -> None:
        """The instance has ended."""
        self._ended[instance_id] = None

    @property
    def in_time(self) -> bool:
        """Whether a check now keeps the time for all checks below the time of the test itself."""
        return self._took < max(_ALWAYS, (time.monotonic() - self._began) / 2)

    async def check(self, store: Store, registry: Registry) -> str | None:
        """Replay all of them. Returns the differences, or None if every body follows its log."""
        ended, self._ended = list(self._ended), {}
        if not ended:
            return None
        began = time.monotonic()
        found = differences(await recorded(store, registry, ended))
        self._took += time.monotonic() - began
        return "\n".join(found.values()) or None
