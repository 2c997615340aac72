"""A log as steps: each activity, timer, wait, child and compensation with its attempts and its end.

Each event has the time of the commit that holds it: then the database knew of it, and it is the clock of all pages and
commands. Without the commit's time, an input has its own time, and a command that of the input before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import msgspec

from romancy import core as ev
from romancy.errors import ActivityUnknownError
from romancy.insight._time_texts import span
from romancy.serialization import ErrorInfo, exception_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["RULES", "STEPS", "Attempt", "Note", "Place", "Step", "Timeline"]

Place: TypeAlias = tuple[int, int]
"""The number of a commit in the log, and of an event in the commit."""

STEPS: Final[Mapping[ev.Part, tuple[str, ...]]] = {
    "activities": ("activity",),
    "timers": ("timer",),
    "waits": ("event", "message", "request", "question"),
    "joining": ("subscription",),
    "listing": ("members",),
    "places": ("place",),
    "children": ("child",),
    "compensations": ("compensation",),
}
"""The kinds of steps that are calls of this kind."""
_UNKNOWN: Final = exception_name(ActivityUnknownError)
_OUTCOMES: Final = {"fired": "rang", "timed_out": "timed out"}
_WITH_ATTEMPTS: Final = ("activity", "compensation")
"""The outcomes for which a timeline has a word of its own."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One failed attempt of an activity or a compensation."""

    number: int
    at: int
    error: ErrorInfo
    due: int
    """When it was due: at the start of the step, or at the end of the pause after the previous attempt."""
    next_at: int
    """When the next attempt is due."""
    queued: int = 0
    """For how many microseconds it waited for a free slot before it ran."""
    place: Place = (0, 0)
    unknown: bool = False
    """Whether it was told to stop and did not answer."""
    failures: int = 1
    """How many attempts had failed by then. The log may keep the last of them only."""


@dataclass(slots=True)
class Step:
    """A request of the run. Times are microseconds since the epoch. `ended_at` is None while it is open."""

    kind: str
    """`activity`, `timer`, `event`, `message`, `subscription`, `place`, `child` or `compensation`."""
    id: str
    name: str
    began_at: int
    ended_at: int | None = None
    outcome: str = "open"
    failures: list[Attempt] = field(default_factory=list["Attempt"])
    error: ErrorInfo | None = None
    due: int | None = None
    """When the clock moves it: a timer rings, a wait times out, the next attempt begins."""
    key: str | None = None
    """For a wait for an event: its key. For a message or a subscription: the mode of the channel.
    For a place under a limit: its key.
    """
    conditions: bool = False
    """For a wait for an event: whether its data have to meet conditions."""
    undoes: str | None = None
    """For a compensation: the id of the activity."""
    instance_id: str | None = None
    """For a child: its instance id."""
    detached: bool = False
    """For a child: whether its parent is not its keeper."""
    asks: str | None = None
    """For a call to another instance: the id of that one."""
    queued: int = 0
    """For how many microseconds the last attempt waited for a free slot."""
    left_at: int | None = None
    """When its run ended while it was open."""
    taken_up: list[int] = field(default_factory=list[int])
    """When another worker took the instance up while this was open: an attempt at that time was lost."""
    place: Place = (0, 0)
    """Where the log holds the request."""
    end_place: Place | None = None
    """Where the log holds the end."""
    stopped_at: int | None = None
    """When its workflow told it to stop."""
    unknown: bool = False
    """Whether nobody knows what its last attempt did."""
    number: int = 0
    """The number of the attempt that completed."""
    defaulted: bool = False
    """For an activity that failed: whether its call got its default. `answer` is then the event that has it."""
    asked: ev.LogEvent | None = None
    """The request, with its payload. Only a detailed timeline has it, and `answer`."""
    answer: ev.LogEvent | None = None
    """The event that ended it."""

    @property
    def last_attempt(self) -> int:
        """The number of the last attempt, or of the next one. Attempts that were lost with their workers count."""
        if self.number:
            return self.number
        failed, due = (self.failures[-1].number, self.failures[-1].next_at) if self.failures else (0, self.began_at)
        return failed + 1 + sum(due < taken for taken in self.taken_up)

    @property
    def failed_attempts(self) -> int:
        """How many attempts have failed, as far as another followed: those that the log has dropped count."""
        return self.failures[-1].failures if self.failures else 0

    @property
    def dropped_attempts(self) -> int:
        """How many of them the log no longer has."""
        return self.failed_attempts - len(self.failures)

    @property
    def may_have_died(self) -> bool:
        """Whether its outcome is unknown because its worker died or dropped it, and not because it did not answer."""
        return self.unknown and self.error is not None and self.error.type == _UNKNOWN and self.error.cause is None

    @property
    def is_open(self) -> bool:
        return self.ended_at is None and self.left_at is None

    @property
    def ended_as(self) -> str:
        """The outcome, for people."""
        told = f"{self.outcome}, its default returned" if self.defaulted else self.outcome
        return f"{told}, outcome unknown" if self.unknown else told


