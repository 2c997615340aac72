"""Tells a server whether an app is open and whether it takes on work."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from romancy.engine import Worker
    from romancy.storage.protocol import Store

__all__ = ["Condition"]


class Condition:
    """The condition of an app."""

    _store: Store | None = None
    _worker: Worker | None = None

    @property
    def is_open(self) -> bool:
        """Whether the app is inside its `async with`."""
        return self._store is not None

    @property
    def is_draining(self) -> bool:
        """Whether `drain()` was called: this app's worker takes on no more work."""
        return self._worker is not None and self._worker.draining
