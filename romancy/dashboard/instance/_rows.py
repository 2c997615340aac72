"""The rows of a timeline, for its picture and its table: input, outcome and duration of each step. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Raw, Struct

from romancy.dashboard.instance import _places
from romancy.dashboard.instance._payload import NARROW, Payload, payload
from romancy.insight import Bar, Note, Step, bars, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.core import LogEvent
    from romancy.dashboard.instance._payload import Bounds
    from romancy.insight import Place

__all__ = ["Failure", "Given", "Row", "given_in", "lasted", "offset", "row_of"]

_PAYLOADS: Final = ("args", "about", "input", "result", "data", "state", "where", "metadata", "details")
_MOMENT: Final = 1000
_BAD: Final = ("failed", "refused", "stuck")
_QUIET: Final = ("cancelled", "never started", "left open")


class Given(Struct, frozen=True, gc=False):
    """A payload with the place of its complete text."""

    name: str
    """The field of the event."""
    place: str
    payload: Payload


class Failure(Struct, frozen=True, gc=False):
    """A failed attempt, as text."""

    number: int
    at: str
    took: str
    queued: str
    error: str
    """With the lines of the source."""
    unknown: bool = False


class Row(Struct, frozen=True, gc=False):
    """A step, or a note about the instance."""

    place: str
    anchor: str
    kind: str
    label: str
    outcome: str
    tone: str
    """`good`, `bad`, `quiet`, `open` or `note`."""
    at: str
    took: str = ""
    queued: str = ""
    attempts: int = 0
    bars: tuple[Bar, ...] = ()
    begins: int = 0
    ends: int = 0
    asked: tuple[Given, ...] = ()
    answers: tuple[Given, ...] = ()
    failures: tuple[Failure, ...] = ()
    dropped: int = 0
    """How many attempts have failed of which the log has nothing more."""
    error: str = ""
    cause: str = ""
    """The line of the error that says what was raised."""
    child: str = ""
    undoes: str = ""
    waits_for: str = ""


def row_of(entry: Step | Note, origin: int, until: int, *, beyond: bool = False, bounds: Bounds = NARROW) -> Row:
    """The row of an entry of a detailed timeline. `beyond`: the log continues after the part that was read."""
    if isinstance(entry, Note):
        return _of_note(entry, origin)
    return _of_step(entry, origin, until, beyond=beyond, bounds=bounds)


def offset(at: int, origin: int) -> str:
    """A time since the beginning."""
    return f"+{lasted(max(at - origin, 0))}".replace("+<", "<")


def lasted(microseconds: int) -> str:
    """How long something took."""
    return "< 1 ms" if 0 < microseconds < _MOMENT else span(microseconds)


def given_in(event: LogEvent | None, place: Place | None, bounds: Bounds = NARROW) -> tuple[Given, ...]:
    """The payloads of an event."""
    if event is None or place is None:
        return ()
    found = ((name, getattr(event, name, None)) for name in _PAYLOADS)
    where = _places.text(place)
    return tuple(
        Given(name, where, payload(bytes(value), bounds))
        for name, value in found
        if isinstance(value, Raw) and bytes(value) not in {b"", b"null"}
    )


def _of_note(note: Note, origin: int) -> Row:
    bad = note.error is not None or note.text.startswith(_BAD)
    return Row(
        place=_places.text(note.place),
        anchor=_anchor(note.place),
        kind="note",
        label=note.text.partition("\n")[0],
        outcome="",
        tone="bad" if bad else "note",
        at=offset(note.at, origin),
        begins=note.at,
        ends=note.at,
        asked=given_in(note.event, note.place),
        error="" if note.error is None else note.error.report,
        cause="" if note.error is None else note.error.summary,
    )


def _of_step(step: Step, origin: int, until: int, *, beyond: bool, bounds: Bounds) -> Row:
    drawn = tuple(bars(step, until))
    ended = step.ended_at if step.ended_at is not None else step.left_at
    attempts = max((bar.attempt for bar in drawn), default=0)
    outcome = _outcome(step, beyond=beyond)
    return Row(
        place=_places.text(step.place),
        anchor=_anchor(step.place),
        kind=step.kind,
        label=_label(step),
        outcome=outcome,
        tone=_tone(outcome, is_open=step.is_open),
        at=offset(step.began_at, origin),
        took=lasted((until if ended is None else ended) - step.began_at),
        queued=_queued(drawn),
        attempts=attempts,
        bars=drawn,
        begins=step.began_at,
        ends=until if ended is None else ended,
        asked=given_in(step.asked, step.place, bounds),
        answers=given_in(step.answer, step.end_place, bounds),
        failures=tuple(_failures(step, origin)),
        dropped=step.dropped_attempts,
        error="" if step.error is None else step.error.report,
        cause="" if step.error is None else step.error.summary,
        child=step.instance_id or "",
        undoes=step.undoes or "",
        waits_for=step.key or "",
    )


def _failures(step: Step, origin: int) -> list[Failure]:
    return [
        Failure(
            failure.number,
            offset(failure.at, origin),
            lasted(max(failure.at - failure.due - failure.queued, 0)),
            lasted(failure.queued) if failure.queued else "",
            failure.error.report,
            failure.unknown,
        )
        for failure in step.failures
    ]


def _queued(drawn: Sequence[Bar]) -> str:
    queued = sum(bar.ends - bar.begins for bar in drawn if bar.kind == "queue")
    return lasted(queued) if queued else ""


def _label(step: Step) -> str:
    if step.kind == "child":
        return f"{step.name} ({step.id})" if not step.id.startswith(step.name) else step.id
    if step.kind == "compensation":
        return step.name
    return step.id if step.name in step.id or step.kind == "timer" else f"{step.name} ({step.id})"


def _outcome(step: Step, *, beyond: bool) -> str:
    if step.is_open:
        return "ends further on" if beyond else "open"
    return "left open" if step.ended_at is None else step.ended_as


def _tone(outcome: str, *, is_open: bool) -> str:
    if is_open:
        return "open"
    if outcome.startswith(_BAD):
        return "bad"
    return "quiet" if outcome.startswith(_QUIET) else "good"


def _anchor(place: Place) -> str:
    return f"e{place[0]}-{place[1]}"
