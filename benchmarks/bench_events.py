"""The speed of events: accepting them, waking workflows that wait for them, channels, and the outbox.

`python -m benchmarks.bench_events [backend …]` measures on private servers with production durability:

- *accepted*: durable events a second from 64 senders at once in one process without a worker, each for a key for which
  no workflow waits yet;
- *received*: 500 workflows that each wait for a key again and again, in the process of the senders: events a second
  from the first `send` to the last receipt;
- *wake-up*: the time from the call of `send` to the line of the workflow after its `wait_event`, one event after
  another, from the worker's own process and from another one: the median and the 99th percentile. It is measured first,
  before a server writes the pages of a load. *After a rest*: from another process every two seconds, the median and the
  longest;
- *fan-out*: copies a second that 20 subscribers of a broadcast channel receive in all;
- *outbox*: published events a second that a relay hands to a sender that answers at once.

The targets are below the table: at most 25 ms for the 99th percentile in one process, and across processes if the
database pushes; 250 ms if it is polled.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from benchmarks.databases import DATABASES, databases
from romancy import Channel, EventType, Romancy, WorkflowContext, workflow
from romancy.outbox import Relay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy import Handle
    from romancy.outbox import OutboxEvent

SENDERS = 64
ACCEPTED = 4000
WAITING = 500
EACH = 8
WAKES = 300
PAUSE = 0.05
"""Seconds between two wake-ups. The worker then rests, as it would between the events of real senders."""
RESTED = 30
REST = 2.0
"""Seconds between wake-ups of a worker at rest, which looks for work at its longest interval."""
SUBSCRIBERS = 20
MESSAGES = 200
PUBLISHED = 2000
PUSHED, POLLED = 25.0, 250.0
SEND = "--send"

ping = EventType("ping", float)
orders = Channel("orders", int)
woken: list[float] = []
"""Seconds from a send to its receipt in this process."""


@workflow
async def receiver(ctx: WorkflowContext, key: str, count: int) -> int:
    for _ in range(count):
        await ctx.wait_event("bench.received", key=key)
    return count


@workflow
async def sleeper(ctx: WorkflowContext, count: int) -> None:
    for _ in range(count):
        event = await ctx.wait_event(ping, key="bench")
        if not ctx.is_replaying:
            woken.append(time.time() - event.data)


@workflow
async def subscriber(ctx: WorkflowContext, count: int) -> int:
    channel = ctx.channel(orders)
    await channel.subscribe()
    return sum([(await channel.receive()).data for _ in range(count)])


@workflow
async def publisher(ctx: WorkflowContext, first: int, count: int) -> None:
    for number in range(first, first + count):
        await ctx.publish("bench.published", number)


class Counting:
    """A sender that answers at once, and reports when it has sent enough."""

    def __init__(self, enough: int) -> None:
        self.left = enough
        self.done = asyncio.Event()

    async def send(self, _: OutboxEvent) -> None:
        self.left -= 1
        if self.left <= 0:
            self.done.set()


class Figures(Struct):
    """The measurements on one database."""

    accepted: float
    received: float
    here: tuple[float, float]
    there: tuple[float, float]
    rested: tuple[float, float]
    fan_out: float
    outbox: float
    pushes: bool

    def missed(self) -> list[str]:
        """Return the targets that were missed."""
        across = PUSHED if self.pushes else POLLED
        targets = {
            f"wake-up in one process under {PUSHED:.0f} ms": self.here[1] < PUSHED,
            f"wake-up across processes under {across:.0f} ms": self.there[1] < across,
            f"wake-up after a rest under {across:.0f} ms": self.rested[1] < across,
        }
        return [what for what, reached in targets.items() if not reached]


def spread(times: list[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile in milliseconds."""
    return statistics.median(times) * 1000, statistics.quantiles(times, n=100)[98] * 1000


async def accepted(url: str) -> float:
    """Return durable events a second from senders without a worker."""
    async with Romancy(url, workflows=[], worker=False) as app:

        async def sender(number: int) -> None:
            for index in range(ACCEPTED // SENDERS):
                await app.send("bench.accepted", index, key=f"{number}-{index}")

        began = time.perf_counter()
        await asyncio.gather(*[sender(number) for number in range(SENDERS)])
        return ACCEPTED / (time.perf_counter() - began)


async def received(app: Romancy) -> float:
    """Return events a second until the last workflow has received its last event."""
    handles = await app.start_many([receiver.bind(f"k-{number}", EACH) for number in range(WAITING)])
    await until_waiting(handles)

    async def sender(numbers: range) -> None:
        for _ in range(EACH):
            for number in numbers:
                await app.send("bench.received", None, key=f"k-{number}")

    began = time.perf_counter()
    await asyncio.gather(*[sender(range(start, WAITING, SENDERS)) for start in range(SENDERS)])
    await asyncio.gather(*[handle.result() for handle in handles])
    return WAITING * EACH / (time.perf_counter() - began)


async def until_waiting(handles: Sequence[Handle[Any]]) -> None:
    """Return once all of them rest."""
    for handle in handles:
        while await handle.status() != "waiting":  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.05)


