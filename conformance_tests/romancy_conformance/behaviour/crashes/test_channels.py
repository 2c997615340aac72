"""Workers killed while workflows talk over channels: each message is where it belongs, once."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.crashes.channelling import (
    HERALDS,
    WORKFLOWS,
    edition,
    hears,
    works,
)
from romancy_conformance.behaviour.crashes.forking import Job, Workshop
from romancy_conformance.process_control import forks

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [pytest.mark.anyio, forks]

MODULE = "romancy_conformance.behaviour.crashes.channelling"
KILLED = -9
LEAST = 8
"""Processes that die."""
SOAK = bool(os.environ.get("ROMANCY_SOAK"))
LISTENERS = 20
"""In each of the two modes."""
ROUNDS, COUNT = (20, 50) if SOAK else (2, 6)


JOINING = ("register:before:1", "register:after:1", "register:after:2")
"""Where the first processes die, each alone, while workflows subscribe."""


def points(worker: int) -> list[str]:
    """Where the processes of one worker die, one after another, while the other works. The last one does not."""
    some = [
        f"{name}:{moment}:{number + worker}"
        for number in range(3, 3 + ROUNDS)
        for name in ("commit", "dispatch")
        for moment in ("before", "after")
    ]
    return [*(reversed(some) if worker else some), ""]


async def work(workshop: Workshop, url: str, fails: Sequence[str]) -> list[int]:
    """Run one worker after another, until one has ended what there was. Return how they ended."""
    ends: list[int] = []
    for fail in fails:
        ends.append(await workshop.run(Job(url=url, fail=fail)))
        if ends[-1] != KILLED:
            break
    return ends


@pytest.mark.timeout(900 if SOAK else 300)
async def test_every_message_is_where_it_belongs_whoever_is_killed(shared_url: str) -> None:
    async with Romancy(shared_url, workflows=WORKFLOWS, worker=False) as app:
        issue = await app.start(edition, LISTENERS, COUNT)
        hearing = [(await app.start(hears, issue.instance_id)).instance_id for _ in range(LISTENERS)]
        working = [(await app.start(works, issue.instance_id)).instance_id for _ in range(LISTENERS)]
        with Workshop(MODULE) as one, Workshop(MODULE) as other:
            ends = [await work(one, shared_url, JOINING)]
            ends += await asyncio.gather(work(one, shared_url, points(0)), work(other, shared_url, points(1)))
        heard = [await app.handle(instance_id).result(timeout=30) for instance_id in hearing]
        worked = [await app.handle(instance_id).result(timeout=30) for instance_id in working]
    store = create_store(shared_url)
    await store.open()
    kept = await store.services.router.kept()
    await store.close()

    everything = [1000 * first + number for first in range(HERALDS) for number in range(COUNT)]
    assert [sorted(got) for got in heard] == [everything] * LISTENERS
    assert heard[1:] == heard[:-1], "all in the same order"
    for first in range(HERALDS):
        assert [one for one in heard[0] if one // 1000 == first] == everything[first * COUNT : (first + 1) * COUNT]
    assert sorted(number for got in worked for number in got) == everything
    assert [] == kept
    assert {0, KILLED} >= {end for some in ends for end in some}
    assert sum(end == KILLED for some in ends for end in some) >= LEAST
