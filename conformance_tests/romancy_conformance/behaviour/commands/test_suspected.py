"""`doctor`, `workers`, `top` and `why` tell of suspects, by what the rows of living workers and the logs say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from romancy import Romancy
from romancy.core import OwnerChanged, encode_commit
from romancy.engine.decide import step_behind
from romancy.engine.worker.known_workflows import suspects_told
from romancy.storage.backends import create_store
from romancy.storage.records import ClaimRequest, Outcome, Worker
from romancy_conformance.behaviour.commands.buying import approval

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.commands.buying import Command

ID = "a-1"


async def suspected(url: str, *, tried: bool) -> None:
    """Start an instance, which a worker holds as a suspect after two deaths, and tries or not."""
    async with Romancy(url, workflows=[approval], worker=False) as app:
        await app.start(approval.options(instance_id=ID), "lamp", 1)
    store = create_store(url)
    await store.open()
    try:
        await hold(store, tried=tried)
    finally:
        await store.close()


async def hold(store: Store, *, tried: bool) -> None:
    mine = Worker(
        token="holder", worker_id="the-holder", lease=600_000_000,
        codes=(approval.code, *suspects_told(3, ID if tried else "")),
    )  # fmt: skip
    now = (await store.heartbeat(mine)).now
    work = await store.claim(ClaimRequest(worker="holder", codes={approval.name: approval.code}, limit=9))
    (claimed,) = work.claimed
    entries = [OwnerChanged(at=now, owner="gone"), OwnerChanged(at=now, owner="holder")]
    if tried:
        entries.append(OwnerChanged(at=now, owner="holder", alone=True, heard=now, tried=ID))
    for number, entry in enumerate(entries):
        nonce = f"holder.{number}"
        step = step_behind(claimed, nonce, encode_commit([entry]))
        assert await store.commit([step], worker="holder") == [Outcome.ACCEPTED]
        claimed = replace(claimed, head=claimed.head + 1, head_writer=nonce)


@pytest.mark.parametrize("command", ["doctor", "workers", "top"])
def test_commands_count_suspects(command: str, url: str, romancy: Command) -> None:
    asyncio.run(suspected(url, tried=True))

    answer = romancy(command)

    said = " ".join((answer.out + answer.err).split())
    assert "3 instances are suspected of ending workers: one begins after another" in said
    assert "nothing else waits for them; now a-1" in said


def test_workers_tells_of_suspects_as_data(url: str, romancy: Command) -> None:
    asyncio.run(suspected(url, tried=False))

    (record,) = romancy("workers", "--json").records

    assert (3, None) == (record["suspects"], record["tried"])
    assert record["codes"] == [approval.code]


def test_why_says_that_it_waits_for_its_turn(url: str, romancy: Command) -> None:
    asyncio.run(suspected(url, tried=False))

    said = " ".join(romancy("why", ID).out.split())

    assert "It is suspected of ending its workers: 2 workers in a row were lost with it." in said
    assert "It waits for its turn, one of 3: its worker lives for a while without it" in said


def test_why_says_since_when_it_is_tried(url: str, romancy: Command) -> None:
    asyncio.run(suspected(url, tried=True))

    said = " ".join(romancy("why", ID).out.split())

    assert "It is suspected of ending its workers: 2 workers in a row were lost with it." in said
    assert "It is being tried since " in said
