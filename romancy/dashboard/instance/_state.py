"""The state of an instance as of one event: the last report, open steps, and the last ended steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from romancy.core import LogEvent, ProgressReported, WorkflowStarted
from romancy.dashboard.instance import _places
from romancy.dashboard.instance._payload import WIDE
from romancy.dashboard.instance._rows import Given, Row, given_in, offset, row_of
from romancy.dashboard.instance._window import COMMITS, Window, read_window
from romancy.insight import Note, Place, Step, Timeline

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["READS", "State", "read_state", "state_at"]

READS: Final = 5
"""Upper bound on the statements that look back for open steps."""
_MOST_DONE: Final = 50


@dataclass
class State:
    """An instance as it was when one event had been written, and no other after it."""

    place: Place
    event: LogEvent
    at: str
    """When, since the beginning."""
    given: tuple[Given, ...]
    """The contents of the event."""
    report: tuple[Given, ...] = ()
    outstanding: list[Row] = field(default_factory=list[Row])
    done: list[Row] = field(default_factory=list[Row])
    """The last steps that had ended, latest first."""
    said: list[Row] = field(default_factory=list[Row])
    """Notes of the same commit: an end, a cancellation, a stop."""
    previous: str = ""
    next: str = ""
    from_seq: int = 1
    """The first commit that was read."""
    whole: bool = True
    """Whether the whole run was read."""


async def read_state(store: Store, row: InstanceRow, place: Place) -> State | None:
    """The state as of this place, or None if the log has no such event."""
    seq = place[0]
    first = row.run_from if seq >= row.run_from else 1
    after = max(first - 1, seq - READS * COMMITS + 1, 0)
    window = await read_window(store, row.instance_id, after, reads=READS, until=seq + 1)
    return None if window is None else state_at(window, place)


def state_at(window: Window, place: Place) -> State | None:
    """Fold the window's events up to the place. None if the window has no such event."""
    seq, index = place
    commit = next((commit for commit in window.commits if commit.seq == seq), None)
    if commit is None or index >= len(commit.events):
        return None
    index = len(commit.events) - 1 if index == _places.WHOLE else index
    place = (seq, index)
    timeline, origin = Timeline(detailed=True), window.zero
    moment, begun = 0, False
    report: tuple[Given, ...] = ()
    for here, event, at in window.events():
        if here > place:
            break
        timeline.take(event, here, at)
        moment = max(moment, at)
        if isinstance(event, WorkflowStarted):
            report, begun = (), True
        elif isinstance(event, ProgressReported):
            report = given_in(event, here, WIDE)
    event = commit.events[index]
    state = State(place, event, offset(moment, origin), given_in(event, place), report)
    state.outstanding = [row_of(step, origin, moment) for step in timeline.open]
    ended = (each for each in reversed(timeline.entries) if isinstance(each, Step) and each.ended_at is not None)
    state.done = [row_of(step, origin, moment) for step in islice(ended, _MOST_DONE)]
    notes = [each for each in timeline.entries[-len(commit.events) :] if isinstance(each, Note)]
    state.said = [row_of(note, origin, moment) for note in notes if note.place[0] == seq]
    state.previous, state.next = _neighbours(window, place)
    state.from_seq, state.whole = window.begins, begun
    return state


def _neighbours(window: Window, place: Place) -> tuple[str, str]:
    seq, index = place
    near = [commit for commit in window.commits if abs(commit.seq - seq) <= 1]
    places = [(commit.seq, event) for commit in near for event in range(len(commit.events))]
    at = places.index((seq, index))
    after = _places.text(places[at + 1]) if at + 1 < len(places) else ""
    if at:
        return _places.text(places[at - 1]), after
    return _places.text((seq - 1, _places.WHOLE)) if window.after >= 1 else "", after
