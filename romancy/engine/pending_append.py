"""An item about to be sent, with everything that is needed to act on its outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from romancy.core import Activation
from romancy.engine.activities.port import Port
from romancy.engine.aftermath import Aftermath, Sent
from romancy.engine.inbox import Given
from romancy.engine.instance import Live
from romancy.engine.unwritten import NO_PORTS, Unwritten
from romancy.storage.records import Append, Item, Outcome

if TYPE_CHECKING:
    from romancy.engine.dispatcher import Dispatcher
    from romancy.engine.observer import Observer

__all__ = ["PendingAppend"]


class PendingAppend(Struct, frozen=True, gc=False):
    """An item about to be sent. The writer holds it until its outcome is known (`log_writer.Entry`)."""

    settle: Callable[[PendingAppend, Outcome], None]
    """Acts on the outcome: `Driver.settle`."""
    live: Live
    item: Item
    worker: str | None
    activation: Activation
    inputs: Sequence[Given]
    ports: Mapping[int, Port] = NO_PORTS
    """The ports of attempts whose ends are among the inputs, by the input's position."""
    session: Port | None = None
    """The port that holds a session."""
    aftermath: Aftermath | None = None
    """What remains to be done for receivers once the item is in the log."""
    settled: int = 0
    """With how many events it begins whose effects are carried out already: those that were held back."""
    unwanted: Mapping[int, Port] = NO_PORTS
    """Likewise the ports of attempts whose ends the run did not take."""

    def unwritten(self) -> Unwritten:
        """What the log does not have if it refuses this."""
        return Unwritten(
            self.live,
            self.inputs,
            self.ports,
            self.session,
            self.activation.events[: self.settled],
            self.activation.dropped,
            self.unwanted,
            self.item.consumed if isinstance(self.item, Append) else (),
        )

    def tell_committed(self, observer: Observer | None, dispatcher: Dispatcher) -> None:
        """Inform the ports, the dispatcher and the observer that the item is in the log."""
        if self.aftermath is not None:
            if self.aftermath.addresses:
                dispatcher.ask(self.aftermath.addresses)
            if self.aftermath.sent and isinstance(self.item, Append):
                dispatcher.look_after(Sent(self.live, self.item.seq, self.aftermath.sent))
        for port in self.ports.values():
            port.committed()
        if observer is not None and not observer.resting:
            observer.committed(self.live, self.activation)
