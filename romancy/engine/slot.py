"""The states of a loaded instance's append slot, and what it gathers: an instance has at most one append under way."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec.structs import replace

from romancy.core import Activation
from romancy.status import Status

if TYPE_CHECKING:
    from asyncio import TimerHandle
    from collections.abc import Mapping, Sequence

    from romancy.core import LogEvent
    from romancy.engine.inbox import Given

__all__ = ["FREE", "GATHERING", "GONE", "TAKEN", "HeldBack", "Slot"]

P = TypeVar("P")

_EVENTS: Final = 1000
_BYTES: Final = 64 * 1024
"""Upper bound on the results held back. The append that follows needs room as well."""


class Slot(Enum):
    """The state of an instance's append slot."""

    FREE = "free"
    """No append is under way. The next input leads to one."""
    GATHERING = "gathering"
    """Results of lazy activities are held back. The next append begins with them, and may follow at any time."""
    TAKEN = "taken"
    """An append or a session's commit is in flight, or its effects are being carried out. Inputs wait."""
    GONE = "gone"
    """This worker no longer owns the instance, and appends nothing to its log any more."""


# Module constants for the members: Python 3.11 calls a function for each `Slot.TAKEN`.
FREE: Final = Slot.FREE
GATHERING: Final = Slot.GATHERING
TAKEN: Final = Slot.TAKEN
GONE: Final = Slot.GONE


class HeldBack:
    """The events with which an instance's next append begins, and the inputs that led to them."""

    __slots__ = ("events", "inputs", "size", "timer")

    def __init__(self, timer: TimerHandle) -> None:
        self.timer = timer
        self.events: list[LogEvent] = []
        self.inputs: list[Given] = []
        self.size = 0

    @property
    def is_full(self) -> bool:
        """Whether the events should be sent now."""
        return self.size > _BYTES or len(self.events) > _EVENTS

    def add(self, activation: Activation, inputs: Sequence[Given]) -> None:
        """Hold back the events of one more activation."""
        self.events += activation.events
        self.inputs += inputs
        for event in activation.events:
            self.size += sum(len(getattr(event, name, b"")) for name in ("result", "args", "about"))

    def before(
        self, activation: Activation, inputs: list[Given], ports: Mapping[int, P]
    ) -> tuple[Activation, list[Given], Mapping[int, P]]:
        """The activation preceded by the held-back events, its inputs, and its ports by their new positions.

        The caller has to record how many events these are (`PendingAppend.settled`).
        """
        shift = len(self.inputs)
        joined = replace(activation, events=self.events + activation.events)
        return joined, self.inputs + inputs, {index + shift: port for index, port in ports.items()}

    def alone(self) -> Activation:
        """The held-back events, as an activation whose effects are carried out already."""
        return Activation(events=self.events, effects=[], status=Status.RUNNING)
