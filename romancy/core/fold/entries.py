"""What a run has in flight, what it may have to undo, and what it takes from former runs: the entries of its state.

The rules of each kind of event change them (`run_rules.py`, `message_rules.py`, `undo_rules.py`).
"""

from __future__ import annotations

from bisect import bisect_left
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from romancy.core.fold.in_flight import LATEST, Compensable
from romancy.core.words.effects import StopAt
from romancy.core.words.shared_empty import NO_DICT, NO_LIST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msgspec import Raw

    from romancy.core.fold.answers import ActivityCall
    from romancy.core.fold.former_runs import FormerRuns
    from romancy.core.fold.in_flight import Attempted, Child, Undoing
    from romancy.core.fold.memory import Kind, Memory, Remembered
    from romancy.core.words import events as ev
    from romancy.core.words import message_events as ms
    from romancy.core.words import place_events as pl
    from romancy.core.words.definitions import ActivityDefinition
    from romancy.core.words.messages import Mode, Topic

__all__ = ["Entries"]

_ITS_END: Final = ""
_WITH_ATTEMPTS: Final = ("activities", "compensations")
_NEVER: Final = -(2**62)  # before every time, also before 1970, where a test may begin


class Entries:
    """The entries of one run's state after the events applied so far."""

    __slots__ = (
        "abandoned",
        "activities",
        "cancel",
        "children",
        "compensable",
        "compensations",
        "due",
        "frozen",
        "held",
        "joining",
        "known",
        "latest",
        "left",
        "limits",
        "listing",
        "memory",
        "not_undone",
        "parked",
        "places",
        "progress",
        "put_off",
        "recall",
        "requests",
        "started",
        "subscriptions",
        "terminal",
        "time",
        "timers",
        "to_compensate",
        "uncompensated",
        "undoing",
        "undos",
        "unknown",
        "waits",
    )

    def __init__(  # noqa: PLR0915 - one statement a field
        self, compensable: dict[str, ActivityDefinition] = NO_DICT
    ) -> None:
        self.compensable = compensable
        """Activities whose effect can be undone, by name."""
        self.undos: dict[str, ActivityDefinition] = NO_DICT
        """Activities that the body has registered as undos, by the ids of the undos."""
        self.known: Mapping[str, ActivityDefinition] = NO_DICT
        """Activities that the run may not have called itself; they undo the effects of former runs."""
        self.latest = ""
        """The activity that completed last."""
        self.recall: FormerRuns | None = None
        """The runs that this one retries."""
        self.memory: Memory | None = None
        """The memory of those runs."""
        self.requests: Mapping[tuple[str, str], None] = NO_DICT
        """The requests that those runs have answered, by name and id."""
        self.started: ev.WorkflowStarted | None = None
        self.time, self.put_off = _NEVER, 0
        """When its last input came, and by how much pauses have put off, in all, what it waited for."""
        self.activities: dict[str, ActivityCall] = {}
        """The calls of activities that were scheduled and whose outcome is not known."""
        self.timers: dict[str, ev.TimerStarted] = NO_DICT
        self.waits: dict[str, ms.MessageAwaited] = NO_DICT
        self.subscriptions: dict[Topic, Mode] = NO_DICT
        """The topics that the instance has subscribed to."""
        self.joining: dict[str, ms.Subscribed] = NO_DICT
        """Pending subscriptions: asked for, and neither granted nor refused."""
        self.listing: dict[str, ms.MembersAsked] = NO_DICT
        """Questions for the members of channels that have no answer."""
        self.left: dict[Topic, None] = NO_DICT
        """The topics whose copies the run gets no more: it neither subscribes nor waits. It ignores those that come."""
        self.places: dict[str, pl.PlaceAsked] = NO_DICT
        """Places under limits that the run waits for."""
        self.held: dict[str, pl.PlaceAsked] = NO_DICT
        """Places under limits that the run has."""
        self.children: dict[str, Child] = NO_DICT
        self.compensations: dict[str, Attempted] = NO_DICT
        self.to_compensate: list[Compensable] = NO_LIST
        self.uncompensated: tuple[str, ...] = ()
        self.not_undone: list[ev.CompensationScheduled] = NO_LIST
        """The compensations of the run that failed for good."""
        self.undoing: Undoing | None = None
        """What is undone of the run before its instance is rewound."""
        self.unknown: tuple[str, ...] = ()
        """Activities of which nobody knows whether they took effect, and which are not to be undone."""
        self.cancel: ev.CancelRequested | None = None
        self.limits: dict[str, StopAt] = NO_DICT
        """When the instance is to stop, while its body goes on; empty without a limit."""
        self.parked: str | None = None
        self.abandoned = False
        self.progress: Raw | None = None
        self.terminal: ev.Command | None = None
        self.due: list[tuple[int, str, str]] = NO_LIST
        """A heap of due times. Entries that are no longer waited for stay until they come up."""
        self.frozen: int | None = None
        """Since when the instance is paused, if what it waits for is due as much later as it is paused."""

    def begin_limit(self, due: int, limit: int) -> None:
        """Record when the instance is to stop."""
        self.limits = {_ITS_END: StopAt(due, limit)}
        self.expect(due, "limits", _ITS_END)

    def thaw(self, at: int) -> None:
        """Record that a pause is over. If the time of its waits stood, all that is waited for is due later by it."""
        if self.frozen is None:
            return
        by, self.frozen = max(at - self.frozen, 0), None
        self.put_off += by
        for id, timer in [*self.timers.items()]:
            due = timer.due + by
            self.timers[id] = replace(timer, due=due)
            self.expect(due, "timers", id)
        for id, wait in [*self.waits.items()]:
            if wait.due is not None:
                due = wait.due + by
                self.waits[id] = replace(wait, due=due)
                self.expect(due, "waits", id)
        for stop in [*self.limits.values()]:
            due = stop.due + by
            self.begin_limit(due, stop.limit)
            started: ev.WorkflowStarted | None = self.started
            self.started = None if started is None else replace(started, deadline=due)  # the next run has the same

    def end_limit(self) -> None:
        """Record that the instance has stopped, or was asked to."""
        self.limits = NO_DICT

    def can_undo(self, definition: ActivityDefinition) -> None:
        """Record that this activity has a compensation, or is one itself."""
        if self.compensable is NO_DICT:
            self.compensable = {}
        self.compensable[definition.name] = definition

    def compensates(self, activity: str) -> str:
        """Which outcomes of an activity of this name are undone: `completed`, also `attempted`, or none (empty)."""
        definition = self.undoes(activity)
        return "" if definition is None else definition.given.compensate

    def undoes(self, activity: str) -> ActivityDefinition | None:
        """The activity of this name, if it has a compensation."""
        definition = self.compensable.get(activity)
        if definition is None and self.memory is not None:
            definition = self.known.get(activity)
        return None if definition is None or definition.undo is None else definition

    def register(self, undo: str, definition: ActivityDefinition) -> None:
        """Record with which options the body has registered the activity as the undo of this id."""
        if self.undos is NO_DICT:
            self.undos = {}
        self.undos[undo] = definition

    def registered(self, undo: str, name: str) -> ActivityDefinition | None:
        """The activity that a body has registered as the undo of this id; as it is declared, if no body was run."""
        return self.undos.get(undo) or self.compensable.get(name) or self.known.get(name)

    def heard(self, event: ev.Input) -> None:
        """Record that an input came: the time goes on, and the run is no longer parked."""
        if event.at > self.time:  # noqa: PLR1730 - a call of `max` costs as much as ten lines
            self.time = event.at
        self.parked = None

    @property
    def waits_for_something(self) -> bool:
        """Whether an input that answers a command may still come."""
        return bool(
            self.activities or self.timers or self.waits or self.children or self.joining or self.listing or self.places
        )

    def wake_at(self) -> int | None:
        """The earliest time (µs) at which something is due by the clock alone; None once the run has ended."""
        if self.terminal is not None:
            return None
        due = self.due
        while due and not self._still_due(*due[0]):
            heappop(due)
        return due[0][0] if due else None

    def _still_due(self, at: int, kind: str, id: str) -> bool:
        waiting: Any = getattr(self, kind).get(id)
        if waiting is None:
            return False
        return bool((waiting.next_at if kind in _WITH_ATTEMPTS else waiting.due) == at)

    def expect(self, at: int, kind: str, id: str) -> None:
        """Record a due time, which counts if the run still waits for it by then."""
        if self.due is NO_LIST:
            self.due = []
        heappush(self.due, (at, kind, id))

    def undo_later(self, scheduled: ev.ActivityScheduled, result: Raw) -> None:
        """Record that the effect of this activity is to be undone if the run fails."""
        former = None if self.memory is None else self.memory.given.get(("activities", scheduled.id))
        if former is None or former.undone:
            self.put_back(Compensable(scheduled, result))
        else:
            self.put_back(Compensable(scheduled, result, former.position, former.undo_key))

    def put_back(self, done: Compensable) -> None:
        """Insert the entry by the time of completion, in place of the entry that a former run left for it."""
        if self.to_compensate is NO_LIST:
            self.to_compensate = []
        waiting = self.to_compensate
        if done.position == LATEST:
            waiting.append(done)
            return
        place = bisect_left(waiting, done.position, key=lambda one: one.position)
        if place < len(waiting) and waiting[place].position == done.position:
            waiting[place] = done
        else:
            waiting.insert(place, done)

    # ── what former runs left ───────────────────────────────────────────────────────────────────────────────────

    @property
    def remembered(self) -> Mapping[tuple[Kind, str], Remembered]:
        """The requests that are to be answered from the memory."""
        return NO_DICT if self.memory is None else self.memory.to_answer

    def answered(self, kind: Kind, id: str) -> None:
        """Record that a request has its answer."""
        if self.memory is not None:
            self.memory.to_answer.pop((kind, id), None)

    def given_up(self, kind: Kind, id: str) -> None:
        """Record that the answer is no longer wanted. The next such request may have it."""
        if self.memory is not None:
            self.memory.give_back(kind, id)

    def next_answer(self) -> ev.Input | None:
        """The next input that comes from a former run, if any. It stays the next until it is applied."""
        return None if self.memory is None else self.memory.next_answer(self.time)

    def left_unknown(self) -> tuple[str, ...]:
        """What a failure names: activities of unknown outcome, and those of former runs that stand without a result."""
        return self.unknown if self.memory is None else (*self.unknown, *self.memory.standing_without_result())
