"""Servers that take events over HTTP are killed at random, with the workers in them: each event is in one log, once.

Each sender repeats an event until an answer says that it is accepted. `make soak` sends 10,000 events to 500 instances.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import ExitStack
from random import Random
from typing import TYPE_CHECKING, Final

import httpx2
import pytest

from romancy import Romancy
from romancy.core import MessageReceived
from romancy.storage.backends import create_store
from tests.http.clients import message_of
from tests.http.process import serving

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.http.process import Server

SOAK: Final = bool(os.environ.get("ROMANCY_SOAK"))
WAITING, COUNT, KILLS = (500, 5, 40) if SOAK else (8, 3, 2)
"""Instances, events of each sender for each of them, and servers to kill."""
SENDERS: Final = 4
AT_ONCE: Final = 4
"""Requests of a sender that are under way together."""
TOTAL: Final = WAITING * COUNT * SENDERS
LIMIT: Final = 3000 if SOAK else 240


class Traffic:
    """Senders of events to several servers, of which some are away."""

    def __init__(self, servers: list[Server], seed: str) -> None:
        self.accepted = 0
        self.repeated = 0
        """Answers that said that the event had been accepted before."""
        self.moved = asyncio.Event()
        """Set at every answer, and when a server is back."""
        self._servers = servers
        self._seed = seed

    async def run(self) -> None:
        async with httpx2.AsyncClient(timeout=30) as client, asyncio.TaskGroup() as group:
            for sender in range(SENDERS):
                chosen = Random(f"{self._seed}-{sender}")
                events = [(key, number) for number in range(COUNT) for key in range(WAITING)]
                chosen.shuffle(events)
                for lane in range(AT_ONCE):
                    group.create_task(self._send(client, sender, events[lane::AT_ONCE], chosen))

    async def _send(
        self, client: httpx2.AsyncClient, sender: int, events: Iterable[tuple[int, int]], chosen: Random
    ) -> None:
        for key, number in events:
            event = {
                "specversion": "1.0", "type": "tick", "source": f"/sender-{sender}", "id": id_of(sender, key, number),
                "time": "2026-11-22T12:00:00Z", "subject": f"k{key}", "data": number,
            }  # fmt: skip
            message = message_of(event, chosen.choice(["structured", "binary"]))
            to = chosen.choice(self._servers)
            while not await self._post(client, to.url, message.body, message.headers):
                await asyncio.sleep(chosen.uniform(0.05, 0.5))
                to = chosen.choice(self._servers)
            self.accepted += 1
            self.moved.set()

    async def _post(self, client: httpx2.AsyncClient, url: str, body: bytes, headers: dict[str, str]) -> bool:
        """Whether the event is accepted. False if the server dies, has died, or asks for it again."""
        try:
            answer = await client.post(url, content=body, headers=headers)
        except httpx2.TransportError:
            return False
        if answer.status_code != 202 and answer.json()["retryable"]:
            return False  # the server drains, is away from its database, or gave up a body that a loaded sender owed
        assert answer.status_code == 202, answer.text
        self.repeated += bool(answer.json().get("duplicate"))
        return True


def id_of(sender: int, key: int, number: int) -> str:
    return f"{sender}-{key}-{number}"


async def kill_some(servers: list[Server], traffic: Traffic, chosen: Random) -> int:
    """Kill a server after a random number of accepted events, and start it again. Return how many were killed."""
    for kill in range(KILLS):
        until = (kill + chosen.random()) * TOTAL / KILLS
        while traffic.accepted < until:
            traffic.moved.clear()
            await traffic.moved.wait()
        server = chosen.choice(servers)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        traffic.moved.set()
    return KILLS


@pytest.mark.anyio
@pytest.mark.long
@pytest.mark.soak
@pytest.mark.timeout(LIMIT)
async def test_every_accepted_event_is_in_one_log_whichever_server_is_killed(shared_url: str) -> None:
    seed = f"{Random().random()}"
    chosen = Random(seed)
    each = COUNT * SENDERS
    with ExitStack() as stack:
        # Two servers with a worker, and one that takes events alone.
        servers = [stack.enter_context(serving(shared_url)) for _ in range(2)]
        servers.append(stack.enter_context(serving(shared_url, ROMANCY_NO_WORKER="1")))
        async with Romancy(shared_url, workflows=[], worker=False) as app:
            collect = app.workflow("collect")
            handles = [
                await app.start(collect.options(instance_id=f"c{key}"), event="tick", count=each, key=f"k{key}")
                for key in range(WAITING)
            ]
            traffic = Traffic(servers, seed)
            _, killed = await asyncio.gather(traffic.run(), kill_some(servers, traffic, chosen))
            results = [await handle.result(timeout=LIMIT) for handle in handles]
            logs = [await app.history(handle.instance_id) for handle in handles]
    store = create_store(shared_url)
    await store.open()
    kept = await store.services.router.kept()
    await store.close()

    print(f"seed {seed}: {TOTAL} events, {killed} kills, {traffic.repeated} of them sent again")
    for key, (result, log) in enumerate(zip(results, logs, strict=True)):
        expected = Counter(id_of(sender, key, number) for sender in range(SENDERS) for number in range(COUNT))
        received = Counter(event.message.id for event in log if isinstance(event, MessageReceived))
        assert Counter(result) == received == expected
    assert [] == kept
    assert KILLS == killed
