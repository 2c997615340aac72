"""The time that hooks add to a step: no hook, one that receives all events, OpenTelemetry without an SDK, and with one.

`python -m benchmarks.bench_hooks` runs a workflow of many steps on the memory store, in alternating rounds. It prints
the CPU time of a step and the time that each kind of hook adds. The best of the rounds counts. OpenTelemetry without an
SDK must add at most 3 µs. The table also shows the cost of the SDK, with spans that are discarded. A last column
compares with the call of an empty Python function, because machines differ in speed.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.ext.otel import OpenTelemetry
from romancy.hooks import Hook

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from romancy.hooks import Happening

TARGET: Final = 3.0
"""Microseconds that OpenTelemetry may add to a step without an SDK."""


@activity
async def step(number: int) -> int:
    return number


@workflow
async def line(ctx: WorkflowContext, steps: int) -> int:
    return sum([await step(number) for number in range(steps)])


class Told(Hook):
    """A hook that receives all events and does nothing."""

    def happened(self, event: Happening, /) -> None: ...


class Nowhere(SpanExporter):
    """An exporter that discards all spans."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def with_an_sdk() -> OpenTelemetry:
    """A hook with an SDK whose exporters cost nothing."""
    spans = TracerProvider()
    spans.add_span_processor(BatchSpanProcessor(Nowhere()))
    return OpenTelemetry(tracer_provider=spans, meter_provider=MeterProvider([InMemoryMetricReader()]))


KINDS: Final[dict[str, Callable[[], list[Hook]]]] = {
    "no hooks": list,
    "a hook that is told all": lambda: [Told()],
    "OpenTelemetry, no SDK": lambda: [OpenTelemetry()],
    "OpenTelemetry, SDK": lambda: [with_an_sdk()],
}


async def measured(hooks: list[Hook], steps: int) -> float:
    """Return the CPU microseconds of a step."""
    async with Romancy(f"memory://{time.monotonic_ns()}", workflows=[line], hooks=hooks) as app:
        await app.run(line, steps // 10)
        began = time.process_time()
        await app.run(line, steps)
        return (time.process_time() - began) / steps * 1e6


def nothing() -> None: ...


def empty_call() -> float:
    """Return the CPU microseconds of the call of an empty function."""
    count, found = 100_000, list[float]()
    for _ in range(10):
        began = time.process_time()
        for _ in range(count):
            nothing()
        found.append((time.process_time() - began) / count * 1e6)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    figures: dict[str, list[float]] = {name: [] for name in KINDS}
    for _ in range(chosen.rounds):
        for name, hooks in KINDS.items():
            figures[name].append(asyncio.run(measured(hooks(), chosen.steps)))
    plain, call = min(figures["no hooks"]), empty_call()
    print(f"An empty call: {call:.3f} µs\n\n| hooks | CPU µs a step | more | in empty calls |\n|---|---:|---:|---:|")
    for name, found in figures.items():
        more = min(found) - plain
        print(f"| {name} | {min(found):.1f} | {more:+.1f} | {more / call:+.0f} |")


if __name__ == "__main__":
    main()