@dataclass(frozen=True, slots=True)
class Note:
    """An event that concerns the instance as a whole."""

    at: int
    text: str
    error: ErrorInfo | None = None
    place: Place = (0, 0)
    event: ev.LogEvent | None = None
    """Only a detailed timeline has it."""


class Timeline:
    """All runs of an instance's log as steps and notes, in the order in which they began.

    It may begin anywhere in a log: the end of a step that began before is left out. A `detailed` one keeps the events
    of each step, with their payloads.
    """

    def __init__(self, *, detailed: bool = False) -> None:
        self.entries: list[Step | Note] = []
        self.parked: str | None = None
        self.departure: ev.Departure | None = None
        """Where the code left the log, if the log ends with a divergence."""
        self.cancelling: str | None = None
        self.stopped_at: int | None = None
        """When the run was told to stop: by a cancellation, or at its limit."""
        self.limit = 0
        self.fair_key, self.weight = "", 1
        """For how many microseconds the instance may go on, from when its body begins; 0: as long as it takes."""
        self.late = False
        """Whether it was stopped because it had reached its limit."""
        self.unknown: tuple[str, ...] = ()
        """The activities that the end of the current run names, because nobody knows whether they took effect."""
        self.paused: tuple[str, int] | None = None
        """Why the instance is paused, and since when. None: it is not."""
        self.frozen: int | None = None
        """Since when, if what it waits for is due as much later as it is paused."""
        self.asked: tuple[str, int] | None = None
        """`retry` or `resume` and its time, if the log ends with it."""
        self.put_aside: list[ev.MessagePutAside] = []
        """Of the current run."""
        self.owners: list[ev.OwnerChanged] = []
        """The changes of owners that the log ends with."""
        self._open: dict[tuple[str, str], Step] = {}
        self._failed: dict[str, Step] = {}
        """Activities that failed, by their ids. Their calls may get a default."""
        self._at = 0
        self._detailed = detailed
        self._entries_before = 0
        """How many entries there were when the run was told to stop."""
        self._place: Place = (0, 0)
        self._event: ev.LogEvent | None = None

    @classmethod
    def of(cls, events: Iterable[ev.LogEvent]) -> Self:
        """The timeline of a log's events."""
        timeline = cls()
        for event in events:
            timeline.take(event)
        return timeline

    @property
    def now(self) -> int:
        """The time of the last event."""
        return self._at

    @property
    def steps(self) -> list[Step]:
        return [entry for entry in self.entries if isinstance(entry, Step)]

    @property
    def open(self) -> list[Step]:
        """The open steps of the current run."""
        return list(self._open.values())

    def thaw(self) -> str:
        """Put off what is waited for by the pause that ends now, if that is how it was paused. Return what to say."""
        if self.frozen is None:
            return ""
        by, self.frozen = self.now - self.frozen, None
        for step in self.open:
            if step.due is not None and step.kind not in _WITH_ATTEMPTS:
                step.due += by
        return f"; what it waits for is due {span(by)} later"

    def take(self, event: ev.LogEvent, place: Place = (0, 0), at: int | None = None) -> None:
        """Apply one event, which stands at this place of the log, in a commit of the time `at`.

        An unknown kind of event changes nothing.
        """
        self._place = place
        self._event = event if self._detailed else None
        self.asked = None
        if at is not None:
            self._at = max(self._at, at)
        if isinstance(event, ev.Input):
            self._at = max(self._at, event.at) if at is None else self._at
            self.departure = None
            if not isinstance(event, ev.OwnerChanged):
                self.parked = None
        if self.owners and not isinstance(event, ev.OwnerChanged):
            self.owners.clear()
        rule = RULES.get(type(event))
        if rule is not None:
            rule(self, event)

    # ── used by the rules ───────────────────────────────────────────────────────────────────────────────────────

    def begin(self, kind: str, id: str, name: str, **more: Any) -> None:
        step = Step(kind, id, name, self._at, place=self._place, asked=self._event, **more)
        self._open[kind, id] = step
        self.entries.append(step)

    def end(
        self,
        kind: str,
        id: str,
        outcome: str,
        error: ErrorInfo | None = None,
        queued: int = 0,
        *,
        unknown: bool = False,
        number: int = 0,
    ) -> None:
        step = self._open.pop((kind, id), None)
        if step is not None:
            step.ended_at, step.outcome, step.error, step.due = self._at, outcome, error, None
            step.end_place, step.answer, step.queued, step.unknown = self._place, self._event, queued, unknown
            step.number = number
            if kind == "activity" and outcome == "failed":
                self._failed[id] = step

    def failed(self, kind: str, event: ev.ActivityAttemptFailed | ev.CompensationAttemptFailed) -> None:
        step = self._open.get((kind, event.id))
        if step is not None:
            failures, before = event.failures or step.failed_attempts + 1, step.failed_attempts
            due = step.began_at if step.due is None else step.due
            if failures > before + 1:
                due = max(due, self._at - event.queued)  # the log does not have the end of the pause before it
            next_at = max(event.next_at, self._at)
            unknown = getattr(event, "unknown", False)
            step.failures.append(
                Attempt(
                    event.attempt, self._at, event.error, due, next_at, event.queued, self._place, unknown, failures
                )
            )
            step.due = next_at

    def defaulted(self, activity_id: str) -> None:
        step = self._failed.pop(activity_id, None)
        if step is not None:
            step.defaulted, step.end_place, step.answer = True, self._place, self._event

    def told_to_stop(self, activity_id: str) -> None:
        step = self._open.get(("activity", activity_id))
        if step is not None:
            step.stopped_at = self._at

    def note(self, text: str, error: ErrorInfo | None = None) -> None:
        self.entries.append(Note(self._at, text, error, self._place, self._event))

    def run_begins(self, event: ev.WorkflowStarted) -> None:
        self._leave_open()
        self.put_aside.clear()
        self.cancelling, self.unknown, self.limit, self.late, self.stopped_at = None, (), event.limit, False, None
        self.fair_key, self.weight = event.fair_key, event.weight
        begun = "retried" if isinstance(event, ev.WorkflowRetried) else "started"
        self.note(f"workflow {event.workflow} {begun}" + (f", run {event.run}" if event.run > 1 else ""))

    def run_ends(self, text: str, error: ErrorInfo | None = None, unknown: tuple[str, ...] = ()) -> None:
        self._leave_open()
        self.unknown = unknown
        self.note(text + (f"; outcome unknown: {', '.join(unknown)}" if unknown else ""), error)

    def _leave_open(self) -> None:
        for step in self._open.values():
            step.left_at = self._at
        self._open.clear()

    def taken_up(self) -> None:
        for step in self._open.values():
            step.taken_up.append(self._at)
        self.note("taken up by another worker")

    @property
    def goes_on(self) -> list[Step]:
        """What the body has begun after it was told to stop, and waits for: it caught that, and does not undo yet."""
        if self.stopped_at is None:
            return []
        since = [one for one in self.entries[self._entries_before :] if isinstance(one, Step)]
        if any(one.undoes for one in since):
            return []
        return [one for one in since if one.is_open and one.stopped_at is None]

    def cancel(self, event: ev.CancelRequested) -> None:
        if self.stopped_at is None:
            self.stopped_at, self._entries_before = self._at, len(self.entries)
        if event.limit:
            self.late = True
            self.note(f"stopped: its limit of {span(event.limit)} was reached")
            return
        self.cancelling = event.reason
        self.note("cancellation requested" + (f": {event.reason}" if event.reason else ""))

    def park(self, reason: str) -> None:
        self.parked = reason
        self.note(f"stuck: {reason}")


