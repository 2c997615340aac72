"""Bookings by plain functions, which wait at the gate of a test, and workflows that give them up."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from romancy import RetryPolicy, WorkflowContext, activity, activity_context, compensation, workflow

if TYPE_CHECKING:
    from romancy_conformance.behaviour.gates import Gate

__all__ = ["BOOKINGS", "ONCE", "book", "booking", "gates", "trip", "with_a_child"]

ONCE = RetryPolicy.none()
gates: list[Gate] = []
"""The last one belongs to the running test. A function that waits at one says there what it does afterwards: a worker
that stops leaves its threads behind, and they may wake in the next test.
"""


@compensation
def unbook(kind: str) -> None:
    gates[-1].say(f"unbooked {kind}")


@activity(compensation=unbook, retry=ONCE)
def book(kind: str) -> str:
    gate = gates[-1]
    gate.say(f"books {kind}")
    gate.wait()
    gate.say(f"booked {kind}")
    return kind


@activity(compensation=unbook, compensate="attempted", retry=ONCE)
def try_to_book(kind: str) -> str:
    gate = gates[-1]
    gate.say(f"books {kind}")
    gate.wait()
    gate.say(f"booked {kind}")
    return kind


@activity(compensation=unbook, retry=ONCE)
def book_by_halves(kind: str) -> str:
    """Look now and then whether it is to stop, and return what is done by then."""
    context, gate = activity_context(), gates[-1]
    gate.say(f"books {kind}")
    while not context.cancelled:
        time.sleep(0.005)
    gate.say(f"booked half of {kind}")
    return f"half of {kind}"


@activity(compensation=unbook, compensate="attempted", retry=ONCE)
def book_with_heartbeats(kind: str) -> str:
    gate = gates[-1]
    gate.say(f"books {kind}")
    try:
        while True:
            time.sleep(0.005)
            activity_context().heartbeat(kind)
    except asyncio.CancelledError:
        gate.say(f"stopped {kind}")
        raise


@activity(retry=ONCE)
def pay(name: str) -> None:
    gate = gates[-1]
    while f"books {name}" not in gate.said:
        time.sleep(0.005)
    raise ConnectionError("the card was refused")


BOOKINGS: dict[str, Any] = {
    "plain": book, "attempted": try_to_book, "by halves": book_by_halves, "with heartbeats": book_with_heartbeats,
}  # fmt: skip


@workflow
async def trip(ctx: WorkflowContext, kind: str) -> None:
    await asyncio.gather(BOOKINGS[kind](kind), pay(kind))


@workflow
async def booking(ctx: WorkflowContext, kind: str) -> str:
    return str(await BOOKINGS[kind](kind))


@workflow
async def with_a_child(ctx: WorkflowContext, kind: str) -> None:
    await asyncio.gather(booking.options(instance_id="kid")(kind), pay(kind))
