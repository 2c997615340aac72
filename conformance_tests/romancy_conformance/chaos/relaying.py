"""The relays of a round: each worker has one, and their sender adds a line to a file for each event.

The sender answers badly now and then: before or after it has written, or by not returning.
"""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from romancy import RetryPolicy
from romancy.outbox import Relay, Retry

if TYPE_CHECKING:
    from pathlib import Path

    from romancy.outbox import OutboxEvent

__all__ = ["Arrival", "arrivals", "relay_to"]

_TIMEOUT, _LEASE = 1.0, 2.0


class Arrival(Struct, frozen=True):
    """An event as a receiver got it."""

    id: str
    key: str
    number: int


class Written:
    """A sender that writes to the end of a file, in one call, so that processes do not mix their lines."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def send(self, event: OutboxEvent, /) -> None:
        number = int(event.data)
        mood = random.Random(f"{event.key} {number} {event.attempt}").random()
        if mood < 0.1:
            raise Retry("not now")
        line = msgspec.json.encode(Arrival(event.id, event.key or "", number)) + b"\n"
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, line)
        finally:
            os.close(file)
        if mood < 0.2:
            raise Retry("an answer that was lost")
        if mood < 0.22:
            await asyncio.sleep(10 * _TIMEOUT)


def relay_to(path: str) -> Relay:
    """Return the relay of a worker."""
    return Relay(Written(path), concurrency=4, timeout=_TIMEOUT, lease=_LEASE, retry=RetryPolicy(0, 0.01, 1.5, 0.1))


def arrivals(path: Path) -> list[Arrival]:
    """Return all that arrived, also what came again."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Arrival) for line in lines]