Rule: TypeAlias = "Callable[[Timeline, Any], None]"


def _ended(role: ev.Ends) -> Rule:
    """What a timeline makes of an event that ends a call."""
    outcome = _OUTCOMES.get(role.outcome, role.outcome)

    def end(timeline: Timeline, event: Any) -> None:
        error, queued, unknown = (getattr(event, name, None) for name in ("error", "queued", "unknown"))
        number = getattr(event, "attempt", 0)
        for kind in STEPS[role.part]:
            timeline.end(kind, event.id, outcome, error, queued or 0, unknown=bool(unknown), number=number)

    return end


def _failed(role: ev.Fails) -> Rule:
    kind = STEPS[role.part][0]
    return lambda timeline, event: timeline.failed(kind, event)


def _remark(note: Callable[[Any], str]) -> Rule:
    return lambda timeline, event: timeline.note(note(event))


def _activity_cancelled(timeline: Timeline, event: ev.ActivityCancelRequested) -> None:
    if event.never_started:
        timeline.end("activity", event.id, "never started")
    else:
        timeline.told_to_stop(event.id)


def _awaited(timeline: Timeline, event: ev.MessageAwaited) -> None:
    topic, conditions = event.topic, bytes(event.where) != b"null"
    if topic.kind == "event":
        timeline.begin("event", event.id, topic.name, due=event.due, key=topic.key, conditions=conditions)
    elif topic.kind == "request":
        timeline.begin("request", event.id, topic.name, due=event.due)
    elif event.asks is not None:
        timeline.begin("question", event.id, topic.name, due=event.asks.due, key=event.asks.to)
    else:
        timeline.begin("message", event.id, topic.name, due=event.due, key=event.mode, conditions=conditions)


