"""The workflow of `romancy demo`: a trip has three bookings, and two of them can be undone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from romancy.activity import activity, compensation
from romancy.app import Romancy
from romancy.context import WorkflowContext
from romancy.errors import TerminalError, WorkflowFailedError
from romancy.workflow import workflow

__all__ = ["book"]


@dataclass
class Trip:
    """The input: traveller and city."""

    traveller: str
    city: str


@compensation
async def cancel_flight(trip: Trip) -> None:
    _say(f"undo   flight to {trip.city}")


@activity(compensation=cancel_flight)
async def book_flight(trip: Trip) -> str:
    _say(f"book   flight to {trip.city}")
    return "FL-1"


@compensation
async def cancel_hotel(trip: Trip) -> None:
    _say(f"undo   hotel in {trip.city}")


@activity(compensation=cancel_hotel)
async def book_hotel(trip: Trip) -> str:
    _say(f"book   hotel in {trip.city}")
    return "HO-1"


@workflow
async def book_trip(ctx: WorkflowContext, trip: Trip) -> list[str]:  # noqa: ARG001 - every workflow takes it
    flight = await book_flight(trip)
    hotel = await book_hotel(trip)
    car = await book_car(trip)
    return [flight, hotel, car]


class _Rental:
    """A fake car rental, which answers or does not."""

    answers = True


@activity
async def book_car(trip: Trip) -> str:
    _say(f"book   car in {trip.city} …")
    if not _Rental.answers:
        await asyncio.Event().wait()
    raise TerminalError(f"no cars left in {trip.city}")


async def book(url: str, instance_id: str, *, answered: bool) -> None:
    """Run a worker: start the trip if it is new, continue it otherwise, and wait for its end."""
    _Rental.answers = answered
    async with Romancy(url, workflows=[book_trip]) as app:
        handle = await app.start(book_trip.options(instance_id=instance_id), Trip("Ada", "Lisbon"))
        try:
            _say(f"result {await handle.result()}")
        except WorkflowFailedError as error:
            _say(f"end    the trip failed: {str(error).rpartition(': ')[2]}")


def _say(text: str) -> None:
    """Print and flush: the process may be killed at any time."""
    print(f"   {text}", flush=True)  # noqa: T201 - output for the user
