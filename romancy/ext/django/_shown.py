"""An instance's input and log as lines for the admin. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy._microseconds import at_of, moment_of
from romancy.errors import RomancyError
from romancy.insight import Note, Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from romancy.insight import Step
    from romancy.instance import Instance
    from romancy.log import LogEntry
    from romancy.serialization import Codecs

__all__ = ["Line", "lines_of", "text_of_input"]

_LONGEST: Final = 4000
_LONGEST_ERROR: Final = 400


class Line(NamedTuple):
    """A step of an instance, or a note about it."""

    at: datetime | None
    what: str
    outcome: str
    ended_at: datetime | None
    failures: int
    error: str


def lines_of(entries: Sequence[LogEntry]) -> list[Line]:
    """The log as lines, in the order in which they began."""
    timeline = Timeline()
    for entry in entries:
        timeline.take(entry.event, at=at_of(entry.at))
    return [_line(each) for each in timeline.entries]


def _line(entry: Step | Note) -> Line:
    error = entry.error.summary[:_LONGEST_ERROR] if entry.error is not None else ""
    if isinstance(entry, Note):
        return Line(moment_of(entry.at), entry.text, "", None, 0, error)
    if not error and entry.failures:
        error = entry.failures[-1].error.summary[:_LONGEST_ERROR]
    ended = None if entry.ended_at is None else moment_of(entry.ended_at)
    return Line(
        moment_of(entry.began_at), f"{entry.kind} {entry.id}", entry.outcome, ended, entry.failed_attempts, error
    )


def text_of_input(instance: Instance, codecs: Codecs) -> str | None:
    """The input as indented JSON, the beginning of a long one. None if codecs wrap it: not everybody may read it."""
    if codecs.ids:
        return None
    try:
        text = json.dumps(instance.input, indent=2, ensure_ascii=False)
    except RomancyError as error:
        return str(error)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
