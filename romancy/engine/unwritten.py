"""What the log does not have because it refused an append, and what of it happened all the same.

The ends of attempts are nowhere but in memory, so they are written by themselves. A message comes again from the inbox,
and a timer from the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct

from romancy.core import Input, InputDeferred, LogEvent
from romancy.engine.activities.port import Port
from romancy.engine.ends import ENDS
from romancy.engine.inbox import Given
from romancy.engine.instance import Live

if TYPE_CHECKING:
    from romancy.storage.records import Delivery, OutboxRow
    from romancy.storage.routing import Posting

__all__ = ["NO_PORTS", "Happened", "Unwritten", "what_happened"]

NO_PORTS: Final[Mapping[int, Port]] = MappingProxyType({})


class Unwritten(Struct, frozen=True, gc=False):
    """What the log does not have, because it refused an append or none could be made: inputs, and what they leave."""

    live: Live
    inputs: Sequence[Given] = ()
    """The inputs that were fed."""
    ports: Mapping[int, Port] = NO_PORTS
    session: Port | None = None
    """The one among the ports whose session was to write the append, and was rolled back."""
    settled: Sequence[LogEvent] = ()
    """Events whose effects are carried out already: those that were held back."""
    unwanted: Sequence[Input] = ()
    """Inputs that the run did not take."""
    ports_of_unwanted: Mapping[int, Port] = NO_PORTS
    consumed: Sequence[str] = ()
    """Messages that the append was to remove from the inbox."""


class Sends(NamedTuple):
    """Messages that an append sends on behalf of ended attempts."""

    outbox: tuple[OutboxRow, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    postings: tuple[Posting, ...] = ()


class Happened:
    """What happened although the log does not have it, without what was decided from it."""

    __slots__ = ("ends", "events", "ports")

    def __init__(self, settled: Sequence[LogEvent] = ()) -> None:
        """`settled` are decided already."""
        self.events: list[LogEvent] = list(settled)
        self.ends: list[Input] = []
        self.ports: list[Port | None] = []
        """The ports of the attempts whose ends these are."""

    def add(self, end: Input, port: Port | None) -> None:
        """Add the end of an attempt."""
        self.events += (end, InputDeferred())
        self.ends.append(end)
        self.ports.append(port)

    def by_end(self) -> dict[int, Port]:
        """The ports, by the positions of their ends."""
        return {index: port for index, port in enumerate(self.ports) if port is not None}

    def sends(self) -> Sends:
        """What the attempts send with their ends."""
        sent = Sends()
        for port in self.ports:
            if port is not None:
                sent = Sends(
                    sent.outbox + port.outbox, sent.deliveries + port.deliveries, sent.postings + port.postings
                )
        return sent


def what_happened(unwritten: Unwritten, instead: Input | None) -> Happened:
    """The ends of attempts that were to be written, behind what was held back and is decided already.

    A message comes again from the inbox, and a timer from the log. `instead` is how the attempt ended whose session was
    to write the append. None: it is made again.
    """
    happened = Happened(unwritten.settled)
    passed_over = {id(event) for event in (*unwritten.settled, *unwritten.unwanted)}
    for index, (event, _) in enumerate(unwritten.inputs):
        port = unwritten.ports.get(index)
        if port is not None and port is unwritten.session:
            if instead is not None:
                happened.add(instead, None)
        elif isinstance(event, ENDS) and id(event) not in passed_over:
            happened.add(event, port)
    return happened