async def woken_from_here(app: Romancy) -> list[float]:
    """Return the times of wake-ups by this process."""
    woken.clear()
    handle = await app.start(sleeper, WAKES)
    await until_waiting([handle])
    await send_pings(app, WAKES, PAUSE)
    await handle.result()
    return list(woken)


async def woken_from_outside(app: Romancy, url: str, times: int, pause: float) -> list[float]:
    """Return the times of wake-ups by another process."""
    woken.clear()
    handle = await app.start(sleeper, times)
    await until_waiting([handle])
    command = [sys.executable, "-m", "benchmarks.bench_events", SEND, url, str(times), str(pause)]
    sending = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
    await handle.result()
    await sending.wait()
    return list(woken)


async def send_pings(app: Romancy, times: int, pause: float) -> None:
    """Send the events that a `sleeper` waits for, one after another."""
    for _ in range(times):
        await asyncio.sleep(pause)
        await app.send(ping, time.time(), key="bench")


async def send_from_outside(url: str, times: str, pause: str) -> None:
    """Run as the other process."""
    async with Romancy(url, workflows=[], worker=False) as app:
        await send_pings(app, int(times), float(pause))


async def fan_out(app: Romancy) -> float:
    """Return the copies a second that the subscribers of a channel receive."""
    handles = await app.start_many([subscriber.bind(MESSAGES) for _ in range(SUBSCRIBERS)])
    channel = app.channel(orders)
    while len(await channel.members()) < SUBSCRIBERS:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.02)
    began = time.perf_counter()
    for number in range(MESSAGES):
        await channel.publish(number)
    results = await asyncio.gather(*[handle.result() for handle in handles])
    elapsed = time.perf_counter() - began
    assert set(results) == {sum(range(MESSAGES))}
    return SUBSCRIBERS * MESSAGES / elapsed


async def outbox(url: str) -> float:
    """Return the published events a second that a relay sends while workflows publish them."""
    sender = Counting(PUBLISHED)
    async with Romancy(url, workflows=[publisher], relay=Relay(sender)) as app:
        began = time.perf_counter()
        await app.start_many([publisher.bind(number * 20, 20) for number in range(PUBLISHED // 20)])
        await sender.done.wait()
        return PUBLISHED / (time.perf_counter() - began)


async def measure(url: str) -> Figures:
    """Take all measurements on one database."""
    async with Romancy(url, workflows=[receiver, sleeper, subscriber]) as app:
        pushes = app._access.opened().capabilities.push  # pyright: ignore[reportPrivateUsage]
        here = spread(await woken_from_here(app))
        there = spread(await woken_from_outside(app, url, WAKES, PAUSE))
        after_rest = await woken_from_outside(app, url, RESTED, REST)
        rested = statistics.median(after_rest) * 1000, max(after_rest) * 1000
    rate = await accepted(url)
    async with Romancy(url, workflows=[receiver, sleeper, subscriber]) as app:
        got, copies = await received(app), await fan_out(app)
    return Figures(rate, got, here, there, rested, copies, await outbox(url), pushes)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Events, channels and the outbox")
    parser.add_argument(SEND, nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("backends", nargs="*", metavar="backend", help=", ".join(DATABASES))
    wanted = parser.parse_args()
    if wanted.send:
        asyncio.run(send_from_outside(*wanted.send))
        return
    print("| database | accepted/s | received/s | wake-up here | from outside | after a rest | copies/s | outbox/s |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    misses: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, url in databases(wanted.backends, folder):
            got = asyncio.run(measure(url))
            misses.append(f"{name}: " + (", ".join(f"MISSED {what}" for what in got.missed()) or "all reached"))
            print(
                f"| {name} | {got.accepted:,.0f} | {got.received:,.0f} | {got.here[0]:.1f}, {got.here[1]:.1f} ms | "
                f"{got.there[0]:.1f}, {got.there[1]:.1f} ms | "
                f"{got.rested[0]:.1f}, {got.rested[1]:.1f} ms | {got.fan_out:,.0f} | {got.outbox:,.0f} |",
                flush=True,
            )
    print("", *misses, sep="\n")


if __name__ == "__main__":
    main()
