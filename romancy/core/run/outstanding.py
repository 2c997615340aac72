"""Turns commands, or the state after a replay, into effects for the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from romancy._start_options import StartOptions, kept
from romancy.core.words import effects as fx
from romancy.core.words import events as ev
from romancy.core.words import message_events as ms
from romancy.core.words import place_events as pl
from romancy.core.words.family import run_of_child
from romancy.errors import NonDeterminismError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from romancy.core.fold.answers import ActivityCall
    from romancy.core.fold.memory import Kind
    from romancy.core.fold.state import State
    from romancy.core.run.commands import Commands

__all__ = ["EFFECTS", "effects_of", "not_to_be_undone", "outstanding"]


def _start_activity(commands: Commands, event: ev.ActivityScheduled) -> fx.StartActivity | None:
    """The next attempt at the activity. None if it has ended meanwhile, or if former runs answer it."""
    state = commands.state
    call = state.activities.get(event.id)
    if call is None or (state.memory is not None and not _is_open(commands, "activities", event)):
        return None
    details, failed = call.details, call.failures
    return fx.StartActivity(
        event.id, call.definition, event.args, failed + call.unheard + 1, call.next_at,
        ev.NULL if details is None else details, event.key, call.lost or _is_declared(state, call), call.context,
        failed,
    )  # fmt: skip


def _is_declared(state: State, call: ActivityCall) -> bool:
    """Whether a former run may have begun it, it begins at most once, and a person says that its effect stands."""
    former = None if state.memory is None else state.memory.given.get(("activities", call.id))
    return former is not None and former.declared and bool(call.definition.given.at_most_once)


def _start_compensation(
    commands: Commands, event: ev.CompensationScheduled, failures: int = 0, due: int | None = None, unheard: int = 0
) -> fx.StartCompensation:
    if not event.activity_name:
        return _start_registered(commands, event, failures, due, unheard)
    activity = commands.state.undoes(event.activity_name)
    if activity is None:
        raise not_to_be_undone(event.activity_name)
    assert activity.undo is not None  # noqa: S101 - `undoes` returns only activities that have one
    return fx.StartCompensation(
        event.id, event.activity_id, activity.undo, activity, event.args, event.result, failures + unheard + 1, due,
        event.key, context=commands.contexts.get(event.activity_id), failed=failures,
    )  # fmt: skip


def _start_registered(
    commands: Commands, event: ev.CompensationScheduled, failures: int, due: int | None, unheard: int
) -> fx.StartCompensation:
    """The effect of an undo that the body has registered."""
    activity = commands.state.registered(event.activity_id, event.name)
    if activity is None:
        raise NonDeterminismError(
            f"the activity {event.name!r} is registered as an undo and is to be carried out: give it to the app"
        )
    return fx.StartCompensation(
        event.id, event.activity_id, activity.as_undo, activity, event.args, event.result, failures + unheard + 1, due,
        context=commands.contexts.get(event.activity_id), failed=failures,
    )  # fmt: skip


def not_to_be_undone(activity: str) -> NonDeterminismError:
    """The error for an activity of a former run that today's code does not know how to undo."""
    return NonDeterminismError(
        f"a former run completed the activity {activity!r}, which is to be undone: give the activity and its "
        "compensation to the app"
    )


def _start_child(commands: Commands, event: ev.ChildStarted) -> fx.StartChild:
    started = commands.started
    given = StartOptions(delay=event.delay, at=event.due, **kept(event))
    if event.again and isinstance(started, ev.WorkflowRetried):
        return fx.StartChild(
            event.id, event.workflow, event.instance_id, event.input, given, again=True, by=started.nonce,
            wanted_by=run_of_child(started, event.instance_id), unsure=started.unsure,
        )  # fmt: skip
    return fx.StartChild(event.id, event.workflow, event.instance_id, event.input, given, by=started.nonce)


def _new_child(commands: Commands, event: ev.ChildStarted) -> fx.StartChild | None:
    answered = event.again and event.id not in commands.state.children
    return None if answered else _start_child(commands, event)


def _cancel_child(commands: Commands, event: ev.ChildCancelRequested) -> fx.CancelChild | None:
    child = commands.state.children.get(event.id)
    return None if child is None else _stop_child(commands, child.started)


