"""Instances that wait for events by key, and senders that send each event again until they know that it is accepted.

    python -m romancy_conformance.behaviour.crashes.eventing

`forking` describes how jobs arrive and how they are answered. Each process works and sends until all is ended.
"""

from __future__ import annotations

import asyncio
from random import Random

from romancy import EventTimeoutError, EventType, Romancy, WorkflowContext, activity, workflow
from romancy.status import TERMINAL_STATUSES, Status
from romancy_conformance.behaviour.crashes.forking import TOO_LATE, Job, serve

__all__ = ["SENDERS", "WORKFLOWS", "Sending", "collects", "number_of"]

SENDERS = 2
"""Senders in each process."""
Paid = EventType("paid", int)
_OPEN = tuple(set(Status) - TERMINAL_STATUSES)


class Sending(Job, frozen=True, kw_only=True):
    """A run of a worker that also sends."""

    process: int = 0
    waiting: int
    """How many instances wait, each for a key of its own."""
    count: int
    """How many events each sender sends to each key."""
    run: int = 0
    """Which run of its process it is. Each sends in another order."""


def number_of(process: int, sender: int, key: int, number: int) -> int:
    """What an event says: which it is."""
    return ((process * SENDERS + sender) * 1000 + key) * 1000 + number


@activity
async def notes(number: int) -> int:
    return number


@workflow
async def collects(ctx: WorkflowContext, key: str, count: int, got: list[int]) -> list[int]:
    """Wait for so many events, with work between, and now and then too short a time. Continue as new on the way."""
    waits = 0
    while len(got) < count:
        waits += 1
        try:
            event = await ctx.wait_event(Paid, key=key, timeout=0.02 if waits % 2 else 60.0)
        except EventTimeoutError:
            continue
        got = [*got, await notes(event.data)]
        if len(got) == count // 2:
            collects.recur(key, count, got)
    return got


WORKFLOWS = (collects,)


async def send_all(app: Romancy, job: Sending, sender: int) -> None:
    """Send all events again, like a sender that does not know which were accepted before it died."""
    events = [(key, number) for number in range(job.count) for key in range(job.waiting)]
    Random(f"{job.process}-{sender}-{job.run}").shuffle(events)
    for key, number in events:
        data = number_of(job.process, sender, key, number)
        await app.send(Paid, data, key=f"k{key}", source=f"sender-{job.process}-{sender}", id=str(data))


async def play(job: Sending) -> int:
    """Send, and continue what there is until all has ended."""
    job.arm()
    try:
        async with asyncio.timeout(job.limit), Romancy(job.url, workflows=WORKFLOWS, lease=30.0) as app:
            await asyncio.gather(*(send_all(app, job, sender) for sender in range(SENDERS)))
            while (await app.list_instances(status=_OPEN)).instances:  # noqa: ASYNC110 - asked, nothing tells
                await asyncio.sleep(0.05)
    except TimeoutError:
        return TOO_LATE
    return 0


if __name__ == "__main__":
    serve(Sending, play)
