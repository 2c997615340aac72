"""The table of events: for each kind, what it means to whatever reads a log.

A kind that is not here does not exist: `decode_commit` reads these and no others. A field without a default has to be
decided for each kind. What a run does when an event comes, and for how long the engine acts on a command, stand beside
the code that does it (`Commands.deliveries`, `run/outstanding.py`); so do the words of a timeline that need its state.
`tests/core/test_kinds.py` names the kind that is missing there.

To add one, see "A new field or a new kind" in `docs/core.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from romancy.core.fold import message_rules as msg
from romancy.core.fold import place_rules as place
from romancy.core.fold import recall_rules as past
from romancy.core.fold import run_rules as run
from romancy.core.fold import undo_rules as undo
from romancy.core.fold.answers import ActivityCall
from romancy.core.fold.entries import Entries
from romancy.core.words import events as ev
from romancy.core.words import message_events as ms
from romancy.core.words import place_events as pl
from romancy.core.words import undo_events as un
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from msgspec import Raw

    from romancy.core.words.messages import Message, Topic

__all__ = [
    "AWAITED", "COMMANDS", "FOLDS", "INPUTS", "KINDS", "RECALLS", "STATUS_OF", "Begins", "Ends", "EndsRun", "Fails",
    "Kind", "Part", "place_of_point",
]  # fmt: skip

Part: TypeAlias = Literal["activities", "timers", "waits", "joining", "listing", "places", "children", "compensations"]
"""The kinds of calls, each by the part of the state that holds those that are open."""

EndedAs: TypeAlias = Literal[
    "completed", "failed", "cancelled", "fired", "received", "timed_out", "joined", "refused", "listed", "granted"
]


@dataclass(frozen=True, slots=True)
class Begins:
    """It opens a call."""

    part: Part


@dataclass(frozen=True, slots=True)
class Fails:
    """An attempt at the call failed, and another follows."""

    part: Part


@dataclass(frozen=True, slots=True)
class Ends:
    """It ends a call."""

    part: Part
    outcome: EndedAs


@dataclass(frozen=True, slots=True)
class EndsRun:
    """It ends the run, with this status of the instance."""

    status: Status


def _named(event: Any) -> str:
    identity = getattr(event, "id", None)
    return type(event).__name__ + (f" of {identity}" if identity else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a kind of event means."""

    folds: Callable[[Any, Any], ActivityCall | None]
    """How it changes the state of a run. Returns the call of an activity that it is about."""
    recalls: Callable[[Any, Any], object] | None
    """What a retry notes of it. None: nothing."""
    role: Begins | Fails | Ends | EndsRun | None
    """What it is to a call or to the run. Hooks, timelines and bars follow from it."""
    note: Callable[[Any], str] | None
    """What a timeline says of it, if it is a remark about the instance and no more."""
    words: Callable[[Any], str]
    """The event in a few words, without payloads, in the report of a divergence."""

    def part(self, *roles: type[Begins | Fails | Ends]) -> Part | None:
        """The kind of the calls to which it is one of these."""
        role = self.role
        return None if role is None or isinstance(role, EndsRun) or not isinstance(role, roles) else role.part


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandKind(Kind):
    """What a kind of command means."""

    fits: Callable[[Any, Any], bool] | None
    """Whether a replay takes the recorded command for the one that the code asks for. None: if they are equal."""
    harmless: bool = False
    """Whether it does not change the course of a run: code may stop asking for it, or ask for another."""
    acts: bool
    """Whether the engine has something to do once it is durable."""


def place_of_point(event: ev.WorkflowForked | ev.WorkflowRewound | un.UndoingBegan) -> str:
    """The point of a fork or a rewind, in words."""
    return f"before {event.step}" if event.step else f"behind commit {event.seq}"


def _about(topic: Topic) -> str:
    return f"{topic.kind} {topic.name}"


def _awaited(wait: ms.MessageAwaited) -> str:
    topic = wait.topic
    if topic.kind == "channel":
        return f"a {wait.mode} message of {_about(topic)}"
    return _about(topic) + (f" with key {topic.key}" if topic.key else "")


def _in_a_timeline(topic: Topic) -> str:
    return f"a message on channel {topic.name}" if topic.kind == "channel" else _about(topic)


