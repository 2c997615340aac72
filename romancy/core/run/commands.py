"""The requests that a workflow body can make, and how it gets the answers.

Each request becomes a command (compared with the log on replay) and a future. Each input that answers a command
resolves its future. User code reaches the run only through this module.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, ClassVar, TypeVar

from msgspec import structs

from romancy._start_options import kept
from romancy.core.fold.answers import ActivityCall, ChildAnswer
from romancy.core.fold.former_runs import seed_of
from romancy.core.fold.memory import what_of, without_number
from romancy.core.loop.answer import Answer
from romancy.core.loop.stable import make_future
from romancy.core.loop.thread_state import threads
from romancy.core.run.failures import activity_error, child_error
from romancy.core.run.message_commands import MessageCommands
from romancy.core.run.place_commands import PlaceCommands
from romancy.core.words import events as ev
from romancy.core.words import message_events as ms
from romancy.core.words import place_events as pl
from romancy.core.words import undo_events as un
from romancy.core.words.ids import automatic_child, derive
from romancy.core.words.shared_empty import NO_DICT
from romancy.errors import WorkflowCancelledError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from msgspec import Raw

    from romancy.core.words.definitions import ActivityDefinition, CalledWorkflow

__all__ = ["Commands", "current_commands"]

T = TypeVar("T")


class Commands(MessageCommands, PlaceCommands):
    """The requests of one run."""

    __slots__ = ()

    def activity(self, definition: ActivityDefinition, args: Raw, about: Raw | None = None) -> Answer:
        """Schedule an activity. The future brings its decoded result or its failure. `about` is shown with it."""
        name = definition.name
        if self.loop.dead or self.over:
            self._refuse()
        ids, id = self._ids, definition.given.id
        command = ev.ActivityScheduled(ids.activity(name) if id is None else ids.choose(id), name, args)
        if about is not None:
            command = structs.replace(command, about=about)
        undo = definition.undo
        if undo is not None:
            self._can_undo(definition)
        if self.state.memory is not None and self._remembers:
            command = self._with_key(definition, command)
        scheduled = self.ask(command, definition, id is not None)
        call = self.state.activities.get(scheduled.id)
        if call is None:
            return Answer(loop=self.loop)  # the run is torn down, and its code has caught every error
        make_future(call, loop=self.loop)
        call.commands, call.definition, call.since = self, definition, self.activation
        call.context = context = copy_context() or None
        if context is not None and undo is not None:
            self.keep(scheduled.id, context)
        return call

    def child(self, definition: CalledWorkflow, input: Raw) -> tuple[ev.ChildStarted, ChildAnswer]:
        """Start a child workflow. The future brings its decoded result or its failure."""
        self._require_open()
        id = self._ids.number("child", definition.name)
        if self.started.run > 1:
            id = f"{id}@{self.started.run}"  # tells the end of this run's child from that of a former run's child
        given = definition.given
        former = self._former_child(definition, input) if self._remembers else None
        if former is None:
            instance_id = given.instance_id
            if instance_id is None:
                instance_id = automatic_child(self.instance_id, self.started.nonce, id)
        else:
            id, instance_id = former.id, former.instance_id
        command = ev.ChildStarted(
            id, definition.name, instance_id, input, given.delay, former is not None, due=given.at,
            detached=given.detached, **kept(given),
        )  # fmt: skip
        started = self.ask(command, definition)
        if self._children is NO_DICT:
            self._children = {}
        answer = self._children[started.id] = ChildAnswer(loop=self.loop)
        answer.commands = self
        answer.id = started.id
        answer.definition = definition
        return started, answer

    def drop_activity(self, call: ActivityCall) -> None:
        """Ask the activity to stop, if it has not ended."""
        if call.id in self.state.activities:
            self.ask(ev.ActivityCancelRequested(call.id, call.since == self.activation))

    def drop_child(self, child: ChildAnswer) -> None:
        """The wait for the child is given up: ask it to stop, if this run is its keeper."""
        its = self.state.children.get(child.id)
        if its is not None and not its.started.detached:
            self.stop_child(child)

    def stop_child(self, child: ChildAnswer) -> None:
        """Ask the child to stop, if it has not ended and was not asked before."""
        its = self.state.children.get(child.id)
        if its is not None and not its.cancel_requested:
            self.ask(ev.ChildCancelRequested(child.id))

    def publish(self, name: str, data: Raw, *, key: str | None = None) -> None:
        """Send a message once this activation is durable."""
        self._require_open()
        again = self._remembers and self._memory.look("messages", name, what_of(data, key)) is not None
        self.ask(ev.MessagePublished(self._ids.number("message", name), name, data, key, again))

    def write(self, stream: str, data: Raw) -> None:
        """Write to a stream once this activation is durable."""
        self._require_open()
        again = self._remembers and self._memory.look("writes", stream, what_of(data)) is not None
        self.ask(ev.StreamWritten(self._ids.number("stream", stream), stream, data, again))

    def report(self, state: Raw) -> None:
        """Show the progress of the workflow to the outside."""
        self._require_open()
        self.ask(ev.ProgressReported(state))

    def patched(self, name: str) -> bool:
        """Whether this history takes the new branch; decided once per run and recorded in the log."""
        self._require_open()
        known = self._patches.get(name)
        if known is None:
            known = self.matcher is None or self.matcher.holds_patch(name)
            if self._patches is NO_DICT:
                self._patches = {}
            self._patches[name] = known
            if known:
                self.ask(ev.PatchMarked(name))
        return known

    def on_undo(self, definition: ActivityDefinition, args: Raw) -> str:
        """Register an activity to be carried out if the run fails. Returns the id of the undo."""
        self._require_open()
        self._can_undo(definition)
        id = f"undo:{self._ids.number('undo', definition.name)}"
        registered = self.ask(un.UndoRegistered(id, definition.name, args, self.state.latest), definition)
        self.state.register(registered.id, definition)
        if context := copy_context():
            self.keep(registered.id, context)
        return registered.id

    def take_back(self, undo_id: str) -> None:
        """Take a registered undo back. Nothing happens if it was taken back before, or if the run has ended."""
        if self.over or not any(one.scheduled.id == undo_id for one in self.state.to_compensate):
            return
        self._require_open()
        self.ask(un.UndoTakenBack(undo_id))

    def draw(self, kind: str) -> bytes:
        """The next 32 pseudo-random bytes of this kind. Each kind has its own count."""
        self._require_open()
        if self._draws is NO_DICT:
            self._draws = {}
        number = self._draws[kind] = self._draws.get(kind, 0) + 1
        started = self.started
        for drawn in started.drawn if isinstance(started, ev.WorkflowRetried) else ():
            if number <= drawn.until.get(kind, 0):
                return derive(drawn.identity, drawn.seed, kind, number)
        return derive(self.instance_id, seed_of(started), kind, number)

    def holders(self) -> list[object]:
        """Everything that may still continue: tasks, generators and timers."""
        return [*self.loop.holders(), *self._timers.values()]

    def _can_undo(self, definition: ActivityDefinition) -> None:
        """Record that the run may have to undo this activity, which is then found by its name."""
        known = self.state.compensable.get(definition.name)
        if known is not None and _owner(known) is not _owner(definition):
            raise self.loop.forbid(
                f"methods of two objects run as the activity {definition.name!r}, and an undo would not tell which "
                "object is meant: give each a name of its own"
            )
        self.state.can_undo(definition)

    # ── what former runs left ───────────────────────────────────────────────────────────────────────────────────

    def _with_key(self, definition: ActivityDefinition, command: ev.ActivityScheduled) -> ev.ActivityScheduled:
        """The call with the key that a former run gave it, unless its effect was undone."""
        chosen = without_number(command.name, command.id)
        former = self._memory.call("activities", command.name, command.args, chosen, of=definition)
        if former is None or former.undone:
            return command
        return structs.replace(command, key=former.key)

    def _former_child(self, definition: CalledWorkflow, input: Raw) -> ev.ChildStarted | None:
        chosen, delay = definition.given.instance_id or "", definition.given.delay
        former = self._memory.call("children", definition.name, input, chosen, delay, of=definition)
        return None if former is None or former.undone else former.asked

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────────

    def holds(self, value: Raw | bytes) -> bool:
        """Whether the log holds this value in a command of the activation that is replayed."""
        return self.matcher is not None and self.matcher.holds(value)

    @property
    def replaying(self) -> bool:
        """Whether the code now running has run before (or runs in a teardown)."""
        return self.matcher is not None or self.loop.dead

    def sleeps(self, waiter: object) -> bool:
        """Whether a timer that is armed will wake this future."""
        return any(timer.is_sleep_of(waiter) for timer in (*self._timers.values(), *self.loop.started))

    def write_timers(self) -> None:
        """Turn the timers that the loop armed and disarmed into commands.

        A timer that was armed and disarmed in the same activation leaves no command.
        """
        loop = self.loop
        ended = self.state.terminal is not None
        for timer in loop.started:
            if not timer.cancelled() and not ended:
                id = self._ids.number("timer", "timer")
                command = self.ask(ev.TimerStarted(id, timer.when(), self.due(timer.when()), timer.delay))
                timer.id = command.id
                if self._timers is NO_DICT:
                    self._timers = {}
                self._timers[command.id] = timer
        for timer in loop.cancelled:
            if timer.id is not None and not ended and self._timers.pop(timer.id, None) is not None:
                self.ask(ev.TimerCancelled(timer.id))
        loop.started.clear()
        loop.cancelled.clear()

    def catches_up(self) -> bool:
        """Whether the run acts on deferred inputs at the present time. A history without `WorkflowCaughtUp` did not."""
        if self.matcher is not None and not self.matcher.caught_up:
            return False
        self.ask(ev.WorkflowCaughtUp())
        if self.forked:
            self.forked = False
            if self._draws:
                self.ask(ev.DrawsCounted(dict(self._draws)))
        if self.regaining:
            self.give_up_regaining()
        return True

    # ── answering ───────────────────────────────────────────────────────────────────────────────────────────────

    def _activity_completed(self, event: ev.ActivityCompleted, call: ActivityCall) -> None:
        if self.freeing:
            self.free_behind(event.id)
        if not call.done():
            call.set_result(call.definition.read_result(event.result))

    def _attempt_failed(self, event: ev.ActivityAttemptFailed, call: ActivityCall) -> None:
        told = (f"{event.error.type}: {event.error.message}",)
        if event.failures:  # the log may lose the former ones, and this one
            call.told = told
            self.position -= 1
        else:
            call.told += told

    def _undo_failed(self, event: ev.CompensationAttemptFailed) -> None:
        if event.failures:
            self.position -= 1

    def _activity_failed(self, event: ev.ActivityFailed, call: ActivityCall) -> None:
        if self.freeing:
            self.free_behind(event.id)
        if call.done():
            return
        default = self._default(call)
        if default is None:
            call.set_exception(activity_error(event, call.definition, call.told))
        else:
            taken = self.ask(ev.DefaultTaken(event.id, default))
            call.set_result(call.definition.read_default(taken.result))

    def _default(self, call: ActivityCall) -> Raw | None:
        """What the call returns if it failed: what a former run got from it, or the default of the call."""
        former = None if self.state.memory is None else self._memory.given.get(("activities", call.id))
        if former is not None and former.stands and former.default is not None:
            return former.default
        default: Raw | None = call.definition.given.default
        return default

    def _activity_cancelled(self, event: ev.ActivityCancelled, call: ActivityCall) -> None:
        if self.freeing:
            self.free_behind(event.id)
        call.cancel()

    def _timer_fired(self, event: ev.TimerFired) -> None:
        timer = self._timers.pop(event.id)
        if event.again:
            self.loop.skip_to(timer.when())
        self.loop.fire(timer)

    def _child_completed(self, event: ev.ChildCompleted) -> None:
        answer = self._children.pop(event.id, None)
        if answer is not None and not answer.done():
            answer.set_result(answer.definition.read_result(event.result))

    def _child_failed(self, event: ev.ChildFailed) -> None:
        answer = self._children.pop(event.id, None)
        if answer is not None and not answer.done():
            answer.set_exception(child_error(event, self.instance_id, answer.definition))

    def _child_cancelled(self, event: ev.ChildCancelled) -> None:
        answer = self._children.pop(event.id, None)
        if answer is not None and not answer.done():
            answer.set_exception(WorkflowCancelledError(f"child workflow {event.id} was cancelled"))

    deliveries: ClassVar[Mapping[type[ev.LogEvent], Callable[..., None]]] = {
        ev.ActivityCompleted: _activity_completed,
        ev.ActivityAttemptFailed: _attempt_failed,
        ev.CompensationAttemptFailed: _undo_failed,
        ev.ActivityFailed: _activity_failed,
        ev.ActivityCancelled: _activity_cancelled,
        ev.TimerFired: _timer_fired,
        ms.MessageReceived: MessageCommands.received,
        ms.WaitTimedOut: MessageCommands.timed_out,
        ms.SubscriptionGranted: MessageCommands.granted,
        ms.SubscriptionRefused: MessageCommands.refused,
        ms.MembersListed: MessageCommands.listed,
        pl.PlaceGranted: PlaceCommands.place_granted,
        pl.PlaceRefused: PlaceCommands.place_refused,
        ev.ChildCompleted: _child_completed,
        ev.ChildFailed: _child_failed,
        ev.ChildCancelled: _child_cancelled,
    }
    """Each function resumes the code that awaits its input. Those of activities are given the call with it.

    Raises SerializationError when a result no longer fits its type.
    """


def _owner(definition: ActivityDefinition) -> object:
    """The object whose method it is. None for a function."""
    return getattr(definition.fn, "__self__", None)


def current_commands() -> Commands | None:
    """The commands of the run that this code belongs to; None outside of any workflow."""
    loop = threads.state.running
    commands: Commands | None = None if loop is None else loop.commands
    return commands
