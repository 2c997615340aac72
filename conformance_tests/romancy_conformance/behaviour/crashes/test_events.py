"""Senders and workers killed: each event that was accepted is in exactly one log, once, whoever sends it again."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy
from romancy.core import MessageReceived
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.crashes.eventing import SENDERS, WORKFLOWS, Sending, collects, number_of
from romancy_conformance.behaviour.crashes.forking import Workshop
from romancy_conformance.process_control import forks

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [pytest.mark.anyio, forks]

MODULE = "romancy_conformance.behaviour.crashes.eventing"
KILLED = -9
PROCESSES = 2
SOAK = bool(os.environ.get("ROMANCY_SOAK"))
ROUNDS, WAITING, COUNT = (4, 500, 5) if SOAK else (2, 6, 4)
LIMIT = 1200.0 if SOAK else 120.0
"""Seconds for one run of a process."""
LEAST = 10
"""Processes that die."""


def points(process: int) -> list[str]:
    """Where the processes of one kind die, one after another, while the other kind works. The last one does not.

    In the large form, anywhere in the first hundreds of writes of each kind.
    """
    chosen = Random(process)
    some = [
        f"{name}:{moment}:{chosen.randint(1, 600) if SOAK else 2 + 3 * number + process}"
        for number in range(ROUNDS)
        for name in ("post", "commit", "dispatch")
        for moment in ("before", "after")
    ]
    return [*(reversed(some) if process else some), "give_back:before:1", "give_back:after:1", ""]


async def work(workshop: Workshop, url: str, process: int, fails: Sequence[str]) -> list[int]:
    """Run one worker after another, until one has ended what there was. Return how they ended."""
    ends: list[int] = []
    for run, fail in enumerate(fails):
        job = Sending(url=url, fail=fail, process=process, waiting=WAITING, count=COUNT, run=run, limit=LIMIT)
        ends.append(await workshop.run(job))
        if ends[-1] != KILLED:
            break
    return ends


@pytest.mark.soak
@pytest.mark.timeout(3600 if SOAK else 300)
async def test_every_accepted_event_is_in_one_log_whoever_is_killed(shared_url: str) -> None:
    each = PROCESSES * SENDERS * COUNT
    async with Romancy(shared_url, workflows=WORKFLOWS, worker=False) as app:
        handles = [await app.start(collects, f"k{key}", each, []) for key in range(WAITING)]
        with Workshop(MODULE) as one, Workshop(MODULE) as other:
            ends = await asyncio.gather(work(one, shared_url, 0, points(0)), work(other, shared_url, 1, points(1)))
        results = [await handle.result(timeout=30) for handle in handles]
        logs = [await app.history(handle.instance_id) for handle in handles]
    store = create_store(shared_url)
    await store.open()
    kept = await store.services.router.kept()
    await store.close()

    for key, (result, log) in enumerate(zip(results, logs, strict=True)):
        expected = Counter(
            number_of(process, sender, key, number)
            for process in range(PROCESSES)
            for sender in range(SENDERS)
            for number in range(COUNT)
        )
        received = Counter(int(event.message.id) for event in log if isinstance(event, MessageReceived))
        assert Counter(result) == received == expected
    assert kept == []
    assert {0, KILLED} >= {end for some in ends for end in some}
    assert sum(end == KILLED for some in ends for end in some) >= LEAST
