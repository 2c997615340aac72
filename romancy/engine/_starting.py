"""Starting instances: driven up to their first wait before anything is written, where that is possible.

`[WorkflowStarted, ActivityScheduled(first)]` is one row. What a start row cannot carry (children, messages) is left
to the first append behind it: the start is then written as it is and driven at once by its owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.core import CancelChild, Publish, Run, StartChild, encode_commit
from romancy.engine._live import Live, change_for, short, start_of
from romancy.engine._runtime import RUNTIME
from romancy.status import TERMINAL_STATUSES, Status

if TYPE_CHECKING:
    from msgspec import Raw

    from romancy.core import Activation
    from romancy.storage.records import Start
    from romancy.workflow import Workflow

__all__ = ["Begun", "begin"]


class Begun:
    """A start ready to be written. `activation` is None while nobody has driven it."""

    __slots__ = ("activation", "live", "start")

    def __init__(self, live: Live, start: Start, activation: Activation | None) -> None:
        self.live = live
        self.start = start
        self.activation = activation


def begin(
    definition: Workflow[..., object], input: Raw, *, instance_id: str, life: int, nonce: str, now: int, owner: str
) -> Begun:
    """The start of an instance that `owner` goes on with."""
    started, start = start_of(definition, input, instance_id=instance_id, life=life, writer=nonce, now=now)
    live = _fresh(definition, instance_id, life)
    activation = live.run.activate([started])
    carries_more = any(isinstance(effect, StartChild | CancelChild | Publish) for effect in activation.effects)
    if carries_more or activation.parked is not None or activation.successor is not None:
        live.run.close()
        live = _fresh(definition, instance_id, life)
        live.run.replay([[started]])
        return Begun(live, replace(start, owner=owner, status=Status.RUNNING), None)
    change = change_for(live, activation, now, consumed=False)
    start = replace(start, body=encode_commit(activation.events), owner=owner, status=Status.RUNNING)
    if change is not None and (change.release or change.status in TERMINAL_STATUSES):
        delay = max(0, change.wake_at - now) if change.wake_at is not None else None
        start = replace(start, owner=None, status=change.status, delay=delay, error=short(change.error))
    return Begun(live, start, activation)


def _fresh(definition: Workflow[..., object], instance_id: str, life: int) -> Live:
    return Live(
        instance_id, life, definition, Run(definition, instance_id=instance_id, code=definition.code, runtime=RUNTIME)
    )