def _sent(event: ms.MessageSent) -> str:
    topic = event.message.topic
    key = "" if topic.key is None else f" with key {topic.key}"
    return f"sent {_in_a_timeline(topic)}{key}" + (f" to {event.to}" if event.to else "")


def _unsubscribed(event: ms.Unsubscribed) -> str:
    topic = event.topic
    return f"ended its subscription to events {topic.name}" if topic.kind == "event" else f"left channel {topic.name}"


def _same_json(one: Raw, other: Raw) -> bool:
    if one == other:
        return True
    return bool(msgspec.json.decode(one) == msgspec.json.decode(other))


def _same_message(one: Message, other: Message) -> bool:
    """Whether two messages say the same. Headers and ids are no part of it."""
    same = (one.topic, one.subject) == (other.topic, other.subject)
    return same and _same_json(one.data, other.data) and _same_json(one.beside, other.beside)


def _answered(event: ms.RequestAnswered) -> str:
    with_what = "" if event.error is None else f" with {event.error.summary}"
    return f"answered request {event.name}{with_what}"


def _same_answer(one: ms.RequestAnswered, other: ms.RequestAnswered) -> bool:
    if (one.id, one.name, one.error is None) != (other.id, other.name, other.error is None):
        return False
    return (
        _same_json(one.reply, other.reply)
        if one.error is None or other.error is None
        else one.error.type == other.error.type
    )


