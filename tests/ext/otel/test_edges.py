"""Where the trace comes from over HTTP, ids in log lines, and a hook that has nothing to do."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.sdk.trace import TracerProvider

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.ext.otel import LogIds, OpenTelemetry
from romancy.hooks import Hook, WorkflowEnded
from romancy.http import asgi
from romancy_conformance.behaviour.waiting import until
from tests.http.client import Client

if TYPE_CHECKING:
    from romancy.hooks import Happening

pytestmark = pytest.mark.anyio

HOP = f"00-{'a' * 32}-{'b' * 16}-01"
ORIGIN = f"00-{'c' * 32}-{'d' * 16}-01"
EVENT = {"specversion": "1.0", "id": "e-1", "source": "/s", "type": "seen"}


logger = logging.getLogger("tests.ext.otel")


@activity
async def look() -> None:
    logger.warning("in the activity")


@workflow(event_handler=True)
async def seen(ctx: WorkflowContext, data: Any = None) -> dict[str, str]:
    logger.warning("in the workflow")
    await look()
    return ctx.headers


@workflow
async def listens(ctx: WorkflowContext) -> dict[str, str]:
    return dict((await ctx.wait_event("go")).headers)


async def over_http(app: Romancy, path: str, headers: dict[str, str], body: object = None) -> dict[str, str]:
    """Start an instance, and return the headers that it got."""
    answer = await Client(asgi(app, auth="local")).post(path, json.dumps(body).encode(), **headers)
    assert answer.status == 202, answer.body
    return dict(await app.handle(answer.json["instance_id"]).result(timeout=60))


async def test_the_trace_of_a_request(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[seen, listens]) as app:
        told = {"traceparent": HOP, "tracestate": "x=1"}
        assert await over_http(app, "/workflows/seen", told) == told
        assert await over_http(app, "/workflows/seen", {"tracestate": "x=1"}) == {}
        for wrong in ("", "00-x", HOP.upper(), f"00-{'0' * 32}-{'b' * 16}-01", HOP.replace("00-", "ff-", 1)):
            assert await over_http(app, "/workflows/seen", {"traceparent": wrong}) == {}

        handle = await app.start(listens)
        await Client(asgi(app, auth="local")).post(f"/instances/{handle.instance_id}/signals/go", traceparent=HOP)
        assert await handle.result(timeout=60) == {"traceparent": HOP}


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_the_trace_of_an_event(storage_url: str, mode: str) -> None:
    event = {**EVENT, "traceparent": ORIGIN}
    async with Romancy(storage_url, workflows=[seen]) as app:
        if mode == "structured":
            headers = {"traceparent": HOP, "content-type": "application/cloudevents+json"}
            assert await over_http(app, "/", headers, event) == {"traceparent": ORIGIN}
        else:
            headers = {"traceparent": HOP, **{f"ce-{name}": value for name, value in event.items()}}
            assert await over_http(app, "/", headers) == {"traceparent": ORIGIN}


async def test_ids_in_log_lines(storage_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(ids := LogIds())
    try:
        async with Romancy(
            storage_url, workflows=[seen], hooks=[OpenTelemetry(tracer_provider=TracerProvider())]
        ) as app:
            handle = await app.start(seen)
            await handle.result(timeout=60)
            logger.warning("outside")
    finally:
        caplog.handler.removeFilter(ids)

    body, attempt, outside = [vars(one) for one in caplog.records if one.name == logger.name]
    assert (body["romancy_instance_id"], body["romancy_activity_id"]) == (handle.instance_id, None)
    assert (attempt["romancy_instance_id"], attempt["romancy_activity_id"]) == (handle.instance_id, "look:1")
    assert attempt["romancy_attempt"] == 1
    assert len(attempt["trace_id"]) == 32
    assert (outside["romancy_instance_id"], outside["trace_id"], outside["span_id"]) == (None, None, None)


class Sleepy(Hook):
    """Has no use for attempts while it sleeps."""

    def __init__(self) -> None:
        self.sleeps = True
        self.told: list[str] = []

    def idle(self) -> bool:
        return self.sleeps

    def happened(self, event: Happening, /) -> None:
        self.told.append(type(event).__name__)


@workflow
async def looks_twice(ctx: WorkflowContext) -> None:
    await look()
    await look()


async def test_an_idle_hook_is_told_nothing_of_attempts(storage_url: str) -> None:
    hook = Sleepy()
    async with Romancy(storage_url, workflows=[looks_twice], hooks=[hook]) as app:
        await app.run(looks_twice)
        assert [told for told in hook.told if told.startswith("Activity")] == []
        await app.run(looks_twice.options(headers={"tenant": "t"}))
        hook.sleeps = False
        await app.run(looks_twice)
        await until(lambda: WorkflowEnded.__name__ in hook.told)
    assert hook.told.count("ActivityStarted") == hook.told.count("ActivityEnded") == 2


async def test_a_hook_that_is_awake_wakes_the_others(storage_url: str) -> None:
    hook, other = Sleepy(), Sleepy()
    other.sleeps = False
    async with Romancy(storage_url, workflows=[looks_twice], hooks=[hook, other]) as app:
        await app.run(looks_twice)
        await until(lambda: WorkflowEnded.__name__ in other.told)
    assert hook.told.count("ActivityEnded") == other.told.count("ActivityEnded") == 2


def test_opentelemetry_is_idle_without_an_sdk() -> None:
    assert OpenTelemetry().idle()
    assert OpenTelemetry(tracer_provider=trace.NoOpTracerProvider()).idle()
    assert not OpenTelemetry(tracer_provider=TracerProvider()).idle()


@pytest.mark.parametrize("asked", [False, True], ids=["by default", "asked for"])
@pytest.mark.parametrize("sdk", [False, True], ids=["without an SDK", "with one"])
async def test_baggage_is_written_only_if_asked_for(storage_url: str, asked: bool, sdk: bool) -> None:  # noqa: FBT001 - each by its id
    """It may hold data of users. The trace travels all the same."""
    provider = TracerProvider() if sdk else None
    hook = OpenTelemetry(tracer_provider=provider, **({"baggage": True} if asked else {}))
    async with Romancy(storage_url, workflows=[seen, listens, passes_on], hooks=[hook]) as app:
        around = baggage.set_baggage("customer", "ann@example.org")
        parent = trace.set_span_in_context(trace.NonRecordingSpan(trace.SpanContext(7, 8, is_remote=True)), around)
        token = context.attach(parent)
        try:
            headers = await app.run(seen)
            handle = await app.start(listens)
            await handle.signal("go")
            further = await app.run(passes_on)
        finally:
            context.detach(token)
        everything = [headers, await handle.result(timeout=60), *further]
        logs = [str(event) async for entry in app.entries() for event in [entry.event]]

    assert asked == any("ann" in str(one) for one in everything)
    assert asked == any("ann%40" in one or "ann@" in one for one in logs)
    assert all("traceparent" in one for one in everything)


@activity
async def headers_here() -> dict[str, str]:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


@workflow
async def passes_on(ctx: WorkflowContext) -> list[dict[str, str]]:
    """The headers of a child, and those that an activity would send."""
    return [await seen(None), await headers_here()]
