"""Booking a trip: three steps, each with its undo. The workflow that `make demo` crashes on purpose."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from romancy import TerminalError, WorkflowContext, activity, compensation, workflow


@dataclass
class Trip:
    """What the traveller wants."""

    traveller: str
    city: str


@compensation
async def cancel_flight(trip: Trip) -> None:
    say(f"   undo   flight to {trip.city}")


@activity(compensation=cancel_flight)
async def book_flight(trip: Trip) -> str:
    say(f"   book   flight to {trip.city}")
    return "FL-1"


@compensation
async def cancel_hotel(trip: Trip) -> None:
    say(f"   undo   hotel in {trip.city}")


@activity(compensation=cancel_hotel)
async def book_hotel(trip: Trip) -> str:
    say(f"   book   hotel in {trip.city}")
    return "HO-1"


@activity
async def book_car(trip: Trip) -> str:
    say(f"   book   car in {trip.city} …")
    await asyncio.sleep(1)
    raise TerminalError(f"no cars left in {trip.city}")


@workflow
async def book_trip(ctx: WorkflowContext, trip: Trip) -> list[str]:
    flight = await book_flight(trip)
    hotel = await book_hotel(trip)
    car = await book_car(trip)
    return [flight, hotel, car]


def say(text: str) -> None:
    """Speak at once: the process may not live to flush."""
    print(text, flush=True)