class _Asks(msgspec.Struct):
    """Whom a call to another instance is for."""

    to: str = ""
    of: str = ""


_read_asks: Final = msgspec.json.Decoder(_Asks).decode


def asked_by(event: ev.ActivityScheduled) -> str | None:
    """The instance to which this activity turns. None: it is none of the library's own."""
    if not event.name.startswith("romancy.instance."):
        return None
    try:
        asks = _read_asks(event.args)
    except msgspec.DecodeError:
        return None
    return asks.to or asks.of or None


_receives: Final = _ended(ev.Ends("waits", "received"))


def _received(timeline: Timeline, event: ev.MessageReceived) -> None:
    if event.message.topic.kind == "question":
        said = ev.said_in(event.message)
        how = "refused" if said.how == "refusal" else "answered"
        timeline.end("question", event.id, how if said.by is None else f"{how} by {said.by}")
    else:
        _receives(timeline, event)


def _put_aside(timeline: Timeline, event: ev.MessagePutAside) -> None:
    timeline.put_aside.append(event)
    which = f" (id {event.message_id})" if event.message_id else ""
    timeline.note(f"put aside {_about(event.topic)}{which}: {event.reason}")


def _about(topic: ev.Topic) -> str:
    return f"a message of channel {topic.name}" if topic.kind == "channel" else f"{topic.kind} {topic.name}"


def _subscribed(timeline: Timeline, event: ev.Subscribed) -> None:
    if event.topic.kind == "event":
        timeline.note(f"subscribed to events {event.topic.name}")
        return
    timeline.begin("subscription", event.id, event.topic.name, key=event.mode)
    if not ev.may_be_refused(event.topic, event.mode):
        timeline.end("subscription", event.id, "joined")


def _refused(timeline: Timeline, event: ev.SubscriptionRefused) -> None:
    timeline.end("subscription", event.id, f"refused, the channel has {event.existing} subscribers")


def _retried(timeline: Timeline, event: ev.WorkflowRetried) -> None:
    timeline.run_begins(event)
    timeline.asked = ("retry", timeline.now)
    for one in event.subscriptions:
        if one.topic.kind == "channel":
            _subscribed(timeline, ev.Subscribed(ev.kept_id(one.topic), one.topic, one.mode))


def _forked(timeline: Timeline, event: ev.WorkflowForked) -> None:
    timeline.paused = None
    timeline.thaw()
    where = ev.place_of_point(event)
    if event.back:
        timeline.asked = ("rewind", timeline.now)
        timeline.note(f"goes on from {where}: what stands above, since it was rewound, was copied")
    else:
        timeline.note(f"was forked from {event.source} {where}: what stands above was copied")


