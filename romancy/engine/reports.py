"""What a driver reports about its instances. The worker answers: it owns what brings an instance back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from romancy.core import Activation
    from romancy.engine.activities.port import Port
    from romancy.engine.instance import Live
    from romancy.engine.pending_append import PendingAppend
    from romancy.storage.records import Outcome

__all__ = ["Reports"]


class Reports(Protocol):
    """The outcomes that a driver cannot settle by itself. `Worker` is the one that receives them."""

    def finished(self, live: Live, activation: Activation) -> None:
        """The instance has ended, rests or is stuck, and its log says so. This worker no longer owns it."""
        ...

    def dropped(self, live: Live) -> None:
        """The run is closed. Another worker may own the instance now, or has ended it."""
        ...

    def lost(self, prepared: PendingAppend, outcome: Outcome) -> None:
        """The database refused the append. The run's memory may be wrong."""
        ...

    def broken(self, live: Live, error: Exception) -> None:
        """The instance raised an error that no code expects. It cannot continue here."""
        ...

    def in_session(self, prepared: PendingAppend, port: Port) -> None:
        """The session of an ended attempt must commit the append, and `Driver.settle` be called with the outcome."""
        ...
