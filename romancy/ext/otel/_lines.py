"""Decides to which trace the work of an instance belongs.

It is the trace of its start, which the headers name. A later run, and work after a long rest, has a trace of its own,
which is linked to the start. A trace that grows for weeks is useless, and most backends cut it off.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from opentelemetry import propagate, trace
from opentelemetry.context import Context

from romancy.ext.otel._names import INSTANCE, RUN, WORKFLOW

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from opentelemetry.trace import Span, SpanContext, Tracer

    from romancy.hooks import Happening, Sender

__all__ = ["Line", "Lines", "inside", "link_to", "nanoseconds", "start_of"]

_MOST: Final = 10_000
_EMPTY: Final = Context()


def nanoseconds(at: datetime) -> int:
    """The time as OpenTelemetry counts it."""
    return round(at.timestamp() * 1_000_000) * 1000


def link_to(headers: Mapping[str, str]) -> SpanContext | None:
    """The span that the headers name."""
    if not headers:
        return None
    named = trace.get_current_span(start_of(headers)).get_span_context()
    return named if named.is_valid else None


def start_of(headers: Mapping[str, str]) -> Context:
    """The context that the headers bring."""
    return propagate.extract(headers, context=_EMPTY) if headers else _EMPTY


def inside(span: Span, context: Context) -> Context:
    """The context of what happens inside a span.

    Before version 1.40 of the API, a span without an SDK belongs to no trace. Then its parent stays the current span.
    """
    return trace.set_span_in_context(span, context) if span.get_span_context().is_valid else context


class Line:
    """The known state of a run: its trace, and the time of its last event."""

    __slots__ = ("began_at", "context", "last", "root", "run")

    def __init__(self, run: int, began_at: datetime | None, context: Context, last: datetime) -> None:
        self.run = run
        self.began_at = began_at
        self.context = context
        self.last = last
        self.root: Span | None = None
        """The first span of its own trace, until the log is known to have its event."""


class Lines:
    """The lines of the instances that were last seen here."""

    def __init__(self, tracer: Tracer, long: timedelta) -> None:
        self._tracer = tracer
        self._long = long
        self._lines: OrderedDict[str, Line] = OrderedDict()

    def of(self, about: Happening | Sender, at: datetime, cause: Mapping[str, str] | None = None) -> Line:
        """The line of this run when the log has something new. `cause`: the headers of the message that it received."""
        line = self.before(about, at, cause)
        if line.root is not None:
            line.root.end(nanoseconds(at))
            line.root = None
        return line

    def before(self, about: Happening | Sender, at: datetime, cause: Mapping[str, str] | None = None) -> Line:
        """The line of this run for a message that is about to be written."""
        former = self._lines.get(about.instance_id)
        known = former is not None and former.run == about.run
        if former is not None and known and at - former.last <= self._long:
            former.last = max(former.last, at)
            return former
        rested = known or (about.began_at is not None and at - about.began_at > self._long)
        began_at = former.began_at if former is not None and known else about.began_at
        line = Line(about.run, began_at, start_of(about.headers), at)
        if rested or about.run > 1:
            self._anew(line, about, at, cause or {})
        self._lines[about.instance_id] = line
        self._lines.move_to_end(about.instance_id)
        if len(self._lines) > _MOST:
            self._lines.popitem(last=False)
        return line

    def touch(self, instance_id: str, at: datetime) -> None:
        """Record the time of an event."""
        line = self._lines.get(instance_id)
        if line is not None:
            line.last = max(line.last, at)

    def end(self, instance_id: str) -> Line | None:
        """Forget the line of a run that ended."""
        return self._lines.pop(instance_id, None)

    def _anew(self, line: Line, about: Happening | Sender, at: datetime, cause: Mapping[str, str]) -> None:
        """Begin a trace of its own, linked to the start and to the cause."""
        start = trace.get_current_span(line.context).get_span_context()
        span = self._tracer.start_span(
            f"resume {about.workflow_name}",
            trace.set_span_in_context(trace.INVALID_SPAN, line.context),
            trace.SpanKind.CONSUMER,
            {INSTANCE: about.instance_id, WORKFLOW: about.workflow_name, RUN: about.run},
            [trace.Link(one) for one in (start if start.is_valid else None, link_to(cause)) if one is not None],
            nanoseconds(at),
        )
        if span.get_span_context().is_valid:
            line.root, line.context = span, trace.set_span_in_context(span, line.context)