def _rewound(timeline: Timeline, event: ev.WorkflowRewound) -> None:
    timeline.paused = timeline.frozen = None
    timeline.run_ends(f"was rewound to {ev.place_of_point(event)}; what it did behind that {_UNDONE[event.undo]}")


_UNDONE: Final = {
    "keep": "stands", "refuse": "left nothing that stands", "compensate": "was undone, as far as it can be",
}  # fmt: skip


def _undoing_began(timeline: Timeline, event: ev.UndoingBegan) -> None:
    timeline.paused = None
    timeline.thaw()
    timeline.note(f"is to be rewound to {ev.place_of_point(event)}: what it did behind that is undone first")


def _pause(timeline: Timeline, event: ev.OwnerChanged) -> None:
    if event.pause == "ends":
        timeline.paused = None
        timeline.note("was unpaused" + timeline.thaw())
        return
    timeline.paused = (event.reason, timeline.now)
    timeline.frozen = timeline.now if event.freeze else None
    timeline.note("was paused" + (f": {event.reason}" if event.reason else ""))


def _owner_changed(timeline: Timeline, event: ev.OwnerChanged) -> None:
    timeline.departure = event.misfit
    timeline.owners.append(event)
    if event.pause:
        _pause(timeline, event)
        return
    if not event.owner and not event.code:
        timeline.asked = ("resume", timeline.now)
    if event.owner:
        timeline.taken_up()
    elif event.alone:
        timeline.note("survived its trial")
    else:
        timeline.note("given back")


_OWN: Final[Mapping[type[ev.LogEvent], Rule]] = {
    ev.WorkflowStarted: Timeline.run_begins,
    ev.WorkflowRetried: _retried,
    ev.WorkflowForked: _forked,
    ev.WorkflowRewound: _rewound,
    ev.UndoingBegan: _undoing_began,
    ev.OwnerChanged: _owner_changed,
    ev.ActivityScheduled: lambda timeline, event: timeline.begin(
        "activity", event.id, event.name, asks=asked_by(event)
    ),
    ev.ActivityCancelRequested: _activity_cancelled,
    ev.DefaultTaken: lambda timeline, event: timeline.defaulted(event.id),
    ev.TimerStarted: lambda timeline, event: timeline.begin("timer", event.id, "timer", due=event.due),
    ev.MessageAwaited: _awaited,
    ev.MessagePutAside: _put_aside,
    ev.MessageReceived: _received,
    ev.Subscribed: _subscribed,
    ev.SubscriptionRefused: _refused,
    ev.MembersAsked: lambda timeline, event: timeline.begin("members", event.id, event.topic.name),
    ev.PlaceAsked: lambda timeline, event: timeline.begin("place", event.id, event.limit, key=event.key or None),
    ev.ChildStarted: lambda timeline, event: timeline.begin(
        "child", event.id, event.workflow, instance_id=event.instance_id, detached=event.detached
    ),
    ev.CompensationScheduled: lambda timeline, event: timeline.begin(
        "compensation", event.id, event.name, undoes=event.activity_id
    ),
    ev.CancelRequested: Timeline.cancel,
    ev.WorkflowParked: lambda timeline, event: timeline.park(event.reason),
    ev.WorkflowContinued: lambda timeline, event: timeline.run_ends(f"continued as run {event.run}"),
    ev.WorkflowCompleted: lambda timeline, _: timeline.run_ends("completed"),
    ev.WorkflowFailed: lambda timeline, event: timeline.run_ends("failed", event.error, event.unknown),
    ev.WorkflowCancelled: lambda timeline, event: timeline.run_ends(
        "cancelled" + (f": {event.reason}" if event.reason else ""), unknown=event.unknown
    ),
}
"""What begins a step has its name and its details; what ends a run or holds it up is more than a remark."""


def _rules() -> Iterator[tuple[type[ev.LogEvent], Rule]]:
    """What a timeline makes of each kind. It says nothing of a kind that is neither in a call nor has a remark."""
    for kind, means in ev.KINDS.items():
        if kind in _OWN:
            yield kind, _OWN[kind]
        elif isinstance(means.role, ev.Ends):
            yield kind, _ended(means.role)
        elif isinstance(means.role, ev.Fails):
            yield kind, _failed(means.role)
        elif means.note is not None:
            yield kind, _remark(means.note)


RULES: Final = dict(_rules())
