"""Relays that are killed while they send: everything arrives, in the order of its key, twice only with the same id."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import defaultdict
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING

import pytest

from romancy import WorkflowContext, activity, activity_context, workflow
from romancy.storage.backends import create_store
from romancy.storage.outbox import OutboxState
from romancy_conformance.behaviour.crashes.relaying import DATABASE, RECEIVER
from romancy_conformance.receiver import Answer, Receiver, Request

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from romancy import Romancy
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

KEYS, NUMBERS, RELAYS, KILLS = 10, 12, 3, 8
ANSWERS = [Answer(202), Answer(503), Answer("reset"), Answer("hang")]
TARGET = "romancy_conformance.behaviour.crashes.relaying:app"


@activity
async def tell(key: str, number: int) -> None:
    await activity_context().publish("told", number, key=key)


@workflow
async def tells(ctx: WorkflowContext, key: str) -> None:
    for number in range(0, NUMBERS, 2):
        await tell(key, number)
        await ctx.publish("told", number + 1, key=key)


async def begin(url: str, receiver: Receiver) -> Process:
    """Start one more relay."""
    more = {DATABASE: url, RECEIVER: receiver.url, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "romancy", "relay", TARGET, "--quiet"]
    return await asyncio.create_subprocess_exec(*command, env=os.environ | more)


async def test_killed_relays_lose_nothing_and_keep_the_order(app: Romancy, storage_url: str) -> None:
    store = create_store(storage_url)
    await store.open()
    if not store.capabilities.processes:
        await store.close()
        pytest.skip("capability: a database of this kind lives in one process")
    random = Random(11)

    def answer(_: Request) -> Answer:
        # What is hung up on or reset was received: the relay cannot know.
        return random.choices(ANSWERS, [80, 10, 5, 5])[0]

    async with AsyncExitStack() as stack, Receiver(answer) as receiver:
        stack.push_async_callback(store.close)
        relays = [await begin(storage_url, receiver) for _ in range(RELAYS)]
        try:
            handles = [await app.start(tells, f"k{number}") for number in range(KEYS)]
            total = KEYS * NUMBERS
            for kill in range(1, KILLS + 1):
                await receiver.until(lambda: len(receiver.requests) >= total * kill // (KILLS + 2))  # noqa: B023 - awaited
                victim = relays.pop(0)
                victim.send_signal(signal.SIGKILL)
                await victim.wait()
                relays.append(await begin(storage_url, receiver))
            for handle in handles:
                await handle.result()
            await all_published(store, total)
            for relay in relays:
                relay.send_signal(signal.SIGTERM)
            assert [await relay.wait() for relay in relays] == [0] * RELAYS
        finally:
            for relay in relays:
                if relay.returncode is None:
                    relay.kill()
                    await relay.wait()
    check(receiver)


async def all_published(store: Store, total: int) -> None:
    """Wait until nothing else is in the outbox."""
    async with asyncio.timeout(60):
        while (await store.outbox.counts()).states != {OutboxState.PUBLISHED: total}:  # noqa: ASYNC110 - processes do it
            await asyncio.sleep(0.05)


def check(receiver: Receiver) -> None:
    """Each event has one id, and the first arrivals of a key are in its order."""
    first: dict[str, dict[str, int]] = defaultdict(dict)
    for request in receiver.requests:
        event = request.event
        assert first[event["subject"]].setdefault(event["id"], event["data"]) == event["data"]
    assert {key: list(numbers.values()) for key, numbers in first.items()} == {
        f"k{number}": list(range(NUMBERS)) for number in range(KEYS)
    }
