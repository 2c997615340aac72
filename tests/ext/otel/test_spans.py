"""Spans of an app's hook: which exist, what their parents are, and that there are no duplicates."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from romancy import (
    RetryPolicy,
    Romancy,
    Status,
    Workflow,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    compensation,
    workflow,
)
from romancy.ext.otel import ATTRIBUTES, OpenTelemetry
from romancy_conformance.behaviour.callers import caller_for
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

pytestmark = pytest.mark.anyio

SECRET = "payload 4711"
failures: dict[str, int] = {}


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    failures.clear()


class Traces:
    """A provider in memory, and what it was given."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    def hook(self, **options: Any) -> OpenTelemetry:
        """Return a hook that uses the provider."""
        return OpenTelemetry(tracer_provider=self.provider, **options)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans of this name, the first to end first."""
        return [span for span in self.spans if span.name == name]

    async def ended(self, name: str, times: int = 1) -> None:
        """Wait until so many spans of this name have ended."""
        await until(lambda: len(self.named(name)) >= times)

    def picture(self) -> list[str]:
        """Return each span with its parent and its links."""
        names = {span.context.span_id: span.name for span in self.spans if span.context is not None}
        return sorted(
            f"{span.name} < {names.get(span.parent.span_id) if span.parent is not None else None}"
            + "".join(f" ~ {names.get(link.context.span_id)}" for link in span.links)
            for span in self.spans
        )


@pytest.fixture
def traces() -> Traces:
    return Traces()


@activity(retry=RetryPolicy.fixed(3, 0.0))
async def step(name: str) -> str:
    failures[name] = failures.get(name, 0) - 1
    if failures[name] >= 0:
        raise ConnectionError(SECRET)
    return trace.format_span_id(trace.get_current_span().get_span_context().span_id)


@activity
def on_a_thread() -> str:
    return trace.format_span_id(trace.get_current_span().get_span_context().span_id)


@compensation
async def undo(name: str) -> None: ...


@activity(compensation=undo)
async def do(name: str) -> None: ...


@workflow
async def steps(ctx: WorkflowContext) -> list[str]:
    return [await step("a"), await on_a_thread()]


@workflow
async def undone(ctx: WorkflowContext) -> None:
    await do("a")
    raise LookupError(SECRET)


@workflow
async def in_rounds(ctx: WorkflowContext, left: int) -> None:
    await step(str(left))
    if left:
        in_rounds.recur(left - 1)


@workflow
async def waits(ctx: WorkflowContext) -> None:
    await do("a")
    await ctx.wait_event("go")
    await do("b")
    await do("c")


@workflow
async def starts_after_a_rest(ctx: WorkflowContext) -> None:
    await ctx.wait_event("go")
    await steps()


@workflow
async def hangs(ctx: WorkflowContext) -> None:
    await endless()


@activity
async def endless() -> None:
    failures["endless"] = failures.get("endless", 0) + 1
    if failures["endless"] == 1:
        await asyncio.Event().wait()


WORKFLOWS: list[Workflow[..., Any]] = [steps, undone, in_rounds, waits, starts_after_a_rest, hangs]


def app_on(url: str, *hooks: OpenTelemetry, **options: Any) -> Romancy:
    return Romancy(url, workflows=WORKFLOWS, hooks=hooks, **options)


async def test_attempts_and_what_runs_in_them(storage_url: str, traces: Traces) -> None:
    failures["a"] = 2
    async with app_on(storage_url, traces.hook()) as app:
        with traces.tracer.start_as_current_span("caller"):
            handle = await app.start(steps)
        seen = await handle.result(timeout=60)
        await traces.ended("workflow steps")

    attempts = traces.named("activity step")
    assert [(span.attributes or {})["romancy.outcome"] for span in attempts] == ["retrying", "retrying", "completed"]
    assert [(span.attributes or {})["romancy.attempt"] for span in attempts] == [1, 2, 3]
    assert [span.status.is_ok for span in attempts] == [False, False, True]
    assert [len(span.events) for span in attempts] == [1, 1, 0]
    assert (attempts[0].attributes or {})["error.type"] == "ConnectionError"
    (other,) = traces.named("activity on_a_thread")
    assert seen == [trace.format_span_id(span.context.span_id) for span in (attempts[2], other) if span.context]
    assert traces.picture() == sorted(
        ["caller < None", "start steps < caller", "workflow steps < start steps"]
        + ["activity step < start steps"] * 3
        + ["activity on_a_thread < start steps"]
    )
    known = {attribute.name for attribute in ATTRIBUTES}
    for span in traces.spans:
        assert set(span.attributes or {}) <= known


async def test_a_failure_and_what_it_undoes(storage_url: str, traces: Traces) -> None:
    async with app_on(storage_url, traces.hook()) as app:
        with pytest.raises(WorkflowFailedError):
            await app.run(undone)
        await traces.ended("workflow undone")

    (undoing,) = traces.named("activity undo")
    assert (undoing.attributes or {})["romancy.compensates"] == "do:1"
    (whole,) = traces.named("workflow undone")
    assert (whole.status.is_ok, whole.status.description) == (False, SECRET)
    assert (whole.attributes or {})["romancy.status"] == "failed"


async def test_texts_of_errors_can_be_left_out(storage_url: str, traces: Traces) -> None:
    failures["a"] = 1
    async with app_on(storage_url, traces.hook(error_text=False)) as app:
        await app.run(steps)
        with pytest.raises(WorkflowFailedError):
            await app.run(undone)
        await traces.ended("workflow undone")

    assert SECRET not in "".join(span.to_json() for span in traces.spans)
    assert {span.status.description for span in traces.spans if not span.status.is_ok} >= {"ConnectionError"}


async def test_each_later_run_has_a_trace_of_its_own(
    storage_url: str, traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("romancy.engine.activities.runner._TURN", 1000.0)  # what can share a turn does
    async with app_on(storage_url, traces.hook()) as app:
        await app.run(in_rounds, 1)
        await traces.ended("workflow in_rounds", 2)

    assert traces.picture() == [
        "activity step < resume in_rounds",
        "activity step < start in_rounds",
        "resume in_rounds < None ~ start in_rounds",
        "start in_rounds < None",
        "workflow in_rounds < start in_rounds",
        "workflow in_rounds < start in_rounds ~ resume in_rounds",
    ]
    ended = [(span.attributes or {})["romancy.status"] for span in traces.named("workflow in_rounds")]
    assert ended == ["continued", "completed"]


async def test_a_retry_of_the_instance_begins_a_linked_trace(storage_url: str, traces: Traces) -> None:
    failures["a"] = 3
    async with app_on(storage_url, traces.hook()) as app:
        handle = await app.start(steps)
        with pytest.raises(WorkflowFailedError):
            await handle.result(timeout=60)
        await app.retry(handle.instance_id)
        await handle.result(timeout=60)
        await traces.ended("workflow steps", 2)

    assert "resume steps < None ~ start steps" in traces.picture()
    assert traces.picture().count("activity step < resume steps") == 1


async def test_a_cancelled_attempt_has_a_span_without_an_error(storage_url: str, traces: Traces) -> None:
    async with app_on(storage_url, traces.hook()) as app:
        handle = await app.start(hangs)
        await until(lambda: failures.get("endless"))
        await handle.cancel()
        with pytest.raises(WorkflowCancelledError):
            await handle.result(timeout=60)
        await traces.ended("workflow hangs")

    (attempt,) = traces.named("activity endless")
    assert ((attempt.attributes or {})["romancy.outcome"], attempt.status.is_ok) == ("cancelled", True)


async def test_a_drained_worker_leaves_no_half_of_a_span(storage_url: str, traces: Traces) -> None:
    async with app_on(storage_url, traces.hook()) as app:
        handle = await app.start(hangs)
        await until(lambda: failures.get("endless"))
        await app.drain(0.0)
        async with app_on(storage_url, traces.hook()) as other:
            await other.handle(handle.instance_id).result(timeout=60)
            await traces.ended("workflow hangs")

    assert traces.picture() == ["activity endless < start hangs", "start hangs < None", "workflow hangs < start hangs"]


async def test_what_follows_a_long_rest_has_a_trace_of_its_own(storage_url: str, traces: Traces) -> None:
    hook = traces.hook(new_trace_after=600.0)
    async with app_on(storage_url, hook) as app:
        with traces.tracer.start_as_current_span("monday"):
            handle = await app.start(waits)
        await traces.ended("activity do")
        hook._lines._lines[handle.instance_id].last -= timedelta(hours=1)  # pyright: ignore[reportPrivateUsage]
        with traces.tracer.start_as_current_span("friday"):
            await handle.signal("go")
        await handle.result(timeout=60)
        await traces.ended("workflow waits")

    assert traces.picture() == [
        "activity do < resume waits",
        "activity do < resume waits",
        "activity do < start waits",
        "friday < None",
        "monday < None",
        "receive go < resume waits ~ signal go",
        "resume waits < None ~ start waits ~ signal go",
        "signal go < friday",
        "start waits < monday",
        "workflow waits < start waits ~ resume waits",
    ]


async def test_another_worker_knows_that_the_rest_was_long(storage_url: str, traces: Traces) -> None:
    async with app_on(storage_url, traces.hook()) as app:
        handle = await app.start(starts_after_a_rest)
        await status_is(app, handle.instance_id, Status.WAITING)
    async with app_on(storage_url, traces.hook(new_trace_after=0.0)) as app:
        await app.signal(handle.instance_id, "go")
        await app.handle(handle.instance_id).result(timeout=60)
        await traces.ended("workflow starts_after_a_rest")

    assert "resume starts_after_a_rest < None ~ start starts_after_a_rest" in traces.picture()
    assert "start steps < resume starts_after_a_rest" in traces.picture()


async def test_every_kind_of_start_has_one_span(storage_url: str, traces: Traces) -> None:
    async with app_on(storage_url, traces.hook()) as app:
        calls = [steps.options(instance_id=name).bind() for name in "abc"]
        for handle in await app.start_many(calls):
            await handle.result(timeout=60)
        await app.start_many(calls)  # they are there
        waiting = waits.options(instance_id="w").bind()
        await (await app.signal_with_start(waiting, "go")).result(timeout=60)
        await traces.ended("workflow waits")
        opener = caller_for(storage_url)
        if opener is not None:
            caller = await opener()
            await caller.begin()
            handle = await app.start(steps.options(instance_id="d"), session=caller.connection)
            await caller.commit()
            await handle.result(timeout=60)
            await caller.close()
            calls.append(steps.options(instance_id="d").bind())
        await traces.ended("workflow steps", len(calls))

    assert len(traces.named("start steps")) == len(calls)
    assert len({span.context.trace_id for span in traces.named("start steps") if span.context}) == len(calls)
    assert traces.picture().count("receive go < start waits ~ signal go") == 1


async def test_an_app_without_a_provider_carries_the_trace_on(storage_url: str, traces: Traces) -> None:
    async with app_on(storage_url, OpenTelemetry(tracer_provider=trace.NoOpTracerProvider())) as app:
        with traces.tracer.start_as_current_span("caller"):
            handle = await app.start(steps)
        seen = await handle.result(timeout=60)
        (caller,) = traces.spans

    assert caller.context is not None
    assert seen == [trace.format_span_id(caller.context.span_id)] * 2


def test_a_missing_extra_is_named() -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None
try:
    import romancy.ext.otel
except ModuleNotFoundError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert "pip install 'romancy[otel]'" in said


body_tenant: ContextVar[str] = ContextVar("body_tenant", default="unset")


@workflow
async def traced_in_its_body(ctx: WorkflowContext) -> list[str]:
    body_tenant.set("t")
    with trace.use_span(trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))):
        return [await step("a"), await on_a_thread(), await sees_the_tenant()]


@activity
async def sees_the_tenant() -> str:
    return body_tenant.get()


async def test_a_span_of_the_body_does_not_take_the_place_of_the_attempts(storage_url: str, traces: Traces) -> None:
    """The variable of OpenTelemetry is one of those that a body's calls carry to its activities."""
    async with Romancy(storage_url, workflows=[traced_in_its_body], hooks=[traces.hook()]) as app:
        with traces.tracer.start_as_current_span("caller"):
            handle = await app.start(traced_in_its_body)
        seen = await handle.result(timeout=60)
        await traces.ended("workflow traced_in_its_body")

    spans = [*traces.named("activity step"), *traces.named("activity on_a_thread")]
    assert seen == [*(trace.format_span_id(span.context.span_id) for span in spans if span.context), "t"]
    sent = "start traced_in_its_body"
    assert {f"activity {name} < {sent}" for name in ("step", "on_a_thread", "sees_the_tenant")} <= set(traces.picture())