INPUTS: Final[Mapping[type[ev.Input], Kind]] = {
    ev.WorkflowStarted: Kind(
        folds=run.started, recalls=past.started, role=None, note=None, words=lambda e: f"start of {e.workflow}"
    ),
    ev.WorkflowRetried: Kind(folds=run.retried, recalls=past.retried, role=None, note=None, words=_named),
    ev.WorkflowForked: Kind(
        folds=run.forked, recalls=past.forked, role=None, note=None, words=lambda e: f"fork of {e.source}"
    ),
    ev.WorkflowRewound: Kind(
        folds=Entries.heard, recalls=None, role=None, note=None, words=lambda e: f"rewind to {place_of_point(e)}"
    ),
    un.UndoingBegan: Kind(
        folds=undo.undoing_began,
        recalls=past.is_undone_first,
        role=None,
        note=None,
        words=lambda e: f"undoing, for a rewind to {place_of_point(e)}",
    ),
    ev.OwnerChanged: Kind(folds=run.owner_changed, recalls=past.owner_changed, role=None, note=None, words=_named),
    ev.WorkflowResumed: Kind(folds=Entries.heard, recalls=None, role=None, note=lambda _: "resumed", words=_named),
    ev.ActivityAttemptFailed: Kind(
        folds=run.activity_attempt_failed,
        recalls=past.attempt_failed,
        role=Fails("activities"),
        note=None,
        words=_named,
    ),
    ev.ActivityCompleted: Kind(
        folds=run.activity_completed,
        recalls=past.answers("activities"),
        role=Ends("activities", "completed"),
        note=None,
        words=_named,
    ),
    ev.ActivityFailed: Kind(
        folds=run.activity_ended,
        recalls=past.failed,
        role=Ends("activities", "failed"),
        note=None,
        words=_named,
    ),
    ev.ActivityCancelled: Kind(
        folds=run.activity_ended,
        recalls=past.ends("activities"),
        role=Ends("activities", "cancelled"),
        note=None,
        words=_named,
    ),
    ev.TimerFired: Kind(
        folds=run.timer_ended, recalls=past.answers("timers"), role=Ends("timers", "fired"), note=None, words=_named
    ),
    ev.ChildCompleted: Kind(
        folds=run.child_ended,
        recalls=past.answers("children"),
        role=Ends("children", "completed"),
        note=None,
        words=_named,
    ),
    ev.ChildFailed: Kind(
        folds=run.child_ended, recalls=past.ends("children"), role=Ends("children", "failed"), note=None, words=_named
    ),
    ev.ChildCancelled: Kind(
        folds=run.child_ended,
        recalls=past.ends("children"),
        role=Ends("children", "cancelled"),
        note=None,
        words=_named,
    ),
    ev.CompensationAttemptFailed: Kind(
        folds=undo.compensation_attempt_failed, recalls=None, role=Fails("compensations"), note=None, words=_named
    ),
    ev.CompensationCompleted: Kind(
        folds=undo.compensation_completed,
        recalls=past.was_undone,
        role=Ends("compensations", "completed"),
        note=None,
        words=_named,
    ),
    ev.CompensationFailed: Kind(
        folds=undo.compensation_failed,
        recalls=past.not_undone,
        role=Ends("compensations", "failed"),
        note=None,
        words=_named,
    ),
    ev.CancelRequested: Kind(folds=run.cancel_requested, recalls=None, role=None, note=None, words=_named),
    ms.SubscriptionGranted: Kind(
        folds=msg.granted, recalls=None, role=Ends("joining", "joined"), note=None, words=_named
    ),
    ms.SubscriptionRefused: Kind(
        folds=msg.refused, recalls=None, role=Ends("joining", "refused"), note=None, words=_named
    ),
    ms.MessageReceived: Kind(
        folds=msg.received, recalls=past.received, role=Ends("waits", "received"), note=None, words=_named
    ),
    ms.WaitTimedOut: Kind(
        folds=msg.timed_out, recalls=past.forgets("waits"), role=Ends("waits", "timed_out"), note=None, words=_named
    ),
    ms.MembersListed: Kind(
        folds=msg.members_listed, recalls=None, role=Ends("listing", "listed"), note=None, words=_named
    ),
    ms.RequestRefused: Kind(
        folds=Entries.heard,
        recalls=None,
        role=None,
        note=lambda e: f"refused request {e.name}: {e.error.summary}",
        words=lambda e: f"refusal of request {e.name}",
    ),
    pl.PlaceGranted: Kind(folds=place.granted, recalls=None, role=Ends("places", "granted"), note=None, words=_named),
    pl.PlaceRefused: Kind(folds=place.refused, recalls=None, role=Ends("places", "refused"), note=None, words=_named),
}
COMMANDS: Final[Mapping[type[ev.Command], CommandKind]] = {
    ev.ActivityScheduled: CommandKind(
        folds=run.activity_scheduled,
        recalls=past.activity,
        role=Begins("activities"),
        note=None,
        words=lambda e: f"activity {e.name} as {e.id}",
        fits=lambda a, b: a.name == b.name and _same_json(a.args, b.args),
        acts=True,
    ),
    ev.ActivityCancelRequested: CommandKind(
        folds=run.activity_cancel_requested,
        recalls=past.cancelled,
        role=None,
        note=None,
        words=lambda e: f"cancel of activity {e.id}",
        fits=lambda a, b: a.id == b.id,
        acts=True,
    ),
    ev.DefaultTaken: CommandKind(
        folds=run.nothing,
        recalls=past.default_taken,
        role=None,
        note=None,
        words=lambda e: f"default of activity {e.id}",
        fits=lambda a, b: a.id == b.id,
        acts=False,
    ),
    ev.TimerStarted: CommandKind(
        folds=run.timer_started,
        recalls=past.timer,
        role=Begins("timers"),
        note=None,
        words=lambda e: f"timer {e.id} until {e.when:g} s after the start",
        fits=lambda a, b: a.when == b.when,
        acts=True,
    ),
    ev.TimerCancelled: CommandKind(
        folds=run.timer_ended,
        recalls=past.forgets("timers"),
        role=Ends("timers", "cancelled"),
        note=None,
        words=lambda e: f"cancel of timer {e.id}",
        fits=None,
        acts=True,
    ),
    ev.MessagePublished: CommandKind(
        folds=run.published,
        recalls=past.message,
        role=None,
        note=lambda e: f"published {e.name}",
        words=lambda e: f"publication of {e.name} as {e.id}",
        fits=lambda a, b: (a.name, a.key) == (b.name, b.key) and _same_json(a.data, b.data),
        acts=True,
    ),
    ev.StreamWritten: CommandKind(
        folds=run.written,
        recalls=past.written,
        role=None,
        note=None,
        words=lambda e: f"item of stream {e.name}",
        fits=lambda a, b: (a.id, a.name) == (b.id, b.name) and _same_json(a.data, b.data),
        harmless=True,
        acts=False,
    ),
    ev.ProgressReported: CommandKind(
        folds=run.progress,
        recalls=None,
        role=None,
        note=lambda _: "reported progress",
        words=_named,
        fits=None,
        harmless=True,
        acts=True,
    ),
    ev.ChildStarted: CommandKind(
        folds=run.child_started,
        recalls=past.child,
        role=Begins("children"),
        note=None,
        words=lambda e: f"child workflow {e.workflow} as {e.id}",
        fits=lambda a, b: (a.workflow, a.delay, a.due) == (b.workflow, b.delay, b.due) and _same_json(a.input, b.input),
        acts=True,
    ),
    ev.ChildCancelRequested: CommandKind(
        folds=run.child_cancel_requested,
        recalls=None,
        role=None,
        note=None,
        words=lambda e: f"cancel of child {e.id}",
        fits=None,
        acts=True,
    ),
    ev.PatchMarked: CommandKind(
        folds=run.nothing,
        recalls=None,
        role=None,
        note=None,
        words=lambda e: f"patch {e.name}",
        fits=None,
        harmless=True,
        acts=False,
    ),
    ev.CompensationScheduled: CommandKind(
        folds=undo.compensation_scheduled,
        recalls=past.undoing_began,
        role=Begins("compensations"),
        note=None,
        words=lambda e: f"compensation {e.name} of {e.activity_id}",
        fits=lambda a, b: (a.activity_id, a.name) == (b.activity_id, b.name),
        acts=True,
    ),
    ev.WorkflowAbandoned: CommandKind(
        folds=run.abandoned,
        recalls=None,
        role=None,
        note=lambda _: "ended from its log alone, without its code",
        words=lambda _: "end without the code",
        fits=None,
        acts=False,
    ),
    ev.WorkflowParked: CommandKind(
        folds=run.parked, recalls=None, role=None, note=None, words=_named, fits=None, acts=False
    ),
    ev.InputDeferred: CommandKind(
        folds=run.nothing,
        recalls=None,
        role=None,
        note=None,
        words=lambda _: "putting off of an input",
        fits=None,
        acts=False,
    ),
    ev.WorkflowCaughtUp: CommandKind(
        folds=run.nothing,
        recalls=None,
        role=None,
        note=None,
        words=lambda _: "acting late on deferred inputs",
        fits=None,
        acts=False,
    ),
    ev.DrawsCounted: CommandKind(
        folds=run.nothing,
        recalls=past.draws_counted,
        role=None,
        note=None,
        words=lambda _: "counting of random values",
        fits=None,
        acts=False,
    ),
    ev.WorkflowContinued: CommandKind(
        folds=run.terminal,
        recalls=None,
        role=EndsRun(Status.RUNNING),
        note=None,
        words=lambda e: f"continuation as run {e.run}",
        fits=lambda a, b: a.run == b.run and _same_json(a.input, b.input),
        acts=False,
    ),
    ev.WorkflowCompleted: CommandKind(
        folds=run.terminal,
        recalls=past.over,
        role=EndsRun(Status.COMPLETED),
        note=None,
        words=lambda _: "return of a result",
        fits=lambda a, b: _same_json(a.result, b.result),
        acts=False,
    ),
    ev.WorkflowFailed: CommandKind(
        folds=run.terminal,
        recalls=past.over,
        role=EndsRun(Status.FAILED),
        note=None,
        words=lambda e: f"failure with {e.error.type}",
        fits=lambda a, b: a.error.type == b.error.type,
        acts=False,
    ),
    ev.WorkflowCancelled: CommandKind(
        folds=run.terminal,
        recalls=past.over,
        role=EndsRun(Status.CANCELLED),
        note=None,
        words=lambda _: "end by cancellation",
        fits=lambda _a, _b: True,
        acts=False,
    ),
    ms.Subscribed: CommandKind(
        folds=msg.subscribed,
        recalls=None,
        role=Begins("joining"),
        note=None,
        words=lambda e: f"{e.mode} subscription to {_about(e.topic)}",
        fits=lambda a, b: (a.topic, a.mode) == (b.topic, b.mode),
        acts=True,
    ),
    ms.Unsubscribed: CommandKind(
        folds=msg.unsubscribed,
        recalls=None,
        role=None,
        note=_unsubscribed,
        words=lambda e: f"end of the subscription to {_about(e.topic)}",
        fits=None,
        acts=True,
    ),
    ms.MessageAwaited: CommandKind(
        folds=msg.awaited,
        recalls=past.wait,
        role=Begins("waits"),
        note=None,
        words=lambda e: f"wait for {_awaited(e)}",
        fits=lambda a, b: (a.topic, a.mode, a.due, a.where) == (b.topic, b.mode, b.due, b.where),
        acts=True,
    ),
    ms.WaitCancelled: CommandKind(
        folds=msg.given_up,
        recalls=past.forgets("waits"),
        role=Ends("waits", "cancelled"),
        note=None,
        words=lambda e: f"end of the wait {e.id}",
        fits=None,
        acts=True,
    ),
    ms.MessagePutAside: CommandKind(
        folds=run.nothing,
        recalls=None,
        role=None,
        note=None,
        words=lambda e: f"putting aside of the message of the wait {e.id}",
        fits=lambda a, b: a.id == b.id,
        acts=False,
    ),
    ms.MessageSent: CommandKind(
        folds=msg.sent,
        recalls=past.sent,
        role=None,
        note=_sent,
        words=lambda e: f"sending of {_about(e.message.topic)} as {e.id}" + (f" to {e.to}" if e.to else ""),
        fits=lambda a, b: a.to == b.to and _same_message(a.message, b.message),
        acts=True,
    ),
    ms.RequestAnswered: CommandKind(
        folds=run.nothing,
        recalls=past.request_answered,
        role=None,
        note=_answered,
        words=lambda e: f"answer to request {e.name}",
        fits=_same_answer,
        acts=True,
    ),
    ms.MembersAsked: CommandKind(
        folds=msg.members_asked,
        recalls=None,
        role=Begins("listing"),
        note=None,
        words=lambda e: f"question for the members of {_about(e.topic)}",
        fits=lambda a, b: a.topic == b.topic,
        acts=True,
    ),
    pl.PlaceAsked: CommandKind(
        folds=place.asked,
        recalls=None,
        role=Begins("places"),
        note=None,
        words=lambda e: f"wait for a place in limit {e.limit}" + (f" with key {e.key}" if e.key else ""),
        fits=lambda a, b: (a.limit, a.key, a.whole) == (b.limit, b.key, b.whole),
        acts=True,
    ),
    pl.PlaceNotWanted: CommandKind(
        folds=place.not_wanted,
        recalls=None,
        role=Ends("places", "cancelled"),
        note=None,
        words=lambda e: f"end of the wait for the place {e.id}",
        fits=None,
        acts=True,
    ),
    pl.PlaceFreed: CommandKind(
        folds=place.freed,
        recalls=None,
        role=None,
        note=lambda e: f"gave back its place {e.id.partition('~')[0]}",
        words=lambda e: f"giving back of the place {e.id}",
        fits=None,
        acts=True,
    ),
    un.UndoRegistered: CommandKind(
        folds=undo.registered,
        recalls=past.undo_registered,
        role=None,
        note=lambda e: f"registered the undo {e.name} as {e.id}",
        words=lambda e: f"registration of the undo {e.name} as {e.id}",
        fits=lambda a, b: a.name == b.name and _same_json(a.args, b.args),
        acts=False,
    ),
    un.UndoTakenBack: CommandKind(
        folds=undo.taken_back,
        recalls=None,
        role=None,
        note=lambda e: f"took the undo {e.id} back",
        words=lambda e: f"taking back of the undo {e.id}",
        fits=None,
        acts=False,
    ),
}
_ALL: Final[Iterable[tuple[type[ev.LogEvent], Kind]]] = (*INPUTS.items(), *COMMANDS.items())
KINDS: Final[Mapping[type[ev.LogEvent], Kind]] = dict(_ALL)

# ── the columns that are read for each event ────────────────────────────────────────────────────────────────────────

FOLDS: Final = {kind: means.folds for kind, means in KINDS.items()}
RECALLS: Final = {kind: means.recalls for kind, means in KINDS.items()}
AWAITED: Final[Mapping[type[ev.LogEvent], Part]] = {
    kind: part for kind, means in INPUTS.items() if (part := means.part(Fails, Ends)) is not None and part != "children"
}
"""For each kind of input that is of use only to an open call, the part of the state that holds that call."""
STATUS_OF: Final = {kind: means.role.status for kind, means in KINDS.items() if isinstance(means.role, EndsRun)}
