"""The hook: spans for sends, attempts, receipts and whole runs, and metrics.

A span ends when the log has its event, with the time of that event. So replays and dead workers cause no duplicate
spans, and no span stays open while a workflow waits.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from opentelemetry import baggage as baggage_api
from opentelemetry import context as contexts
from opentelemetry import metrics, propagate, trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from romancy.ext.otel import _names as names
from romancy.ext.otel._lines import Lines, inside, link_to, nanoseconds, start_of
from romancy.ext.otel._measures import Measures
from romancy.hooks import (
    ActivityEnded,
    ActivityStarted,
    Hook,
    TicksSkipped,
    WaitEnded,
    WorkflowContinued,
    WorkflowEnded,
    WorkflowStarted,
    WorkflowStuck,
)
from romancy.retry import seconds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from romancy.hooks import Happening, Sending
    from romancy.retry import Duration

__all__ = ["OpenTelemetry"]

_MOST: Final = 10_000
_LOOK_EVERY: Final = 1.0
_API: Final = ("opentelemetry.trace", "opentelemetry.metrics")
"""Where the providers of the API itself are from, which do nothing."""
_FAILED: Final = ("failed", "retrying")


class OpenTelemetry(Hook):
    """Traces and measures an app: `Romancy(url, hooks=[OpenTelemetry()])`. Needs the extra `romancy[otel]`.

    Without a provider of yours, it only passes a caller's trace on.
    """

    def __init__(
        self,
        *,
        new_trace_after: Duration = timedelta(minutes=10),
        error_text: bool = True,
        baggage: bool = False,
        tracer_provider: Any = None,
        meter_provider: Any = None,
    ) -> None:
        """Work after a rest longer than `new_trace_after` gets a trace of its own.

        With `error_text=False`, spans name the types of exceptions and leave out their messages and tracebacks, which
        may quote payloads. With `baggage=True`, the caller's baggage is written into the database with each message and
        travels on; it may hold data of users. Without providers, the global ones are used, also those that are set
        later.
        """
        self._baggage = baggage
        self._tracer = trace.get_tracer(names.SCOPE, tracer_provider=tracer_provider)
        self._measures = Measures(metrics.get_meter(names.SCOPE, meter_provider=meter_provider))
        self._lines = Lines(self._tracer, timedelta(seconds=seconds(new_trace_after, "new_trace_after")))
        self._error_text = error_text
        self._given = tracer_provider, meter_provider
        self._look_at = 0.0
        self._idle = False
        self._sendings: WeakKeyDictionary[Sending, Span] = WeakKeyDictionary()
        self._attempts: OrderedDict[tuple[str, str, int], _Attempt] = OrderedDict()
        """Attempts whose code has ended, and whose end is not in the log yet."""

    def idle(self) -> bool:
        """Whether there is no SDK at present. It is looked for once a second."""
        now = monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY
            spans, measures = self._given
            providers = spans or trace.get_tracer_provider(), measures or metrics.get_meter_provider()
            self._idle = all(type(one).__module__.startswith(_API) for one in providers)
        return self._idle

    # ── what is sent ────────────────────────────────────────────────────────────────────────────────────────────

    def sending(self, message: Sending, /) -> Mapping[str, str]:
        """Add the trace context to the headers."""
        parent = self._parent_of(message)
        here = trace.get_current_span(parent).get_span_context()
        brought = link_to(message.headers) if message.sender is None else None
        span = self._tracer.start_span(
            f"{message.kind} {message.name}",
            parent,
            SpanKind.PRODUCER,
            _about_sending(message),
            [Link(brought)] if brought is not None and brought.trace_id != here.trace_id else None,
        )
        if span.is_recording():
            self._sendings[message] = span
        carrier: dict[str, str] = {}
        inner = inside(span, parent)
        propagate.inject(carrier, inner if self._baggage else baggage_api.clear(inner))
        return carrier

    def _parent_of(self, message: Sending) -> Context:
        """The parent context of a sending: that of the running code, or of the run whose body sends it."""
        sender = message.sender
        if sender is not None and sender.activity_id is None:
            return self._lines.before(sender, sender.at).context
        here = contexts.get_current()
        if message.headers and not trace.get_current_span(here).get_span_context().is_valid:
            return propagate.extract(message.headers, context=here)
        return here

    def sent(self, message: Sending, /) -> None:
        """End the span of the sending."""
        self._measures.sent(message.kind)
        span = self._sendings.pop(message, None)
        if span is not None:
            span.end()

    # ── the worker ──────────────────────────────────────────────────────────────────────────────────────────────

    def commit_took(self, seconds: float, _items: int, /) -> None:
        """A batch of writes was accepted."""
        self._measures.committed(seconds)

    def lease_lost(self, _worker_id: str, /) -> None:
        """A worker lost its lease."""
        self._measures.lease_lost()

    # ── attempts ────────────────────────────────────────────────────────────────────────────────────────────────

    def around_activity(self, attempt: ActivityStarted, /) -> _Attempt:
        """The span is current while the activity's code runs."""
        line = self._lines.of(attempt, attempt.at)
        span = self._tracer.start_span(f"activity {attempt.activity_name}", line.context, SpanKind.CONSUMER)
        return _Attempt(self, attempt, span, line.context)

    def attempt_left(self, attempt: _Attempt) -> None:
        """The code of an attempt has ended. Its span ends when the log says how."""
        started = attempt.started
        self._attempts[started.instance_id, started.activity_id, started.attempt] = attempt
        if len(self._attempts) > _MOST:
            self._attempts.popitem(last=False)

    def _attempt_ended(self, event: ActivityEnded) -> None:
        self._measures.attempt(event)
        self._lines.touch(event.instance_id, event.at)
        attempt = self._attempts.pop((event.instance_id, event.activity_id, event.attempt), None)
        if attempt is None:
            return
        span = attempt.span
        span.set_attributes(_about_attempt(event))
        if event.outcome in _FAILED:
            if attempt.error is not None and self._error_text:
                span.record_exception(attempt.error)
            if event.error_type is not None:
                span.set_attribute(names.ERROR, event.error_type)
            if event.expected:
                span.set_attribute(names.EXPECTED, event.expected)
            else:
                text = event.error_message if self._error_text else None
                span.set_status(Status(StatusCode.ERROR, text or event.error_type))
        span.end(attempt.ended_at)

    # ── what the log says ───────────────────────────────────────────────────────────────────────────────────────

    def happened(self, event: Happening, /) -> None:
        """As `Hook.happened` promises."""
        match event:
            case ActivityStarted():
                self._measures.waited(event.activity_name, event.waited)
            case ActivityEnded():
                self._attempt_ended(event)
            case WaitEnded():
                self._wait_ended(event)
            case WorkflowStarted():
                self._lines.of(event, event.at)
                if (tick := event.scheduled_at) is not None:
                    self._measures.late(event.workflow_name, event.at - tick)
            case TicksSkipped():
                self._measures.skipped(event.starts, event.number)
            case WorkflowEnded():
                self._run_ended(event, event.status.value)
            case WorkflowContinued():
                self._run_ended(event, "continued")
            case WorkflowStuck():
                self._measures.stuck(event.workflow_name)
            case _:
                pass

    def _wait_ended(self, event: WaitEnded) -> None:
        line = self._lines.of(event, event.at, event.message_headers)
        if event.outcome != "received":
            return
        end = nanoseconds(event.at)
        sender = link_to(event.message_headers)
        span = self._tracer.start_span(
            f"receive {event.name}",
            line.context,
            SpanKind.CONSUMER,
            {
                names.INSTANCE: event.instance_id,
                names.WORKFLOW: event.workflow_name,
                names.RUN: event.run,
                names.EVENT: event.name,
                names.WAIT: event.wait_id,
                names.WORKER: event.worker_id,
            },
            None if sender is None else [Link(sender)],
            end,
        )
        span.end(end)

    def _run_ended(self, event: WorkflowEnded | WorkflowContinued, status: str) -> None:
        line = self._lines.end(event.instance_id)
        began = event.began_at
        if isinstance(event, WorkflowContinued):
            began = line.began_at if line is not None and line.run == event.run else None
        if began is None:
            return
        self._measures.run(event, status, event.at - began)
        start = start_of(event.headers)
        links = []
        if line is not None and line.run == event.run:
            latest = trace.get_current_span(line.context).get_span_context()
            first = trace.get_current_span(start).get_span_context()
            if latest.is_valid and latest.trace_id != first.trace_id:
                links = [Link(latest)]
        span = self._tracer.start_span(
            f"workflow {event.workflow_name}",
            start,
            SpanKind.INTERNAL,
            _about_run(event, status),
            links,
            nanoseconds(began),
        )
        if isinstance(event, WorkflowEnded) and event.error_type is not None and not event.expected:
            text = event.error_message if self._error_text else None
            span.set_status(Status(StatusCode.ERROR, text or event.error_type))
        span.end(nanoseconds(event.at))


