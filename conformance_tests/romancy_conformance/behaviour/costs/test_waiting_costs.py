"""Instances that wait cost a worker no memory, however many there are on its database."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from msgspec import Raw
from msgspec.structs import replace

from romancy import Romancy, Status
from romancy.engine import new_life, start_of
from romancy.storage.backends import create_store
from romancy.storage.records import Change
from romancy_conformance.behaviour.cast import returns, waits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.records import Append

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")]

FEW, MANY, BATCH = 200, 20_000, 1000
NOISE = 1000
"""Objects that come and go; one for each waiting instance would be twenty times as many."""


async def let_wait(url: str, numbers: Iterable[int]) -> None:
    """Put instances into the database that wait for an event and have no owner."""
    store = create_store(url)
    await store.open()
    try:
        batch = [waiting(number) for number in numbers]
        for first in range(0, len(batch), BATCH):
            answers = await store.commit(batch[first : first + BATCH])
            assert set(answers) == {"accepted"}
    finally:
        await store.close()


def waiting(number: int) -> Append:
    start = start_of(
        waits,
        Raw(b"{}"),
        instance_id=f"wait-{number}",
        life=new_life(f"wait-{number}"),
        writer=f"w-{number}",
        now=1,
    )
    return replace(start, change=Change(status=Status.WAITING, seen=0, release=True))


async def objects_of(app: Romancy) -> int:
    """Count the objects in this process once the app has looked at its database."""
    for _ in range(3):
        await app.run(returns)
    gc.collect()
    return len(gc.get_objects())


async def test_an_idle_worker_holds_nothing_for_those_that_wait(storage_url: str, app: Romancy) -> None:
    await let_wait(storage_url, range(FEW))
    few = await objects_of(app)
    await let_wait(storage_url, range(FEW, MANY))

    assert await objects_of(app) - few < NOISE
    await app.signal(f"wait-{MANY - 1}", "go")
    await app.handle(f"wait-{MANY - 1}", waits).result(timeout=60)
