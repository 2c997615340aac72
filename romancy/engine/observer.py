"""Reports committed events to hooks: after the commit, in order, and unaffected by what a hook does.

An app without hooks has no observer. The process that wrote a commit reports its events. A replay reports nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from msgspec.structs import replace

from romancy import core
from romancy._microseconds import moment_of
from romancy.core import StartCompensation
from romancy.engine.announcing import Announcer, kind_of_sending, say_hook_failed
from romancy.engine.blocks import Blocks
from romancy.engine.observed_waits import WAITS, Waits
from romancy.hooks import (
    ActivityEnded,
    ActivityStarted,
    Happening,
    Hook,
    Sender,
    Sending,
    TicksSkipped,
    WaitBegan,
    WaitEnded,
    WorkflowContinued,
    WorkflowEnded,
    WorkflowStarted,
    WorkflowStuck,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from romancy.core import Activation, Input, LogEvent, MessageSent, RunEnd, StartActivity, StartChild
    from romancy.engine.clock import DatabaseClock
    from romancy.engine.instance import Live

__all__ = ["WORK", "Observer"]


class Begun(Protocol):
    """What hooks hear of an attempt that begins."""

    effect: StartActivity | StartCompensation
    live: Live
    id: str
    asked: int
    """When it was due (µs). 0: no hook wanted to know."""


A = TypeVar("A", bound=Begun)

WORK: Final = ("activities", "compensations")
"""The kinds of calls whose attempts hooks see."""


def _of(parts: Collection[str], *roles: type[core.Begins | core.Fails | core.Ends]) -> list[type[LogEvent]]:
    """The kinds of events that are this to these kinds of calls."""
    return [kind for kind, means in core.KINDS.items() if means.part(*roles) in parts]


def _outcome(event: LogEvent) -> Any:
    """How the event ends a call or, if another attempt follows, the attempt."""
    role = core.KINDS[type(event)].role
    return role.outcome if isinstance(role, core.Ends) else "retrying"


class Observer:
    """The hooks of one worker."""

    def __init__(self, hooks: Sequence[Hook], clock: DatabaseClock, worker_id: str) -> None:
        self._hooks = tuple(hooks)
        self._clock = clock
        self._worker_id = worker_id
        self._announcer = Announcer.of(self._hooks)
        self.announces = None if self._announcer is None else self
        """The observer itself, if any hook wants to know what is sent; else None."""
        can_idle = all(type(hook).idle is not Hook.idle for hook in self._hooks)
        self._idle = tuple(hook.idle for hook in self._hooks) if can_idle else ()
        self._timers = tuple(hook for hook in self._hooks if type(hook).commit_took is not Hook.commit_took)
        self.timed = self._commit_took if self._timers else None
        """Called with the duration of each commit; None if no hook measures commits."""
        self.resting = False
        """Whether all hooks were idle when last asked. Nothing is reported to idle hooks."""
        self._sendings: dict[tuple[str, int], list[Sending]] = {}
        """The messages that an append in flight sends, by instance and life."""
        self._waits = Waits()
        self._queue: deque[Happening | Sending] = deque()
        self._soon: asyncio.Handle | None = None
        self._fresh: set[str] = set()
        """Instances taken up whose body has not run yet."""
        self._running: dict[str, dict[str, ActivityStarted]] = {}
        """Attempts that began here and whose ends are not in the log, by instance and attempt id."""

    # ── reports of the engine ───────────────────────────────────────────────────────────────────────────────────

    def taken_up(self, live: Live) -> None:
        """Record that a run was brought back from its log."""
        if live.run.resumable and live.run.state.parked is None:
            self._fresh.add(live.instance_id)
        self._waits.taken_up(live)

    def announce(self, live: Live, kind: str, name: str, to: str | None, headers: Mapping[str, str]) -> dict[str, str]:
        """All headers of what the body of a workflow sends with the append that is being prepared."""
        sending = self.announced(live, kind, name, to, headers)
        if not self.resting:
            self._sendings.setdefault((live.instance_id, live.life), []).append(sending)
        return dict(sending.headers)

    def announce_child(self, live: Live, effect: StartChild) -> StartChild:
        """The start of a child, with all headers. The log keeps only those that the body gave."""
        headers = self.announce(live, "start", effect.workflow, effect.instance_id, effect.given.headers)
        return replace(effect, given=replace(effect.given, headers=headers))

    def announce_send(self, live: Live, effect: MessageSent) -> MessageSent:
        """What a workflow sends, with all headers. The log keeps only those that the body gave."""
        message, to = effect.message, effect.to or None
        headers = self.announce(live, kind_of_sending(message, to), message.topic.name, to, message.headers)
        return replace(effect, message=replace(message, headers=headers))

    def announced(
        self,
        live: Live,
        kind: str,
        name: str,
        to: str | None,
        headers: Mapping[str, str],
        activity_id: str | None = None,
    ) -> Sending:
        """The sendings of a workflow or one of its activities, with all headers."""
        sender = _sender(live, activity_id)
        if self._announcer is None:
            return Sending(kind=kind, name=name, to=to, headers=headers, sender=sender)  # type: ignore[arg-type]
        return self._announcer.sending(kind, name, to, headers, sender)

    def sent(self, sendings: Sequence[Sending]) -> None:
        """Report the committed sendings of an activity."""
        for sending in sendings:
            self._tell(sending)

    def lease_lost(self) -> None:
        """Report that this worker has lost its lease."""
        for hook in self._hooks:
            try:
                hook.lease_lost(self._worker_id)
            except Exception as error:  # noqa: BLE001 - an error of a hook affects nothing else
                say_hook_failed(hook, "a lost lease", error, None)

    def _commit_took(self, seconds: float, items: int) -> None:
        if self.resting:
            return
        for hook in self._timers:
            try:
                hook.commit_took(seconds, items)
            except Exception as error:  # noqa: BLE001 - as above
                say_hook_failed(hook, "the time of a commit", error, None)

    def committed(self, live: Live, activation: Activation) -> None:
        """Report the events of an activation that is in the log."""
        events = activation.events
        for event in events:
            rule = self.rules.get(type(event))
            if rule is not None:
                rule(self, live, event, events)
        if self._sendings:
            self.sent(self._sendings.pop((live.instance_id, live.life), ()))
        if activation.outcome is not None:
            self._waits.forget(live.instance_id)
            # The run of a terminated instance has no event of its end, and so gives no time.
            at = self._clock.now() if live.run.state.terminal is None else live.run.last_time
            self._tell(self._ended(live, activation.outcome, moment_of(at)))
        elif activation.parked is not None:
            self._tell(WorkflowStuck(**self._about(live), reason=activation.parked))

    def parked(self, instance_id: str, workflow_name: str, reason: str) -> None:
        """Report an instance that became stuck because its run could not be brought back."""
        self._tell(
            WorkflowStuck(
                instance_id=instance_id,
                workflow_name=workflow_name,
                run=0,
                at=moment_of(self._clock.now()),
                worker_id=self._worker_id,
                reason=reason,
            )
        )

    def let_go(self, live: Live) -> None:
        """Forget the attempts of a released instance: their ends will not be seen here."""
        instance_id = live.instance_id
        self._fresh.discard(instance_id)
        self._waits.put_aside(instance_id, live.life)
        self.not_sent(live)
        self._running.pop(instance_id, None)

    def not_sent(self, live: Live) -> None:
        """Forget what an append would have sent that was not written, or is nobody's here."""
        self._sendings.pop((live.instance_id, live.life), None)

    def idle(self, live: Live) -> bool:
        """Whether no hook needs the attempts of this run."""
        for idle in self._idle:
            if not idle():
                self.resting = False
                return False
        self.resting = bool(self._idle)
        started = live.run.state.started
        return self.resting and (started is None or not started.headers)

    async def around(self, attempt: A, call: Callable[[A], Awaitable[Input]]) -> Input:
        """Await the attempt's call inside the blocks of all hooks."""
        begun = self._begun(attempt)
        blocks = Blocks(self._hooks, begun, lambda hook: hook.around_activity(begun))
        try:
            event = await call(attempt)
        except BaseException as error:
            blocks.leave(error)
            raise
        blocks.leave(None)
        return event

    def flush(self) -> None:
        """Deliver the queued events now."""
        if self._soon is not None:
            self._soon.cancel()
            self._deliver()

    # ── from events of the log to events for hooks ──────────────────────────────────────────────────────────────

    def _started(self, live: Live, event: core.WorkflowStarted, _: Sequence[LogEvent]) -> None:
        self._began(live, event, event.at)

    def _resumed(self, live: Live, event: core.WorkflowResumed, _: Sequence[LogEvent]) -> None:
        started = live.run.state.started
        if live.instance_id in self._fresh and started is not None:
            self._began(live, started, event.at)

    def _continued(self, live: Live, event: core.WorkflowContinued, _: Sequence[LogEvent]) -> None:
        self._waits.forget(live.instance_id)
        self._tell(WorkflowContinued(**self._about(live, run=event.run - 1)))

    def _reported(self, live: Live, event: core.ProgressReported, _: Sequence[LogEvent]) -> None:
        drops = None if live.definition.drops is None else live.definition.drops(bytes(event.state))
        if drops is not None:
            self._tell(TicksSkipped(**self._about(live), **drops._asdict()))

    def _wait_began(self, live: Live, event: Any, commit: Sequence[LogEvent]) -> None:
        part = core.KINDS[type(event)].part(core.Begins)
        assert part is not None  # noqa: S101 - the rules name only what begins a wait
        awaited = WAITS[part](event)
        about = self._about(live, run=_run_before(commit, event))
        self._waits.began(live.instance_id, event.id, awaited._replace(run=about["run"], began=about["at"]))
        due = None if awaited.due is None else moment_of(awaited.due)
        self._tell(WaitBegan(**about, wait_id=event.id, kind=awaited.kind, name=awaited.name, due_at=due))

    def _wait_ended(self, live: Live, event: Any, _: Sequence[LogEvent]) -> None:
        awaited = self._waits.ended(live.instance_id, event.id)
        if awaited is None:
            return
        about = self._about(live, run=awaited.run)
        began, at = awaited.began, about["at"]
        self._tell(
            WaitEnded(
                **about,
                wait_id=event.id,
                kind=awaited.kind,
                name=awaited.name,
                outcome=_outcome(event),
                duration=None if began is None else max(at - began, timedelta()),
                message_headers=event.message.headers if isinstance(event, core.MessageReceived) else {},
            )
        )

    def _began(self, live: Live, started: core.WorkflowStarted, at: int) -> None:
        self._fresh.discard(live.instance_id)
        parent = started.parent.instance_id if started.parent is not None else None
        self._tell(WorkflowStarted(**self._about(live, run=started.run, at=moment_of(at)), parent_id=parent))

    def _ended(self, live: Live, outcome: RunEnd, at: datetime) -> WorkflowEnded:
        started = live.run.state.started
        return WorkflowEnded(
            **self._about(live, at=at),
            status=outcome.status,
            duration=at - moment_of(started.at) if started is not None and started.at else None,
            error_type=outcome.error.raised.type if outcome.error is not None else None,
            error_message=outcome.error.message if outcome.error is not None else None,
            reason=outcome.reason,
            uncompensated=outcome.uncompensated,
            unclaimed=outcome.unclaimed,
            unknown=outcome.unknown,
            expected=outcome.error is not None and outcome.error.raised.expected,
        )

    def _begun(self, attempt: Begun) -> ActivityStarted:
        effect, live, now = attempt.effect, attempt.live, self._clock.now()
        begun = ActivityStarted(
            **self._about(live, at=moment_of(now)),
            activity_id=attempt.id,
            activity_name=effect.name,
            attempt=effect.attempt,
            compensates=effect.activity_id if isinstance(effect, StartCompensation) else None,
            waited=timedelta(microseconds=max(0, now - attempt.asked)) if attempt.asked else timedelta(),
        )
        if not self.resting:
            self._running.setdefault(live.instance_id, {})[attempt.id] = begun
            self._tell(begun)
        return begun

    def _attempt_ended(self, live: Live, event: Any, _: Sequence[LogEvent]) -> None:
        begun = self._running.get(live.instance_id, {}).pop(event.id, None)
        if begun is None:
            return  # it was given up before it began
        error = getattr(event, "error", None)
        next_at = getattr(event, "next_at", None)
        at = moment_of(event.at)
        self._tell(
            ActivityEnded(
                **self._about(live, run=begun.run, at=at),
                activity_id=begun.activity_id,
                activity_name=begun.activity_name,
                attempt=begun.attempt,
                compensates=begun.compensates,
                outcome=_outcome(event),
                duration=max(at - begun.at, timedelta()),
                next_attempt_at=None if next_at is None else moment_of(next_at),
                error_type=None if error is None else error.type,
                error_message=None if error is None else error.message,
                unknown=getattr(event, "unknown", False),
                expected=error is not None and error.expected,
            )
        )

    def _about(self, live: Live, *, run: int | None = None, at: datetime | None = None) -> dict[str, Any]:
        started = live.run.state.started
        return {
            "instance_id": live.instance_id,
            "workflow_name": live.definition.name,
            "run": run if run is not None else started.run if started is not None else 0,
            "at": at if at is not None else moment_of(live.run.last_time),
            "worker_id": self._worker_id,
            "began_at": moment_of(began) if (began := live.run.began_at) else None,
            "headers": live.headers,
        }

    # ── telling ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self, event: Happening | Sending) -> None:
        self._queue.append(event)
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        self._soon = None
        while self._queue:
            event = self._queue.popleft()
            if isinstance(event, Sending):
                if self._announcer is not None:
                    self._announcer.sent((event,))
                continue
            for hook in self._hooks:
                try:
                    hook.happened(event)
                except Exception as error:  # noqa: BLE001 - an error of a hook affects nothing else
                    say_hook_failed(hook, type(event).__name__, error, event.instance_id, event)

    rules: Final[Mapping[type[LogEvent], Callable[..., None]]] = {
        core.WorkflowStarted: _started,
        core.WorkflowRetried: _started,
        core.WorkflowResumed: _resumed,
        core.WorkflowContinued: _continued,
        core.ProgressReported: _reported,
        **dict.fromkeys(_of(WORK, core.Fails, core.Ends), _attempt_ended),
        **dict.fromkeys(_of(WAITS, core.Begins), _wait_began),
        **dict.fromkeys(_of(WAITS, core.Ends), _wait_ended),
    }
    """The hook events that follow from an event of the log, given the commit that it is part of."""


def _run_before(commit: Sequence[LogEvent], event: LogEvent) -> int | None:
    """The run that the event belongs to, if that run ends with this commit."""
    after = itertools.dropwhile(lambda one: one is not event, commit)
    return next((one.run - 1 for one in after if isinstance(one, core.WorkflowContinued)), None)


def _sender(live: Live, activity_id: str | None) -> Sender:
    started = live.run.state.started
    return Sender(
        instance_id=live.instance_id,
        workflow_name=live.definition.name,
        run=started.run if started is not None else 0,
        at=moment_of(live.run.last_time),
        began_at=moment_of(began) if (began := live.run.began_at) else None,
        headers=live.headers,
        activity_id=activity_id,
    )