def _stop_child(commands: Commands, event: ev.ChildStarted) -> fx.CancelChild:
    return fx.CancelChild(event.id, event.instance_id, run_of_child(commands.started, event.instance_id))


def _cancel_activity(commands: Commands, event: ev.ActivityCancelRequested) -> fx.CancelActivity | None:
    activity = commands.state.activities.get(event.id)
    if activity is None or event.never_started or not _is_open(commands, "activities", event):
        return None  # it has ended, or does not run; its completion in a former run is still reported
    return fx.CancelActivity(event.id, idle=activity.idle)


def _is_open(commands: Commands, kind: Kind, event: Any) -> bool:
    """Whether the engine must act on it; not if former runs answer it."""
    state = commands.state
    return state.memory is None or (event.id in getattr(state, kind) and (kind, event.id) not in state.remembered)


_Make: TypeAlias = "Callable[[Commands, Any], fx.Effect | None]"
EFFECTS: Mapping[type[ev.LogEvent], _Make] = {
    ev.ActivityScheduled: _start_activity,
    ev.ActivityCancelRequested: _cancel_activity,
    ev.TimerStarted: lambda c, e: fx.StartTimer(e.id, e.due) if _is_open(c, "timers", e) else None,
    ev.TimerCancelled: lambda _, e: fx.CancelTimer(e.id),
    ms.MessageAwaited: lambda c, e: e if _is_open(c, "waits", e) else None,
    ms.WaitCancelled: lambda _, e: e,
    ms.Subscribed: lambda _, e: e,
    ms.Unsubscribed: lambda _, e: e,
    ms.RequestAnswered: lambda _, e: None if e.again else e,
    ms.MembersAsked: lambda _, e: e,
    pl.PlaceAsked: lambda _, e: e,
    pl.PlaceNotWanted: lambda _, e: e,
    pl.PlaceFreed: lambda _, e: e,
    ev.ChildStarted: _new_child,
    ev.ChildCancelRequested: _cancel_child,
    ev.MessagePublished: lambda _, e: None if e.again else fx.Publish(e.id, e.name, e.data, e.key),
    ms.MessageSent: lambda _, e: None if e.again else e,
    ev.ProgressReported: lambda _, e: fx.Report(e.state),
    ev.CompensationScheduled: _start_compensation,
}


def effects_of(events: Iterable[ev.LogEvent], commands: Commands) -> list[fx.Effect]:
    """The effects of the commands among the events that are being written now, in their order."""
    effects: list[fx.Effect] = []
    for event in events:
        make = EFFECTS.get(type(event))
        effect = None if make is None else make(commands, event)
        if effect is not None:
            effects.append(effect)
    return effects


def outstanding(commands: Commands) -> list[fx.Effect]:
    """Everything that the run still waits for, as the effects that bring it about; nothing once it has ended.

    A `CancelActivity` stands for an activity that was asked to stop and has no recorded outcome. A run without code
    starts no activity.
    """
    state = commands.state
    if state.terminal is not None:
        return []
    effects: list[fx.Effect] = [*state.limits.values()]
    remembered = state.remembered
    for id, activity in state.activities.items():
        if ("activities", id) in remembered:
            continue
        if activity.cancel_requested:
            effects.append(fx.CancelActivity(id, idle=activity.idle))
        elif activity.definition is not None and (start := _start_activity(commands, activity.scheduled)) is not None:
            effects.append(start)
    _add_waits(effects, state, remembered)
    for id, child in state.children.items():
        if ("children", id) in remembered:
            continue
        effects.append(_start_child(commands, child.started))
        if child.cancel_requested:
            effects.append(_stop_child(commands, child.started))
    undoing = state.compensations.values()
    effects += [
        _start_compensation(commands, each.scheduled, each.failures, each.next_at, each.unheard) for each in undoing
    ]
    return effects


def _add_waits(effects: list[fx.Effect], state: State, remembered: Mapping[tuple[Kind, str], object]) -> None:
    """Add what brings about timers, messages, subscriptions and lists of members."""
    for id, timer in state.timers.items():
        if ("timers", id) not in remembered:
            effects.append(fx.StartTimer(id, timer.due))
    for id, wait in state.waits.items():
        if ("waits", id) not in remembered:
            effects.append(wait)
    effects += state.joining.values()
    effects += state.listing.values()
