"""Drives new instances up to their first wait before their start is written, where possible.

`[WorkflowStarted, ActivityScheduled(first)]` is then one row. A start row cannot carry children, messages or interests.
In that case the start is written undriven, its owner drives it at once, and the next append carries them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from romancy._logs import about, get_logger
from romancy._named import NamedWorkflow
from romancy.core import AwaitEvent, CancelChild, Publish, Send, SendOnChannel, StartChild
from romancy.engine.decide import change_for, first_input, is_step, start_of, start_row
from romancy.engine.family import parent_of
from romancy.engine.instance import Live
from romancy.engine.lives import new_life
from romancy.engine.log_lines import say_complaints
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.records import Change

if TYPE_CHECKING:
    from msgspec import Raw

    from romancy.core import Activation
    from romancy.engine.incarnation import Incarnation
    from romancy.registry import Registry
    from romancy.storage.records import Start
    from romancy.workflow import Workflow

__all__ = ["Begun", "begin", "start_of_child"]

logger = get_logger("romancy.engine")

_BEGUN: Final = Change(status=Status.RUNNING, seen=0)
_MORE: Final = (AwaitEvent, CancelChild, Publish, Send, SendOnChannel, StartChild)


class Begun:
    """A start ready to be written. `activation` is None if the start was not driven."""

    __slots__ = ("activation", "live", "start")

    def __init__(self, live: Live, start: Start, activation: Activation | None) -> None:
        self.live = live
        self.start = start
        self.activation = activation


def begin(
    definition: Workflow[..., object], input: Raw, *, instance_id: str, life: int, nonce: str, now: int, owner: str
) -> Begun:
    """The start of an instance that `owner` continues."""
    started = first_input(definition, input, life=life, now=now, headers=definition.headers)
    row = functools.partial(start_row, definition, instance_id=instance_id, life=life, writer=nonce)
    live = Live.new(instance_id, life, definition)
    activation = live.run.activate([started])
    if is_step(live, activation, ()):
        say_complaints(live, activation)
        return Begun(live, row(activation.events, owner=owner, change=_BEGUN), activation)
    carries_more = live.run.state.subscriptions or any(isinstance(effect, _MORE) for effect in activation.effects)
    if carries_more or activation.parked is not None or activation.successor is not None:
        live.run.close()
        live = Live.new(instance_id, life, definition)
        live.run.replay([[started]])
        return Begun(live, row([started], owner=owner, change=_BEGUN), None)
    say_complaints(live, activation)
    change = change_for(live, activation, now, consumed=False)
    if change is not None and (change.release or change.status in TERMINAL_STATUSES):
        delay = max(0, change.wake_at - now) if change.wake_at is not None else None
        return Begun(live, row(activation.events, change=change, delay=delay), activation)
    return Begun(live, row(activation.events, owner=owner, change=_BEGUN), activation)


def start_of_child(registry: Registry, incarnation: Incarnation, live: Live, child: StartChild) -> Start:
    """The first commit of a child. If this worker does not know its workflow, the child waits for one that does."""
    definition: Workflow[..., object] | None = registry.workflows.get(child.workflow)
    if definition is None:
        definition = NamedWorkflow(child.workflow)
        logger.info(
            "child %s waits for a worker that knows the workflow %s: this one does not",
            child.instance_id, child.workflow, extra=about(live),
        )  # fmt: skip
    return start_of(
        definition,
        child.input,
        instance_id=child.instance_id,
        life=new_life(child.instance_id),
        writer=incarnation.nonce(),
        now=incarnation.clock.now(),
        parent=parent_of(live, child),
        delay=child.delay,
        headers=child.headers,
        limit=child.limit,
    )
