"""Asks for undos: those at the end of a run, and early ones, of calls whose results the body does not want."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core.run.failures import undo_error
from romancy.core.run.outstanding import not_to_be_undone
from romancy.core.words import events as ev
from romancy.core.words.undo_events import UndoRegistered

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from romancy.core.fold.in_flight import Compensable
    from romancy.core.fold.state import State
    from romancy.core.run.commands import Commands

__all__ = ["undo_of", "undone_early"]


def undo_of(state: State, done: Compensable, *, early: bool = False) -> ev.CompensationScheduled:
    """The command that undoes this."""
    scheduled = done.scheduled
    id = f"compensate:{scheduled.id}"
    if isinstance(scheduled, UndoRegistered):
        return ev.CompensationScheduled(id, scheduled.id, "", scheduled.name, scheduled.args, early=early)
    activity = state.undoes(scheduled.name)
    if activity is None:
        raise not_to_be_undone(scheduled.name)
    compensation = activity.undo
    assert compensation is not None  # noqa: S101 - `undoes` returns only activities that have one
    result = done.result if compensation.takes_result else ev.NULL
    return ev.CompensationScheduled(
        id, scheduled.id, scheduled.name, compensation.name, scheduled.args, result, done.key, early
    )


async def undone_early(commands: Commands, is_meant: Callable[[Context], bool]) -> None:
    """Undo what the calls with these context variables have done, the last one first, while the body goes on.

    They were asked to stop. What is undone here, the end of the run does not undo again. If an undo fails for good, the
    others are carried out, and RetryExhaustedError tells of the first.
    """
    state, failures = commands.state, list[ev.CompensationFailed]()
    await commands.until(lambda: not _at_work(commands, is_meant))
    while done := _last_done(commands, is_meant):
        asked = commands.ask(undo_of(state, done, early=True))
        undo = state.compensations[asked.id]
        await commands.until(lambda: asked.id not in state.compensations)  # noqa: B023 - it is awaited in this turn
        if undo.failed is not None:
            failures.append(undo.failed)
    if failures:
        raise undo_error(failures[0])


def _at_work(commands: Commands, is_meant: Callable[[Context], bool]) -> bool:
    """Whether some of them may still do something that is to be undone, or are being undone."""
    state = commands.state
    for call in state.activities.values():
        if call.definition.undo is not None and call.context is not None and is_meant(call.context):
            return True
    undoing = [commands.contexts.get(one.scheduled.activity_id) for one in state.compensations.values()]
    return any(context is not None and is_meant(context) for context in undoing)


def _last_done(commands: Commands, is_meant: Callable[[Context], bool]) -> Compensable | None:
    for done in reversed(commands.state.to_compensate):
        context = commands.contexts.get(done.scheduled.id)
        if context is not None and is_meant(context):
            return done
    return None
