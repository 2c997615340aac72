"""A world of virtual time for runs: it carries out effects in order, keeps the log as bytes, can be cut and resumed.

It has no clock and no event loop. It calls the declared functions of activities when their virtual duration is over. A
`Scenario` says what the outside does and when; everything else follows, so two worlds of one script agree byte for
byte. It is separate from the engine on purpose: tests compare the engine with it.
"""

from __future__ import annotations

import contextvars
import inspect
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Raw

from romancy.attempt_context import ActivityContext, enter_activity
from romancy.core import (
    RULES,
    Activation,
    ActivityAttemptFailed,
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    ActivityScheduled,
    CancelActivity,
    CancelChild,
    CancelRequested,
    CancelTimer,
    ChildCancelled,
    ChildCompleted,
    ChildFailed,
    CompensationAttemptFailed,
    CompensationCompleted,
    CompensationFailed,
    CompensationScheduled,
    Effect,
    Input,
    LogEvent,
    Message,
    MessageAwaited,
    MessageReceived,
    Publish,
    Report,
    Run,
    RunEnd,
    StartActivity,
    StartChild,
    StartCompensation,
    StartTimer,
    TimerFired,
    WaitCancelled,
    WaitTimedOut,
    WorkflowStarted,
    decode_commit,
    encode_commit,
)
from romancy.engine.activities.judging import failed_for_good, failed_once
from romancy.retry import GiveUp, resolve
from romancy.serialization import describe_exception, dumps

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from romancy.serialization import ErrorInfo
    from romancy.session import Companion
    from romancy.workflow import Workflow
    from romancy_conformance.workflows import Scenario

T = TypeVar("T")
START = 1_700_000_000_000_000
SECOND = 1_000_000
Job = Callable[[], Sequence[Input]]
Jobs = dict[tuple[str, str], tuple[int, Job]]


def started(wf: Workflow[..., Any], *args: Any, at: int = START, **fields: Any) -> WorkflowStarted:
    """Return the first input of a run."""
    return WorkflowStarted(at=at, workflow=wf.name, input=wf.bind(*args).encode(), nonce="n", **fields)


