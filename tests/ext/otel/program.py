"""An app in two kinds of processes: `uvicorn tests.ext.otel.program:http` takes requests, and this module works.

Each activity hangs when it is first tried, until its process is killed. A file for each says that it was tried.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from opentelemetry import trace

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.ext.otel import OpenTelemetry
from romancy.http import asgi
from romancy.outbox import HttpSender, Relay
from tests.ext.otel.exporting import provider

FOLDER = Path(os.environ["OTEL_TEST_FOLDER"])
RECEIVER = os.environ.get("OTEL_TEST_RECEIVER")
HANGS = os.environ.get("OTEL_TEST_HANGS") == "1"


async def first(name: str) -> None:
    """Hang, the first time."""
    with trace.get_tracer("test").start_as_current_span(f"inside {name}"):
        if HANGS and not (FOLDER / name).exists():
            (FOLDER / name).touch()
            await asyncio.Event().wait()


@activity
async def charge(item: str) -> str:
    await first("charge")
    return f"{item} charged"


@activity
async def pack(item: str) -> None:
    await first("pack")


@activity
def thank(item: str) -> None:
    with trace.get_tracer("test").start_as_current_span("inside thank"):
        pass


@workflow
async def ship(ctx: WorkflowContext, item: str, to: str) -> str:
    await pack(item)
    await ctx.send("shipped", item, to=to)
    return item


@workflow
async def order(ctx: WorkflowContext, item: str) -> str:
    await charge(item)
    child = await ctx.start(ship, item, ctx.instance_id)
    await ctx.wait_event("shipped")
    await thank(item)
    await ctx.publish("ordered", item)
    return await child.result()


def app_of(service: str, *, worker: bool) -> Romancy:
    """An app with a provider of its own, which is the global one too."""
    trace.set_tracer_provider(provider(os.environ["OTEL_TEST_COLLECTOR"], service))
    relay = Relay(HttpSender(f"http://{RECEIVER}/", mode="binary"), source="/shop") if worker and RECEIVER else None
    return Romancy(
        os.environ["ROMANCY_URL"],
        workflows=[order, ship],
        worker=worker,
        hooks=[OpenTelemetry()],
        lease=2.0,
        relay=relay,
    )


async def work() -> None:
    """Be a worker until the end."""
    async with app_of("worker", worker=True) as app:
        await app.serve()


if __name__ == "__main__":
    asyncio.run(work())
elif "uvicorn" in sys.modules:
    http = asgi(app_of("web", worker=False), auth="local")
