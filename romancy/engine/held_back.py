"""Holds the results of lazy activities back until the next append of their instance.

While results are held back, their instance continues: the run was fed the results, and the next lazy activities have
begun. Any other consequence (another activity, a timer, a message, a child, a subscription, the end of the workflow)
leads to an append at once, which begins with the held-back events. Otherwise a timer sends them. The log has the same
events in the same order as without holding back, in fewer rows.

While events are held back, the instance's append slot is gathering an append. A worker that drops the instance also
drops its held-back events, and a replay runs those activities again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from romancy.core import Activation, ActivityCompleted, StartActivity
from romancy.status import Status

if TYPE_CHECKING:
    from asyncio import TimerHandle
    from collections.abc import Callable, Mapping, Sequence

    from romancy.core import LogEvent
    from romancy.engine.activities.port import Port
    from romancy.engine.instance import Live
    from romancy.engine.pending_append import Given

__all__ = ["LONGEST_WAIT", "HeldBack", "hold_back", "may_wait"]

LONGEST_WAIT: Final = 0.005
"""Seconds that a result waits for the next append of its instance."""
_EVENTS: Final = 1000
_BYTES: Final = 64 * 1024
"""Upper bound on the results held back. The append that follows needs room as well."""


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
            self.size += len(getattr(event, "result", b"")) + len(getattr(event, "args", b""))

    def before(
        self, activation: Activation, inputs: list[Given], ports: Mapping[int, Port]
    ) -> tuple[Activation, list[Given], Mapping[int, Port]]:
        """The activation preceded by the held-back events, its inputs, and its ports by their new positions."""
        shift = len(self.inputs)
        joined = replace(activation, events=self.events + activation.events)
        return joined, self.inputs + inputs, {index + shift: port for index, port in ports.items()}

    def alone(self) -> Activation:
        """The held-back events, as an activation whose effects are carried out already."""
        return Activation(events=self.events, effects=[], status=Status.RUNNING)


def hold_back(live: Live, activation: Activation, inputs: Sequence[Given], send: Callable[[Live], None]) -> None:
    """Keep the events of an activation for the next append. `send` is called if no append comes in time."""
    held = live.held
    if held is None:
        held = HeldBack(asyncio.get_running_loop().call_later(LONGEST_WAIT, send, live))
        live.gather(held)
    held.add(activation, inputs)
    if held.is_full:
        send(live)


def may_wait(live: Live, activation: Activation, inputs: Sequence[Given]) -> bool:
    """Whether all inputs are results of lazy activities that lead only to more lazy activities.

    Removes the results from the record of lazy completions. The caller makes sure that the run is still the same.
    """
    answered = [event.id for event, _ in inputs if type(event) is ActivityCompleted and event.id in live.lazy]
    live.answer_lazily(answered)
    if len(answered) < len(inputs) or activation.dropped:
        return False
    if activation.outcome is not None or activation.parked is not None:
        return False
    if activation.status is not Status.RUNNING or live.shown is not Status.RUNNING:
        return False
    if live.run.state.memory is not None or not (activation.effects or live.attempts):
        return False
    return all(type(effect) is StartActivity and _is_lazy(effect.definition) for effect in activation.effects)


def _is_lazy(definition: Any) -> bool:
    return bool(definition.lazy)
