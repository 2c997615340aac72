"""Ends a run: takes the body's outcome, settles what is in flight, compensates, and asks for one terminal event.

Only a failure or a cancellation settles and compensates. Each step is a command that waits for its recorded outcome.
After a crash in the middle, the run continues with the next step and repeats none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from romancy.core.loop.stable import error_of, result_of
from romancy.core.run.asking import SECOND
from romancy.core.run.place_commands import Skipped
from romancy.core.run.undoing import undo_of
from romancy.core.run.unfinished_tasks import left_behind, without_waits
from romancy.core.words import events as ev
from romancy.errors import (
    NonDeterminismError,
    PayloadTooLargeError,
    SerializationError,
    UnawaitedCallError,
    WorkflowTimeoutError,
)
from romancy.serialization import describe_exception

if TYPE_CHECKING:
    from collections.abc import Iterator

    from msgspec import Raw

    from romancy.core.loop.stable import StableTask
    from romancy.core.run.commands import Commands
    from romancy.core.run.workflow_definition import WorkflowDefinition

__all__ = ["ContinueAsNew", "Ending"]

_CALLS_TOLD = 5
_FOREIGN = ("attached to a different loop", "Task got bad yield", "yield was used instead of yield from")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for member in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(member)
    else:
        yield error


def _unawaited(dropped: str) -> ev.WorkflowFailed:
    return ev.WorkflowFailed(describe_exception(UnawaitedCallError(dropped)))


def _some_of(texts: list[str]) -> str:
    more = f", and {len(texts) - _CALLS_TOLD} more" if len(texts) > _CALLS_TOLD else ""
    return ", ".join(texts[:_CALLS_TOLD]) + more


class ContinueAsNew(BaseException):
    """Raised by `recur`: the run ends here and the next one begins with this input. Not an error to catch."""

    def __init__(self, input: Raw) -> None:
        super().__init__("the workflow continues as a new run")
        self.input = input


class Ending:
    """Ends the run once the workflow body has ended."""

    __slots__ = ("_commands", "_verdict", "_workflow")

    def __init__(self, workflow: WorkflowDefinition, commands: Commands) -> None:
        self._workflow = workflow
        self._commands = commands
        self._verdict: ev.Command | None = None

    def begin(self, body: StableTask[Any]) -> None:
        """Stop the other tasks of the finished body, and act on its outcome.

        Raises NonDeterminismError when there is no valid outcome: the body left the loop, or returned a value that
        cannot be written.
        """
        commands, loop = self._commands, self._commands.loop
        commands.over = True
        if commands.state.limits:
            commands.state.end_limit()
        self._verdict = verdict = self._judge(body)
        loop.spent = 0
        if loop.tasks or loop.generators:
            self._stop_the_rest()
        if commands.calls.made:
            commands.calls.close()
        if type(verdict) is not ev.WorkflowCompleted:
            self._settle_activities()
            if type(verdict) is not ev.WorkflowContinued:
                self._settle_children()

    def _dropped(self) -> str:
        """The error text about calls that were never awaited and that no code holds; empty if there are none."""
        commands = self._commands
        dropped = commands.calls.dropped(commands.holders(), (type(commands), type(commands.loop)))
        return self._of_calls([str(call) for call in dropped])

    def _lost(self) -> str:
        """The error text about calls that have not begun, and about what tasks wait for, when the body has returned."""
        commands = self._commands
        if not commands.calls.all:
            return self._dropped()
        calls, tasks = without_waits(commands, commands.calls.waiting()), left_behind(commands)
        if not (calls or tasks):
            return ""
        return "; ".join(filter(None, [self._of_calls([str(call) for call in calls]), self._of_tasks(tasks)]))

    def _of_calls(self, calls: list[str]) -> str:
        if not calls:
            return ""
        return (
            f"workflow {self._workflow.name} ended with a call that was never awaited, so the call did not happen: "
            f"{_some_of(calls)}. Write `await` before it, or hand it to a task that you await; close() one that is not "
            "wanted"
        )

    def _of_tasks(self, tasks: list[str]) -> str:
        if not tasks:
            return ""
        return (
            f"workflow {self._workflow.name} ended while a task that nobody awaited had work to do, so its work was "
            f"dropped: {_some_of(tasks)}. Await the task, or cancel() it if it is not wanted"
        )

    def _stop_the_rest(self) -> None:
        """Cancel the running tasks, and finish the unfinished async generators in tasks."""
        loop = self._commands.loop
        self._cancel_tasks()
        if loop.finish_generators():
            loop.drive()
            self._cancel_tasks()

    def _cancel_tasks(self) -> None:
        loop = self._commands.loop
        unfinished = loop.unfinished()
        for task in unfinished:
            task.cancel()
        if unfinished:
            loop.drive()

    def abandon(self, reason: str) -> None:
        """End the run from its log alone: settle and compensate, without running the body."""
        self._commands.ask(ev.WorkflowAbandoned(reason))
        self.take_over(reason)
        self._settle_activities()
        self._settle_children()

    def take_over(self, reason: str) -> None:
        """End the run as cancelled from now on."""
        self._commands.over = True
        self._verdict = ev.WorkflowCancelled(reason)

    def undo_next(self) -> None:
        """Undo what was done last, of what is undone before the instance is rewound, unless an undo is under way."""
        state = self._commands.state
        if not (state.compensations or state.is_undone):
            self._compensate()

    def _judge(self, body: StableTask[Any]) -> ev.Command:
        commands = self._commands
        if body.cancelled():
            return self._stopped(commands.state.cancel)
        error = error_of(body)
        if error is None:
            lost = self._lost() if commands.calls.made or commands.loop.tasks else ""
            return _unawaited(lost) if lost else ev.WorkflowCompleted(self._write(result_of(body)))
        dropped = self._dropped()
        if isinstance(error, Skipped):
            return ev.WorkflowCancelled(str(error))
        leaves = list(_leaves(error))
        for leaf in leaves:
            if isinstance(leaf, NonDeterminismError):
                raise leaf
            if isinstance(leaf, RuntimeError) and any(words in str(leaf) for words in _FOREIGN):
                raise NonDeterminismError(
                    f"the workflow awaited something that belongs to another event loop ({leaf}): "
                    "move it into an activity"
                ) from leaf
        if isinstance(leaves[0], ContinueAsNew):
            following = ev.WorkflowContinued(leaves[0].input, self._commands.started.run + 1)
            return _unawaited(dropped) if dropped else following
        info = describe_exception(error)
        return ev.WorkflowFailed(msgspec.structs.replace(info, trace=f"{info.trace}\n{dropped}") if dropped else info)

    def _stopped(self, asked: ev.CancelRequested | None) -> ev.WorkflowFailed | ev.WorkflowCancelled:
        """The end of a run that was asked to stop. Its limit is a failure, other requests are not."""
        if asked is None:
            return ev.WorkflowCancelled("cancelled by the workflow itself")
        if not asked.limit:
            return ev.WorkflowCancelled(asked.reason)
        late = f"workflow {self._workflow.name} reached its limit of {asked.limit / SECOND:g} s"
        return ev.WorkflowFailed(describe_exception(WorkflowTimeoutError(late)))

    def _write(self, result: object) -> Raw:
        try:
            return self._workflow.write_result(result)
        except (SerializationError, PayloadTooLargeError) as error:
            raise NonDeterminismError(f"the workflow's result cannot be written: {error}") from error

    def _settle_activities(self) -> None:
        commands = self._commands
        for id, activity in list(commands.state.activities.items()):
            if not activity.cancel_requested:
                commands.ask(ev.ActivityCancelRequested(id))

    def _settle_children(self) -> None:
        commands = self._commands
        for id, child in list(commands.state.children.items()):
            if not (child.cancel_requested or child.started.detached):
                commands.ask(ev.ChildCancelRequested(id))

    def advance(self) -> None:
        """Take the next step towards the end, if nothing is in flight any more."""
        state, verdict = self._commands.state, self._verdict
        if verdict is None or state.terminal is not None:
            return
        if type(verdict) is ev.WorkflowCompleted:
            if state.compensations:
                return  # they were begun early, by a task that the body has left behind
            self._commands.ask(verdict if state.memory is None else self._with_unclaimed(verdict))
        elif type(verdict) is ev.WorkflowContinued:
            self._advance_to_the_next_run(verdict)
        elif isinstance(verdict, (ev.WorkflowFailed, ev.WorkflowCancelled)):
            self._advance_to_failure(verdict)

    def _with_unclaimed(self, verdict: ev.Command) -> ev.Command:
        memory = self._commands.state.memory
        left = () if memory is None else memory.unclaimed()
        return msgspec.structs.replace(verdict, unclaimed=left) if left else verdict

    def _advance_to_the_next_run(self, verdict: ev.WorkflowContinued) -> None:
        """Wait for all activities first: a later outcome could be mistaken for that of an activity of the next run.

        Wait for subscriptions as well, which the next run keeps, and for lists of members, whose ids it uses again.
        """
        state = self._commands.state
        if state.activities or state.joining or state.listing or state.compensations:
            return
        if state.cancel is None:
            self._commands.ask(verdict)
            return
        self._verdict = self._stopped(state.cancel)
        self._settle_children()
        self._advance_to_failure(self._verdict)

    def _advance_to_failure(self, verdict: ev.WorkflowFailed | ev.WorkflowCancelled) -> None:
        state = self._commands.state
        if state.activities or state.compensations:
            return
        if not all(child.started.detached for child in state.children.values()):
            return
        if state.to_compensate:
            self._compensate()
            return
        left = msgspec.structs.replace(verdict, uncompensated=state.uncompensated, unknown=state.left_unknown())
        self._commands.ask(self._with_unclaimed(left))

    def _compensate(self) -> None:
        state = self._commands.state
        self._commands.ask(undo_of(state, state.to_compensate[-1]))
