"""From commands, or from the state after a replay, to what the world has to do about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from romancy.core import _effects as fx
from romancy.core import _events as ev

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from romancy.core._commands import Commands
    from romancy.core._fold import Attempted

__all__ = ["effects_of", "outstanding"]


def _start_activity(
    commands: Commands, event: ev.ActivityScheduled, failures: int = 0, due: int | None = None
) -> fx.StartActivity:
    call = commands.activities[event.id]
    return fx.StartActivity(event.id, call.definition, event.args, failures + 1, due, call.retry, call.timeout)


def _start_compensation(
    commands: Commands, event: ev.CompensationScheduled, failures: int = 0, due: int | None = None
) -> fx.StartCompensation:
    activity = commands.state.compensable[event.activity_name]
    assert activity.undo is not None  # noqa: S101 - only such activities are noted
    return fx.StartCompensation(
        event.id, event.activity_id, activity.undo, activity, event.args, event.result, failures + 1, due
    )


def _start_child(commands: Commands, event: ev.ChildStarted) -> fx.StartChild:
    parent = ev.Parent(commands.instance_id, event.id)
    return fx.StartChild(event.id, event.workflow, event.instance_id, event.input, parent, event.delay)


def _cancel_child(commands: Commands, event: ev.ChildCancelRequested) -> fx.CancelChild | None:
    child = commands.state.children.get(event.id)
    return None if child is None else fx.CancelChild(event.id, child.started.instance_id)


def _activity(commands: Commands, event: ev.ActivityScheduled) -> fx.StartActivity | None:
    return _start_activity(commands, event) if event.id in commands.activities else None


_Make: TypeAlias = "Callable[[Commands, Any], fx.Effect | None]"
_EFFECTS: Mapping[type[ev.LogEvent], _Make] = {
    ev.ActivityScheduled: _activity,
    ev.ActivityCancelRequested: lambda _, e: None if e.never_started else fx.CancelActivity(e.id),
    ev.TimerStarted: lambda _, e: fx.StartTimer(e.id, e.due),
    ev.TimerCancelled: lambda _, e: fx.CancelTimer(e.id),
    ev.EventAwaited: lambda _, e: fx.AwaitEvent(e.id, e.name, e.key, e.due),
    ev.EventWaitCancelled: lambda _, e: fx.StopAwaiting(e.id),
    ev.ChildStarted: _start_child,
    ev.ChildCancelRequested: _cancel_child,
    ev.MessagePublished: lambda _, e: fx.Publish(e.id, e.name, e.data, e.key),
    ev.ProgressReported: lambda _, e: fx.Report(e.state),
    ev.CompensationScheduled: _start_compensation,
}


def effects_of(events: Iterable[ev.LogEvent], commands: Commands) -> list[fx.Effect]:
    """What follows from the commands among the events that are being written now, in their order."""
    effects: list[fx.Effect] = []
    for event in events:
        make = _EFFECTS.get(type(event))
        effect = None if make is None else make(commands, event)
        if effect is not None:
            effects.append(effect)
    return effects


def outstanding(commands: Commands) -> list[fx.Effect]:
    """Everything the run still waits for, as the effects that bring it about; nothing once it has ended.

    A `CancelActivity` stands for an activity that was asked to stop and whose outcome is not recorded: nothing runs
    it now, so its outcome can be written at once. A run without code starts no activity.
    """
    state = commands.state
    if state.terminal is not None:
        return []
    effects: list[fx.Effect] = []
    for id, activity in state.activities.items():
        if activity.cancel_requested:
            effects.append(fx.CancelActivity(id))
        elif id in commands.activities:
            effects.append(_resumed(_start_activity, commands, activity))
    effects += [fx.StartTimer(timer.id, timer.due) for timer in state.timers.values()]
    effects += [fx.AwaitEvent(wait.id, wait.name, wait.key, wait.due) for wait in state.waits.values()]
    for id, child in state.children.items():
        effects.append(_start_child(commands, child.started))
        if child.cancel_requested:
            effects.append(fx.CancelChild(id, child.started.instance_id))
    effects += [_resumed(_start_compensation, commands, item) for item in state.compensations.values()]
    return effects


def _resumed(start: Callable[..., fx.Effect], commands: Commands, attempted: Attempted) -> fx.Effect:
    effect = start(commands, attempted.scheduled, attempted.failures, attempted.next_at)
    if isinstance(effect, fx.StartActivity) and attempted.details is not None:
        return msgspec.structs.replace(effect, details=attempted.details)
    return effect
