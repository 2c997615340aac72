"""One run of one workflow: events in, events and effects out. The engine enters the core only here.

A run is fed inputs (`activate`) or its recorded past (`replay`), by one thread at a time. It holds no clock and does
nothing by itself. After any error, `close` the run and replay a new one from the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy._start_options import kept
from romancy.core.fold.kinds import FOLDS
from romancy.core.fold.recall import Recall
from romancy.core.fold.state import State
from romancy.core.loop.calls import rules_after
from romancy.core.loop.deterministic_loop import new_loop, orphans
from romancy.core.loop.places import place_of
from romancy.core.run.asking import SECOND
from romancy.core.run.commands import Commands
from romancy.core.run.divergence import DivergedError, describe, divergence
from romancy.core.run.ending import Ending
from romancy.core.run.match import Matcher
from romancy.core.run.outstanding import effects_of, outstanding
from romancy.core.run.segments import Segment, before_retry, begin_of_retry, from_last_start, segments_of
from romancy.core.words import events as ev
from romancy.core.words.effects import Activation
from romancy.core.words.ids import derive
from romancy.core.words.messages import Subscription
from romancy.core.words.shared_empty import NO_LIST
from romancy.core.words.undo_events import UndoingBegan
from romancy.errors import HistoryCorruptError, NonDeterminismError, SerializationError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
    from typing import Any, TypeAlias

    from romancy.core.fold.answers import ActivityCall
    from romancy.core.loop.body import BodyTask
    from romancy.core.run.workflow_definition import WorkflowDefinition
    from romancy.core.words.definitions import ActivityDefinition
    from romancy.core.words.effects import Effect, RunEnd, StopAt
    from romancy.core.words.messages import Message
    from romancy.serialization import ErrorInfo
    from romancy.status import Status

    Around: TypeAlias = Callable[[Commands, Coroutine[Any, Any, Any]], Coroutine[Any, Any, Any]]

__all__ = ["Run", "conditions_of_body", "place_of_body"]


class Run:
    """Drives `workflow` as instance `instance_id`. `code` and `runtime` only serve the report of a divergence.

    With `activities`, it runs without the workflow's code, which does not fit or is missing. It folds the log and keeps
    the inputs that come in. A `CancelRequested` ends the instance, with the compensations of these activities that the
    log names.

    `known` holds the activities that undo what former runs did, for a retry that does not call them itself.
    `stored` tells how many bytes are stored for a value, which decides whether it is too large. `hides`: what is stored
    is hidden from the database, which then knows nothing of the data of messages. `lines` keeps what the
    body logs. `around` puts blocks around the body, without which no call is made.
    """

    __slots__ = (
        "_around",
        "_body",
        "_code",
        "_commands",
        "_ending",
        "_has_code",
        "_loop",
        "_runtime",
        "_stop_at",
        "_was_parked",
        "deferred",
        "instance_id",
        "parked",
        "state",
        "workflow",
    )

    def __init__(
        self,
        workflow: WorkflowDefinition,
        *,
        instance_id: str,
        code: str = "",
        runtime: str = "",
        activities: Mapping[str, ActivityDefinition] | None = None,
        known: Mapping[str, ActivityDefinition] | None = None,
        stored: Callable[[bytes], int] = len,
        hides: bool = False,
        lines: object = None,
        around: Around | None = None,
    ) -> None:
        self.workflow = workflow
        self.instance_id = instance_id
        self.parked: str | None = None
        self._code = code
        self._runtime = runtime
        self._around = around
        self._has_code = activities is None
        self.state = State()
        if known is not None:
            self.state.known = known
        for definition in () if activities is None else activities.values():
            if definition.undo is not None:
                self.state.can_undo(definition)
        self._loop = new_loop(instance_id)
        self._commands = Commands(instance_id, self.state, self._loop)
        self._commands.stored = stored
        self._commands.hides = hides
        self._commands.lines = lines
        self._loop.commands = self._commands
        self._ending = Ending(workflow, self._commands)
        self._body: BodyTask | None = None
        self.deferred: tuple[tuple[ev.Input, ActivityCall | None], ...] = ()
        """Inputs that the run has not acted on, each with the call that it answers."""
        self._was_parked = False
        """Whether it could not act on some of them."""
        self._stop_at: StopAt | None = None
        """The limit of the instance, from when the body begins until the engine is told of it."""

    @property
    def began_at(self) -> int:
        """The time (µs) at which the body was first driven; 0 before that."""
        return self._commands.began

    @property
    def last_time(self) -> int:
        """The time (µs) of the latest input; the next one must not be earlier."""
        return self.state.time

    @property
    def resumable(self) -> bool:
        """Whether inputs wait that the run has not acted on. Feed `WorkflowResumed` to have it act on them.

        Those for which it waits for a place under a limit come with that place.
        """
        return bool(self.deferred) and not self._commands.regaining

    @property
    def acts_late(self) -> bool:
        """Whether these are inputs for which the log has refused what the run had decided (`InputDeferred`).

        The next input should be `WorkflowResumed`, or a request to cancel, which the run heeds before it acts on them:
        somebody was promised that it would stop, and nobody was told what it had decided.
        """
        late = bool(self.deferred) and not self._was_parked and self._body is not None
        return late and not self._commands.resting

    def activate(self, inputs: Iterable[ev.Input]) -> Activation:
        """Feed inputs, in the order of their times. Returns what to append and what to do once it is durable.

        The events are one commit. If the append is refused, or the run is parked, the run must be closed.
        """
        state, loop, commands = self.state, self._loop, self._commands
        events: list[ev.LogEvent] = []
        commands.asked = events
        dropped: list[ev.Input] = []
        answered = 0
        loop.enter()
        try:
            for event in inputs:
                if state.accepts(event) or self._gives_up(event):
                    call = FOLDS[type(event)](state, event)
                    events.append(event)
                    answered = len(events)
                    self._act(event, call)
                    if state.memory is not None:
                        answered = self._answer_from_memory(events, answered)
                else:
                    dropped.append(event)
        finally:
            loop.leave()
            commands.asked = NO_LIST
        end = state.terminal
        if events and end is None and not state.activities and self.parked is None and not self._has_prospects():
            events[answered:] = [self._park(self._dead_end())]
        self._commands.position += len(events)
        warnings, loop.complaints = loop.complaints, ()
        effects = effects_of(events, commands)
        if self._stop_at is not None:
            effects.insert(0, self._stop_at)
            self._stop_at = None
        return Activation(
            events,
            effects,
            state.status(),
            state.wake_at() if state.due else None,
            None if end is None else state.outcome(),
            self.parked,
            self._successor(end) if type(end) is ev.WorkflowContinued else None,
            tuple(dropped) if dropped else (),
            warnings,
        )

    def _answer_from_memory(self, events: list[ev.LogEvent], answered: int) -> int:
        """Feed the answers of former runs, as far as the commit has room.

        Returns how many events are answered.
        """
        room = _ROOM
        while self.parked is None and room > 0 and (self._has_code or self.state.abandoned):
            event = self.state.next_answer()
            if event is None:
                break
            call = self.state.apply(event)
            events.append(event)
            answered = len(events)
            self._act(event, call)
            room -= sum(map(_size, events[answered - 1 :]))
        return answered

    @property
    def remembers(self) -> bool:
        """Whether former runs have answers for which the last commit had no room.

        Feed `WorkflowResumed` to continue.
        """
        return bool(self.state.remembered) and (self._has_code or self.state.abandoned)

    def recall(self, commits: Iterable[Sequence[ev.LogEvent]]) -> None:
        """Read the commits of the runs that this one retries, before it begins."""
        recall = self.state.recall
        if not isinstance(recall, Recall):
            recall = self.state.recall = Recall(self.instance_id)
        for commit in commits:
            for event in commit:
                recall.follow(event)

    def replay(self, commits: Iterable[Sequence[ev.LogEvent]]) -> None:
        """Feed the recorded commits of this run. The first may begin with the end of the run before.

        Commits of failed runs that stand before it are recalled.

        Raises NonDeterminismError when the code and the log differ (the run is then parked and must be closed), and
        HistoryCorruptError when the log itself makes no sense.
        """
        if isinstance(commits, list):
            begins = begin_of_retry(commits)
            if begins is not None:
                former, retry = before_retry(commits[begins])
                if begins or former:
                    self.recall([*commits[:begins], former])
                    commits = [retry, *commits[begins + 1 :]]
        page: list[Segment] = []
        for commit in commits:
            segments = segments_of(commit)
            if self.state.started is None and not page:
                segments = from_last_start(segments)
            page += segments
            if len(page) >= _PAGE:
                self._repeat_all(page)
                page = []
        self._repeat_all(page)

    def _repeat_all(self, segments: list[Segment]) -> None:
        self._loop.enter()
        try:
            for event, recorded in segments:
                self._repeat(event, recorded)
        finally:
            self._loop.leave()

    def refusal_of(self, wait_id: str, message: Message) -> ErrorInfo | None:
        """Why the body refuses a message that a `judged` wait fits. None: it takes it. The run does not move."""
        return self._commands.refusal_of(wait_id, message)

    def outstanding(self) -> list[Effect]:
        """What the run waits for, as effects to be carried out after a replay."""
        self._stop_at = None  # it is one of these
        return outstanding(self._commands)

    def outcome(self) -> RunEnd | None:
        """How the run ended, or None while it has not."""
        return self.state.outcome()

    def status(self) -> Status:
        return self.state.status()

    def close(self) -> None:
        """Tear the run down. Its user code gives no command, callback or log line afterwards."""
        self._body = None
        self._loop.teardown()
        self._commands.contexts.clear()

    def __del__(self) -> None:
        """Have the next new run tear this one down, if it was collected without being closed."""
        loop = getattr(self, "_loop", None)
        if loop is not None and not loop.dead:
            orphans.append(loop)

    # ── one input ───────────────────────────────────────────────────────────────────────────────────────────────

    def _act(self, event: ev.Input, call: ActivityCall | None) -> None:  # noqa: C901, PLR0912 - one frame for each input
        """Act on an input and on those deferred before it. What follows from them is asked for."""
        commands, loop, state = self._commands, self._loop, self.state
        if (
            not self._has_code
            or self.parked is not None
            or type(event) in _WITHOUT_CODE
            or (commands.resting and not commands.may_go_on(event))
        ):
            self._keep(event, call)
            return
        commands.activation += 1
        before = len(commands.asked)
        todo: tuple[tuple[ev.Input, ActivityCall | None], ...] = ((event, call),)
        try:
            caught_up = False
            if self.deferred:
                todo = self._with_deferred(event, call)
                caught_up = commands.catches_up()
            for each, its_call in todo:
                at = state.time if caught_up else each.at
                loop.spent = 0
                if each is state.started:
                    self._begin(commands.started, at)
                now = (at - commands.began) / SECOND + loop.skipped
                if now > loop.now:  # noqa: PLR1730 - a call of `max` costs as much as ten lines
                    loop.now = now
                deliver = commands.deliveries.get(type(each))
                try:
                    if deliver is None:
                        if type(each) is ev.CancelRequested:
                            self._cancel(each)
                    elif its_call is None:
                        deliver(commands, each)
                    else:
                        deliver(commands, each, its_call)
                except SerializationError as error:
                    raise self._misfit(error) from error
                body = self._body
                if body is not None and (body.due or (body.waits_on is not None and body.waits_on.done())):
                    body.step()
                body = None  # from Python 3.12 on the traceback of its error holds this frame
                if loop.ready or loop.abandoned:
                    loop.drive()
                if loop.conditions and not getattr(each, "failures", 0):
                    loop.meet_conditions()
                if loop.violation is not None or (self._body is not None and self._body.done()):
                    self._conclude()
            if loop.started or loop.cancelled:
                commands.write_timers()
            if loop.generators:
                self._finish_lost_generators()
            if state.held:
                commands.rest()
        except NonDeterminismError as error:
            if commands.matcher is not None:
                raise
            commands.asked[before:] = [self._park(str(error))]

    def _with_deferred(
        self, event: ev.Input, call: ActivityCall | None
    ) -> tuple[tuple[ev.Input, ActivityCall | None], ...]:
        """The input and those deferred before it, in the order in which the run acts on them."""
        cancels = self.acts_late and type(event) is ev.CancelRequested and not event.limit
        deferred, self.deferred, self._was_parked = self.deferred, (), False
        return ((event, call), *deferred) if cancels else (*deferred, (event, call))

    def _keep(self, event: ev.Input, call: ActivityCall | None) -> None:
        """Record that the run cannot act on the input now, or end a run without code."""
        if type(event) in _WITHOUT_CODE:
            return
        if self.parked is not None:
            self._commands.asked.append(self._park(self.parked))
        elif self._has_code:
            self.deferred += ((event, call),)  # until it has its places again
        else:
            self._wind_up(event)

    def _gives_up(self, event: ev.Input) -> bool:
        """Whether the input is a cancellation, the first or a later one, that ends a run without code."""
        if self._has_code or not isinstance(event, ev.CancelRequested):
            return False
        state = self.state
        return not state.abandoned and state.terminal is None and state.undoing is None and state.is_meant(event)

    def _wind_up(self, event: ev.Input) -> None:
        """Keep the inputs of a run without code, until a cancellation ends the run from its log."""
        commands = self._commands
        commands.activation += 1
        if self.state.undoing is not None:
            self.deferred = ()
            self._ending.undo_next()
            return
        if isinstance(event, ev.CancelRequested):
            self._ending.abandon(event.reason)
        elif not self.state.abandoned:
            parked = ev.WorkflowParked(f"no code of workflow {self.workflow.name} fits the log")
            self.state.apply(parked)
            commands.asked.append(parked)
            return
        self.deferred = ()  # the log has them, and only code could act on them
        self._ending.advance()

    def _park(self, reason: str) -> ev.WorkflowParked:
        self.parked = reason
        parked = ev.WorkflowParked(reason)
        self.state.apply(parked)
        return parked

    def _repeat(self, event: ev.Input, recorded: list[ev.Command]) -> None:
        self._commands.position += 1
        if not self.state.accepts(event) and not (recorded and isinstance(recorded[0], ev.WorkflowAbandoned)):
            raise HistoryCorruptError(f"instance {self.instance_id}: {describe(event)} answers nothing in the log")
        call = self.state.apply(event)
        if type(event) in _WITHOUT_CODE:
            if type(event) is ev.WorkflowForked:
                self._fork(event)
            elif type(event) is UndoingBegan:
                self._has_code, self.deferred = False, ()
            return
        if not recorded and isinstance(event, ev.WorkflowStarted):
            # Written by a process without a worker: nothing was decided yet. `WorkflowResumed` drives it.
            self.deferred += ((event, call),)
            return
        if recorded and type(recorded[0]) in _NOT_ACTED_ON:
            self.state.apply(recorded[0])
            self.deferred += ((event, call),)
            self._was_parked |= type(recorded[0]) is ev.WorkflowParked
            self._commands.position += 1
            return
        if not self._has_code or self.state.abandoned or (recorded and type(recorded[0]) is ev.WorkflowAbandoned):
            self._repeat_without_code(recorded)
            return
        matcher = self._commands.matcher = Matcher(recorded)
        self._commands.asked = []
        try:
            self._act(event, call)
            if matcher.diverged:
                raise self._diverged(event, matcher)
        except NonDeterminismError as error:
            self.parked = str(error)
            raise
        finally:
            self._commands.matcher, self._commands.asked = None, NO_LIST
        self._commands.position += len(recorded)

    def _fork(self, event: ev.WorkflowForked) -> None:
        """What stands before was copied. The run goes on by itself, as another instance."""
        commands, started = self._commands, self._commands.started
        commands.instance_id = started.identity or self.instance_id
        commands.forked = True
        commands.regain_as_fork()
        if self._body is None:
            was = [(started if isinstance(each, ev.WorkflowStarted) else each, call) for each, call in self.deferred]
            self.deferred = tuple(was)
        self.deferred += ((event, None),)

    def _repeat_without_code(self, recorded: list[ev.Command]) -> None:
        if self.state.undoing is not None:
            self.deferred = ()
        for command in recorded:
            self.state.apply(command)
            if isinstance(command, ev.WorkflowAbandoned):
                self._has_code = False
                self._ending.take_over(command.reason)
        self._commands.position += len(recorded)

    def _finish_lost_generators(self) -> None:
        """Finish unfinished async generators when nothing else can make the run continue."""
        loop = self._loop
        while loop.generators and loop.idle and not self._has_prospects() and loop.finish_lost_generators():
            loop.drive()
            self._conclude()
            if loop.started or loop.cancelled:
                self._commands.write_timers()

    def _begin(self, started: ev.WorkflowStarted, at: int) -> None:
        """Make the body, which is driven from this time on."""
        loop, commands = self._loop, self._commands
        commands.began = at
        if started.identity:
            loop.identity = commands.instance_id = started.identity
        commands.calls.begins(started.rules)
        if self.state.joining:
            commands.rejoin()
        loop.budget = started.budget
        if started.limit:
            self.state.begin_limit(started.deadline or at + started.limit, started.limit)
            (self._stop_at,) = self.state.limits.values()
        try:
            work = self.workflow.body(commands, started.input)
        except SerializationError as error:
            raise self._misfit(error) from error
        self._body = loop.start(work if self._around is None else self._around(commands, work))

    def _misfit(self, error: SerializationError) -> NonDeterminismError:
        return NonDeterminismError(
            f"workflow {self.workflow.name}: what the log holds no longer fits the declared type: {error}"
        )

    def _cancel(self, event: ev.CancelRequested) -> None:
        if self._body is not None and not self._body.done():
            self._body.cancel(event.reason or "the workflow was cancelled")

    def _conclude(self) -> None:
        if self._loop.violation is not None:
            raise self._loop.violation
        body = self._body
        if body is not None and body.done():
            if not self._commands.over:
                self._ending.begin(body)
            self._ending.advance()

    def _has_prospects(self) -> bool:
        """Whether some input could make the run continue."""
        state = self.state
        if state.activities or not self._has_code:
            return True
        return bool(
            self._commands.over
            or state.timers
            or state.waits
            or state.children
            or state.joining
            or state.listing
            or state.places
            or state.remembered
            or state.compensations
            or (self._loop.idle and self._loop.waits_for_ever)
            or state.started is None
        )

    def _dead_end(self) -> str:
        name = self.workflow.name
        if not self._loop.idle:
            return (
                f"workflow {name} ran {self._loop.spent} callbacks without asking for anything: it never yields. "
                "Await an activity, a delay or an event in the loop."
            )
        return (
            f"workflow {name} awaits something that no event can bring ({'; '.join(self._loop.awaited())}): "
            "await activities, events, delays and tasks of its own only."
        )

    def _successor(self, end: ev.WorkflowContinued) -> ev.WorkflowStarted:
        """The first input of the next run."""
        started = self._commands.started
        return ev.WorkflowStarted(
            at=self.state.time,
            workflow=started.workflow,
            input=end.input,
            nonce=derive(self._commands.instance_id, started.nonce, "run", end.run).hex()[:32],
            run=end.run,
            code=self._code or started.code,
            parent=started.parent,
            runtime=self._runtime or started.runtime,
            budget=started.budget,
            rules=rules_after(started.rules),
            by=started.by,
            deadline=started.deadline or (self._commands.began + started.limit if started.limit else 0),
            subscriptions=tuple(Subscription(*held) for held in self.state.subscriptions.items()),
            **kept(started),
        )

    def _diverged(self, event: ev.Input, matcher: Matcher) -> DivergedError:
        return divergence(
            instance_id=self.instance_id,
            position=self._commands.position,
            cause=event,
            matcher=matcher,
            started=self.state.started,
            code=self._code,
            runtime=self._runtime,
        )


def place_of_body(run: Run) -> str | None:
    """The line of the user's code at which the body waits, in the innermost function; None where there is no body."""
    body = run._body  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - of this module
    return None if body is None or body.done() else place_of(body.get_coro())


def conditions_of_body(run: Run) -> list[str]:
    """The conditions on its own state that the body waits for, in words."""
    conditions = run._loop.conditions  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - of this module
    return [] if conditions is None else conditions.told()


_WITHOUT_CODE: Final = (ev.OwnerChanged, ev.WorkflowForked, UndoingBegan)
_NOT_ACTED_ON: Final = (ev.WorkflowParked, ev.InputDeferred)
_PAGE: Final = 256
_ROOM: Final = 1024 * 1024
"""Approximate bytes of answers from former runs in one commit. The commands that follow need room as well."""
_EVENT: Final = 256
"""Approximate upper bound on the bytes of an event beside its payload."""


def _size(event: ev.LogEvent) -> int:
    holder = getattr(event, "message", event)
    payloads = (getattr(holder, name, b"") for name in ("args", "about", "result", "data", "beside", "input"))
    return _EVENT + sum(map(len, payloads))
