"""Workers and relays that are killed and frozen, before a receiver that answers at random.

What a committed step has published arrives, in the order of its key, and again only with the same id. What was rolled
back does not.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import defaultdict
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING

import pytest

from romancy.storage.backends import create_store
from romancy.storage.outbox import OutboxState
from romancy_conformance.behaviour.crashes.relaying import DATABASE, LEASE, RECEIVER, tells
from romancy_conformance.process_control import STOPPED_EARLY, freeze, freezes, stop, thaw
from romancy_conformance.receiver import Answer, Receiver, Request

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from romancy.storage.outbox import OutboxEntry
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300), freezes]

KEYS, NUMBERS, FAULTS = 12, 16, 10
TOTAL = KEYS * NUMBERS
MOODS = [
    (Answer(202), 70), (Answer(200), 5), (Answer(400), 3), (Answer(429, {"Retry-After": "1"}), 5), (Answer(500), 4),
    (Answer(503), 3), (Answer("reset"), 5), (Answer("hang"), 5),
]  # fmt: skip
TARGET = "romancy_conformance.behaviour.crashes.relaying:app"
KINDS = ("run", "run", "relay", "relay")
"""Workers that relay as well, and relays alone."""


class Troupe:
    """The processes, and the faults that happen to them."""

    def __init__(self, url: str, receiver: Receiver) -> None:
        more = {DATABASE: url, RECEIVER: receiver.url, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._environment = os.environ | more
        self._processes: list[tuple[str, Process]] = []

    async def begin(self, kind: str) -> None:
        command = [sys.executable, "-m", "romancy", kind, TARGET, "--quiet"]
        self._processes.append((kind, await asyncio.create_subprocess_exec(*command, env=self._environment)))

    async def fault(self, number: int) -> None:
        """Kill one and replace it, or let one stand still for longer than its claims last."""
        kind, victim = self._processes[number % len(self._processes)]
        if number % 3 == 2:
            freeze(victim)
            await asyncio.sleep(LEASE * 1.5)
            thaw(victim)
            return
        victim.kill()
        await victim.wait()
        self._processes.remove((kind, victim))
        await self.begin(kind)

    async def end(self) -> list[int | None]:
        """Stop all in order, and return their exit codes."""
        for _, process in self._processes:
            stop(process)
        return [await process.wait() for _, process in self._processes]

    async def kill(self) -> None:
        """Leave nothing behind, whatever has happened."""
        for _, process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_killed_and_frozen_relays_lose_nothing_and_keep_the_order(open_app: Open, storage_url: str) -> None:
    store = create_store(storage_url)
    await store.open()
    if not store.capabilities.processes:
        await store.close()
        pytest.skip("capability: a database of this kind lives in one process")
    random = Random(11)

    def answer(_: Request) -> Answer:
        # What is hung up on or reset was received: the relay cannot know.
        return random.choices([mood for mood, _ in MOODS], [weight for _, weight in MOODS])[0]

    async with AsyncExitStack() as stack, Receiver(answer) as receiver:
        stack.push_async_callback(store.close)
        troupe = Troupe(storage_url, receiver)
        stack.push_async_callback(troupe.kill)
        for kind in KINDS:
            await troupe.begin(kind)
        client = await open_app(worker=False, workflows=[tells])
        handles = [await client.start(tells, f"k{number}", NUMBERS) for number in range(KEYS)]
        for fault in range(FAULTS):
            until = TOTAL * (fault + 1) // (FAULTS + 2)
            await receiver.until(lambda: len(receiver.requests) >= until)  # noqa: B023 - awaited
            await troupe.fault(fault)
        for handle in handles:
            await handle.result(timeout=120)
        entries = await all_ended(store)
        assert set(await troupe.end()) <= {0, STOPPED_EARLY}, "an error, and none of a process that had hardly begun"
    check(receiver, entries)


async def all_ended(store: Store) -> dict[str, OutboxEntry]:
    """Wait until everything has been sent or refused, and return it by its id."""
    async with asyncio.timeout(120):
        while OutboxState.PENDING in (await store.services.outbox.counts(most=1000)).states:  # noqa: ASYNC110 - processes do it
            await asyncio.sleep(0.05)
    return {entry.row.outbox_id: entry for entry in await store.services.outbox.entries(limit=10 * TOTAL)}


def check(receiver: Receiver, entries: dict[str, OutboxEntry]) -> None:
    """Each event has one id, and the first arrivals of a key are in its order."""
    first: dict[str, dict[str, int]] = defaultdict(dict)
    for request in receiver.requests:
        event = request.event
        assert event["type"] == "told"
        assert first[event["subject"]].setdefault(event["id"], event["data"]) == event["data"]
    assert {key: list(numbers.values()) for key, numbers in first.items()} == {
        f"k{number}": list(range(NUMBERS)) for number in range(KEYS)
    }
    assert entries.keys() == {one for numbers in first.values() for one in numbers}
    published = {one for one, entry in entries.items() if entry.state is OutboxState.PUBLISHED}
    assert published <= {request.event["id"] for request in receiver.accepted}
    assert {entry.state for entry in entries.values()} == {OutboxState.PUBLISHED, OutboxState.INVALID}
