"""Waits until an instance waits for an event."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from romancy import Romancy

__all__ = ["awaits_an_event"]


async def awaits_an_event(app: Romancy, instance_id: str) -> None:
    """Return once the log of the instance contains a wait for an event."""
    async for entry in app.entries_of(instance_id, follow=True):
        if type(entry.event).__name__ == "MessageAwaited":
            return
