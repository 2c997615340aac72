"""A relay whose database dies, or loses its connections: it waits, and nothing is lost, doubled or out of order."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.outbox import OutboxEvent, Relay
from romancy.storage.backends import create_store
from romancy.storage.outbox import OutboxState
from romancy_conformance.behaviour.recording import Recorder, relaying

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.protocol import Store
    from romancy_conformance.proxy import Proxy
    from romancy_conformance.servers import Server

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.backends("postgres", "mysql", "mariadb", "tidb", "vitess"),
    pytest.mark.timeout(180),
]

KEYS, NUMBERS = 6, 20
TOTAL = KEYS * NUMBERS


@workflow
async def tells(ctx: WorkflowContext, key: str) -> None:
    for number in range(NUMBERS):
        await ctx.publish("told", number, key=key)


class Slow(Recorder):
    """Takes its time, so that faults meet events on their way."""

    async def send(self, event: OutboxEvent, /) -> None:
        await asyncio.sleep(0.02)
        await super().send(event)


async def publish(url: str) -> None:
    async with Romancy(url, workflows=[tells]) as app:
        for key in range(KEYS):
            await app.run(tells, f"k{key}")


async def all_published(store: Store) -> None:
    async with asyncio.timeout(90):
        while (await store.services.outbox.counts(most=1000)).states != {OutboxState.PUBLISHED: TOTAL}:  # noqa: ASYNC110 - a relay does it
            await asyncio.sleep(0.05)


def check(recorder: Recorder) -> None:
    """Everything arrived, twice only with the same id, and the first arrivals of each key are in its order."""
    first: dict[str | None, dict[str, int]] = {}
    for event in recorder.sent:
        assert first.setdefault(event.key, {}).setdefault(event.id, event.data) == event.data
    assert {key: list(numbers.values()) for key, numbers in first.items()} == {
        f"k{key}": list(range(NUMBERS)) for key in range(KEYS)
    }


async def test_connections_cut_again_and_again(storage_url: str, proxy_for: Callable[[str], Proxy]) -> None:
    await publish(storage_url)
    proxy, chance, recorder = proxy_for(storage_url), random.Random(11), Slow()
    direct, store = create_store(storage_url), create_store(proxy.url(storage_url))
    await direct.open()
    await store.open()
    async with relaying(Relay(recorder, timeout=0.5, lease=1.0, concurrency=4), store):
        for number in range(10):
            await recorder.until((number + 1) * TOTAL // 12)
            await asyncio.sleep(chance.uniform(0.0, 0.02))
            proxy.cut()
        await all_published(direct)
    await store.close()
    await direct.close()
    check(recorder)


async def test_a_server_killed_while_events_are_sent(server: Server) -> None:
    url, recorder = server.fresh_database(), Slow()
    await publish(url)
    store = create_store(url)
    await store.open()
    async with relaying(Relay(recorder, timeout=0.5, lease=1.0, concurrency=4), store):
        for part in (1, 2):
            await recorder.until(part * TOTAL // 3)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        watching = create_store(url)
        await watching.open()
        await all_published(watching)
        await watching.close()
    await store.close()
    check(recorder)