class _Attempt:
    """The block around one attempt."""

    __slots__ = ("_context", "_hook", "_token", "ended_at", "error", "span", "started")

    def __init__(self, hook: OpenTelemetry, started: ActivityStarted, span: Span, context: Context) -> None:
        self._hook = hook
        self._context = context
        self.started = started
        self.span = span
        self.ended_at = 0
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        self._token = contexts.attach(inside(self.span, self._context))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_: TracebackType | None
    ) -> None:
        contexts.detach(self._token)
        if self.span.is_recording():
            self.ended_at, self.error = time_ns(), error
            self._hook.attempt_left(self)


def _about_sending(message: Sending) -> dict[str, Any]:
    about: dict[str, Any] = {names.KIND: message.kind}
    about[names.WORKFLOW if message.kind == "start" else names.EVENT] = message.name
    if message.to is not None:
        about[names.TARGET] = message.to
    if message.sender is not None:
        about[names.INSTANCE] = message.sender.instance_id
        about[names.RUN] = message.sender.run
        if message.sender.activity_id is not None:
            about[names.ACTIVITY_ID] = message.sender.activity_id
    return about


def _about_attempt(event: ActivityEnded) -> dict[str, Any]:
    about: dict[str, Any] = {
        names.INSTANCE: event.instance_id,
        names.WORKFLOW: event.workflow_name,
        names.RUN: event.run,
        names.ACTIVITY_ID: event.activity_id,
        names.ACTIVITY: event.activity_name,
        names.ATTEMPT: event.attempt,
        names.OUTCOME: event.outcome,
        names.WORKER: event.worker_id,
    }
    if event.compensates is not None:
        about[names.COMPENSATES] = event.compensates
    if event.unknown:
        about[names.UNKNOWN] = True
    if event.next_attempt_at is not None:
        about[names.NEXT_ATTEMPT] = event.next_attempt_at.isoformat()
    return about


def _about_run(event: WorkflowEnded | WorkflowContinued, status: str) -> dict[str, Any]:
    about: dict[str, Any] = {
        names.INSTANCE: event.instance_id,
        names.WORKFLOW: event.workflow_name,
        names.RUN: event.run,
        names.STATUS: status,
        names.WORKER: event.worker_id,
    }
    if isinstance(event, WorkflowEnded):
        if event.error_type is not None:
            about[names.ERROR] = event.error_type
        if event.expected:
            about[names.EXPECTED] = True
        if event.uncompensated:
            about[names.UNCOMPENSATED] = list(event.uncompensated)
        if event.unknown:
            about[names.UNKNOWN_ACTIVITIES] = list(event.unknown)
    return about
