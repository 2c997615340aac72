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
from typing import TYPE_CHECKING, Final

from romancy.core import ActivityCompleted, StartActivity
from romancy.engine.slot import HeldBack
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from romancy.core import Activation
    from romancy.engine.inbox import Given
    from romancy.engine.instance import Live

__all__ = ["LONGEST_WAIT", "hold_back", "may_wait"]

LONGEST_WAIT: Final = 0.005
"""Seconds that a result waits for the next append of its instance."""


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
    return all(
        type(effect) is StartActivity and effect.definition.given.commit == "lazy" for effect in activation.effects
    )
