"""An item about to be sent, and what belongs to it: how an append carries what follows from it to its settlement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct

from romancy.core import Activation
from romancy.engine.activities.port import Port
from romancy.engine.instance import Live
from romancy.storage.records import Append, Start

if TYPE_CHECKING:
    from romancy.core import Input
    from romancy.engine.observer import Observer
    from romancy.engine.post import Mail

__all__ = ["NO_PORTS", "Given", "PendingAppend"]

Given: TypeAlias = "tuple[Input, Mail | None]"
"""An input and the message it was made of."""

NO_PORTS: Final[Mapping[int, Port]] = MappingProxyType({})


class PendingAppend(Struct, frozen=True, gc=False):
    """An item about to be sent."""

    live: Live
    item: Append | Start
    activation: Activation
    inputs: Sequence[Given]
    ports: Mapping[int, Port] = NO_PORTS
    """What the attempts left behind whose ends are among the inputs, by the input's place."""
    session: Port | None = None
    """The one that holds a session."""

    def tell_committed(self, observer: Observer | None) -> None:
        """It is in the log: what waited for that follows."""
        for port in self.ports.values():
            port.committed()
        if observer is not None:
            observer.committed(self.live, self.activation)