class NoPort:
    """Activities of this world only read their own identity."""

    place: object = None
    workflow_name: str | None = None
    lines: None = None
    told_to_stop = False
    companion: Companion | None = None

    def wait(self, work: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        raise AssertionError("there is no event loop here")

    def resting(self) -> AbstractContextManager[object]:
        raise AssertionError("there are no slots here")

    async def session(self, native: type[Any] | None, isolation: Any = None, /) -> Any:
        raise AssertionError("there is no database here")

    def heartbeat(self, details: Raw | None, /) -> None:
        raise AssertionError("nobody listens")

    def stream(self, name: str, /) -> Any:
        raise AssertionError("nobody follows")

    async def publish(self, type: str, data: Raw, key: str | None, /) -> None:
        raise AssertionError("nobody reads")

    async def send(self, message: Message, to: str | None, /) -> str:
        raise AssertionError("nobody waits")

    def after_commit(self, callback: Callable[[], Any], /) -> None:
        raise AssertionError("nothing is committed")


@dataclass
class Instance:
    """One instance in the world, with what it waits for."""

    run: Run
    jobs: Jobs = field(default_factory=dict[tuple[str, str], tuple[int, Job]])
    waits: dict[str, MessageAwaited] = field(default_factory=dict[str, MessageAwaited])
    parent: tuple[str, str] | None = None
    outcome: RunEnd | None = None
    parked: str | None = None


class World:
    """Runs a script. `cut` returns the world as it is when only the first commits survive."""

    def __init__(self, script: Scenario, commits: Sequence[tuple[str, bytes]] = ()) -> None:
        self.script = script
        self.commits: list[tuple[str, bytes]] = []
        self.instances: dict[str, Instance] = {}
        self.executed: list[tuple[str, str, int]] = []
        self.executed_until: list[int] = []
        """The number of these before each commit."""
        self.published: list[tuple[str, Any]] = []
        self.progress: list[Any] = []
        self.warnings: list[str] = []
        self.now = START
        self._inbox: deque[tuple[int, str, Any]] = deque(
            (START + round(at * SECOND), name, data) for at, name, data in script.events
        )
        self._workflows = {workflow.name: workflow for workflow in (script.workflow, *script.children)}
        if commits:
            self._resume(commits)
        else:
            self._open(script.instance_id, script.workflow.bind(*script.args).encode(), None, script.workflow.name)

    # ── for tests ───────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def main(self) -> Instance:
        return self.instances[self.script.instance_id]

    def log(self, instance_id: str | None = None) -> list[LogEvent]:
        wanted = instance_id or self.script.instance_id
        return [event for id, body in self.commits if id == wanted for event in decode_commit(body)]

    def kinds(self) -> list[str]:
        """Return the names of the events in the log of the main instance."""
        return [type(event).__name__ for event in self.log()]

    def scheduled(self) -> list[str]:
        """Return the ids of the activities that the main instance has scheduled, in order."""
        return [event.id for event in self.log() if isinstance(event, ActivityScheduled)]

    def check_every_cut(self) -> None:
        """Check that a crash after any commit changes nothing: the resumed script ends with the same log."""
        for commits in range(1, len(self.commits)):
            resumed = self.cut(commits)
            resumed.finish()
            assert resumed.commits == self.commits, f"cut after commit {commits}"

    def finish(self, steps: int = 100_000) -> RunEnd:
        """Play the script until the main instance has ended."""
        for _ in range(steps):
            if self.main.outcome is not None:
                return self.main.outcome
            assert self.main.parked is None, self.main.parked
            assert self.step(), f"nothing is due: {self.main.run.outstanding()}"
        raise AssertionError("the script does not end")

    def result(self) -> Any:
        """Return the result of the main instance."""
        outcome = self.finish()
        assert outcome.result is not None, outcome
        return msgspec.json.decode(outcome.result)

    def cut(self, commits: int) -> World:
        return World(self.script, self.commits[:commits])

    def close(self) -> None:
        for instance in self.instances.values():
            instance.run.close()

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────────

    def step(self) -> bool:
        """Do what is due next; return False when nothing will ever be."""
        due = [
            (at, kind, id, key)
            for id, instance in self.instances.items()
            for (kind, key), (at, _) in instance.jobs.items()
        ]
        cancel = self._cancel_due()
        event = self._event_due()
        outside = [at for at in (cancel, event) if at is not None]
        first = min(due, default=None)
        if outside and (first is None or min(outside) <= first[0]):
            self.now = max(self.now, min(outside))
            return self._outside(cancel_first=cancel is not None and cancel == min(outside))
        if first is None:
            return False
        at, kind, id, key = first
        self.now = max(self.now, at)
        _, job = self.instances[id].jobs.pop((kind, key))
        self.feed(id, *job())
        return True

    def feed(self, id: str, *inputs: Input) -> None:
        """Activate the instance with these inputs and carry out its effects."""
        if inputs:
            self._commit(id, self.instances[id].run.activate(inputs))

    def _cancel_due(self) -> int | None:
        at = self.script.cancel_at
        if at is None or self.main.outcome is not None or self.main.run.state.cancel is not None:
            return None
        return START + round(at * SECOND)

    def _event_due(self) -> int | None:
        for at, name, _ in self._inbox:
            if any(wait.topic.name == name for instance in self.instances.values() for wait in instance.waits.values()):
                return at
        return None

    def _outside(self, *, cancel_first: bool) -> bool:
        if cancel_first:
            self.feed(self.script.instance_id, CancelRequested(at=self.now, reason="asked by the script"))
            return True
        for item in self._inbox:
            _, name, data = item
            for id, instance in self.instances.items():
                for wait in instance.waits.values():
                    if wait.topic.name == name:
                        self._inbox.remove(item)
                        del instance.waits[wait.id]
                        instance.jobs.pop(("wait", wait.id), None)
                        message = Message(wait.topic, Raw(dumps(data, "event")))
                        self.feed(id, MessageReceived(at=self.now, id=wait.id, message=message))
                        return True
        raise AssertionError("an event was due and nobody waits for it")

    # ── instances ───────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self, id: str, workflow: str) -> Run:
        return Run(self._workflows[workflow], instance_id=id)

    def _open(self, id: str, input: Raw, parent: tuple[str, str] | None, workflow: str) -> None:
        self.instances[id] = Instance(self._run(id, workflow), parent=parent)
        self.feed(id, WorkflowStarted(at=self.now, workflow=workflow, input=input, nonce=f"nonce of {id}", rules=RULES))

    def _commit(self, id: str, activation: Activation) -> None:
        instance = self.instances[id]
        assert activation.dropped == ()
        events, effects = list(activation.events), list(activation.effects)
        while activation.successor is not None:
            instance.run.close()
            instance.jobs.clear()
            instance.waits.clear()
            instance.run = self._run(id, activation.successor.workflow)
            activation = instance.run.activate([activation.successor])
            events += activation.events
            effects += activation.effects
        self.commits.append((id, encode_commit(events)))
        self.executed_until.append(len(self.executed))
        self.warnings += activation.warnings
        instance.outcome = activation.outcome
        instance.parked = activation.parked
        for effect in effects:
            self._carry_out(id, effect)
        if activation.outcome is not None:
            instance.jobs.clear()
            instance.waits.clear()
            self._tell_parent(instance, activation.outcome)

    def _tell_parent(self, instance: Instance, outcome: RunEnd) -> None:
        if instance.parent is None:
            return
        id, child = instance.parent
        if self.instances[id].outcome is not None:
            return

        def end() -> Sequence[Input]:
            if outcome.error is not None:
                return [ChildFailed(at=self.now, id=child, error=outcome.error)]
            if outcome.result is not None:
                return [ChildCompleted(at=self.now, id=child, result=outcome.result)]
            return [ChildCancelled(at=self.now, id=child, reason=outcome.reason)]

        self.instances[id].jobs["child", child] = (self.now, end)

    def _resume(self, commits: Sequence[tuple[str, bytes]]) -> None:
        """Only these commits survive: replay each instance, and arrange what it waits for."""
        self.commits = list(commits)
        events = {id: [decode_commit(body) for other, body in commits if other == id] for id, _ in commits}
        for id, history in events.items():
            starts = [
                (number, event)
                for number, commit in enumerate(history)
                for event in commit
                if isinstance(event, WorkflowStarted)
            ]
            number, started = starts[-1]
            run = self._run(id, started.workflow)
            run.replay(history[number:])
            parent = None if started.parent is None else (started.parent.instance_id, started.parent.child_id)
            self.instances[id] = Instance(run, parent=parent, outcome=run.outcome())
            self.now = max(self.now, run.last_time)
        for id, history in events.items():
            scheduled = _scheduled_at(history)
            for effect in self.instances[id].run.outstanding():
                self._carry_out(id, effect, scheduled)
            self._forget_events(history)

    def _forget_events(self, history: Sequence[Sequence[LogEvent]]) -> None:
        for event in (event for commit in history for event in commit):
            if isinstance(event, MessageReceived):
                self._inbox.remove(next(item for item in self._inbox if item[1] == event.message.topic.name))

    # ── effects ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _carry_out(self, id: str, effect: Effect, scheduled: dict[str, int] | None = None) -> None:
        instance = self.instances[id]
        jobs = instance.jobs
        since = scheduled or {}
        match effect:
            case StartActivity():
                began = effect.due if effect.due is not None else since.get(effect.activity_id, self.now)
                jobs["activity", effect.activity_id] = (
                    began + round(self.script.durations.get(effect.name, 0) * SECOND),
                    lambda: self._attempt(id, effect),
                )
            case StartCompensation():
                began = effect.due if effect.due is not None else since.get(effect.compensation_id, self.now)
                jobs["compensation", effect.compensation_id] = (began, lambda: self._compensate(id, effect))
            case CancelActivity(activity_id=key):
                jobs["activity", key] = (self.now, lambda: [ActivityCancelled(at=self.now, id=key)])
            case StartChild():
                self._start_child(id, effect)
            case CancelChild(child_id=key, instance_id=child):
                if jobs.pop(("start", child), None) is not None:
                    jobs["child", key] = (self.now, lambda: [ChildCancelled(at=self.now, id=key)])
                else:
                    jobs["cancel", child] = (self.now, lambda: self._cancel_child(child))
            case Publish(name=name, data=data):
                self.published.append((name, msgspec.json.decode(data)))
            case Report(state=state):
                self.progress.append(msgspec.json.decode(state))
            case _:
                self._wait(instance, effect)

    def _wait(self, instance: Instance, effect: Effect) -> None:
        jobs = instance.jobs
        match effect:
            case StartTimer(timer_id=key, due=due):
                jobs["timer", key] = (due, lambda: [TimerFired(at=self.now, id=key)])
            case CancelTimer(timer_id=key):
                del jobs["timer", key]
            case MessageAwaited(id=key, due=due):
                instance.waits[key] = effect
                if due is not None:
                    jobs["wait", key] = (due, lambda: self._time_out(instance, key))
            case WaitCancelled(id=key):
                del instance.waits[key]
                jobs.pop(("wait", key), None)
            case _:
                raise AssertionError(f"the driver does not know {effect}")

    def _time_out(self, instance: Instance, key: str) -> Sequence[Input]:
        del instance.waits[key]
        return [WaitTimedOut(at=self.now, id=key)]

    def _start_child(self, id: str, effect: StartChild) -> None:
        child = self.instances.get(effect.instance_id)
        if child is None:
            key = effect.instance_id

            def start() -> Sequence[Input]:
                self._open(key, effect.input, (id, effect.child_id), effect.workflow)
                return []

            self.instances[id].jobs["start", key] = (max(self.now + effect.given.delay, effect.given.at or 0), start)
        else:
            child.parent = (id, effect.child_id)
            if child.outcome is not None:
                self._tell_parent(child, child.outcome)

    def _cancel_child(self, child: str) -> Sequence[Input]:
        instance = self.instances[child]
        if instance.outcome is None and instance.run.state.cancel is None:
            self.feed(child, CancelRequested(at=self.now, reason="its parent ended"))
        return []

    def _context(self, id: str, effect: StartActivity) -> ActivityContext:
        started = self.instances[id].run.state.started
        assert started is not None
        return ActivityContext(
            NoPort(),
            instance_id=id,
            activity_id=effect.activity_id,
            attempt=effect.attempt,
            nonce=started.nonce,
        )

    def _attempt(self, id: str, effect: StartActivity) -> Sequence[Input]:
        self.executed.append((id, effect.activity_id, effect.attempt))
        definition: Any = effect.definition
        context = self._context(id, effect)
        args, kwargs = definition.signature.decode_arguments(effect.args)
        if definition.given.pass_context:
            args = (context, *args)
        try:
            result = contextvars.copy_context().run(_call_as, context, definition.fn, args, kwargs)
        except Exception as error:  # noqa: BLE001 - whatever an activity raises is its outcome
            info = describe_exception(error, definition.given.raises)
            return [self._failed(id, effect, info, error)]
        encoded = Raw(definition.signature.encode_result(result))
        return [ActivityCompleted(at=self.now, id=effect.activity_id, result=encoded, attempt=effect.attempt)]

    def _compensate(self, id: str, effect: StartCompensation) -> Sequence[Input]:
        self.executed.append((id, effect.compensation_id, effect.attempt))
        definition: Any = effect.definition
        try:
            _call(definition.fn, *definition.arguments(effect.activity, effect.args, effect.result))
        except Exception as error:  # noqa: BLE001 - whatever a compensation raises is its outcome
            info = describe_exception(error, definition.given.raises)
            return [self._failed(id, effect, info, error)]
        return [CompensationCompleted(at=self.now, id=effect.compensation_id, attempt=effect.attempt)]

    def _failed(
        self, id: str, effect: StartActivity | StartCompensation, info: ErrorInfo, error: Exception
    ) -> ActivityAttemptFailed | CompensationAttemptFailed | ActivityFailed | CompensationFailed:
        """What the engine makes of it; the next attempt is arranged if there is one."""
        verdict = resolve(effect.definition.given.retry, self.script.retry).decide(effect.failed + 1, error)
        if isinstance(verdict, GiveUp):
            return failed_for_good(effect, info, now=self.now)
        told = failed_once(effect, info, verdict.delay, now=self.now)
        number, failed = effect.attempt + 1, effect.failed + 1
        self._carry_out(id, msgspec.structs.replace(effect, attempt=number, failed=failed, due=told.next_at))
        return told


def _call_as(context: ActivityContext, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    enter_activity(lambda: context)
    return _call(fn, args, kwargs)


def _call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a plain or an async function that awaits nothing."""
    outcome = fn(*args, **kwargs)
    if not inspect.iscoroutine(outcome):
        return outcome
    try:
        outcome.send(None)
    except StopIteration as stop:
        return stop.value
    outcome.close()
    raise AssertionError(f"{fn.__qualname__} waits for something; activities of this driver must not")


def _scheduled_at(history: Sequence[Sequence[LogEvent]]) -> dict[str, int]:
    """Return when each activity and compensation of a history was requested."""
    times: dict[str, int] = {}
    now = 0
    for event in (event for commit in history for event in commit):
        if isinstance(event, Input):
            now = event.at
        elif isinstance(event, (ActivityScheduled, CompensationScheduled)):
            times[event.id] = now
    return times
