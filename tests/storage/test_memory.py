"""Promises of the in-memory store that only two overlapping calls show."""

from __future__ import annotations

import asyncio

import pytest

from romancy.storage.memory import create_store
from romancy.storage.records import Outcome
from romancy.storage.url import parse_url
from romancy_conformance.contract.building import Actor, append, change, full_log, nonce, unique
from romancy_conformance.contract.interleaving import HoldAt, listen

pytestmark = pytest.mark.anyio


async def test_a_takeover_goes_behind_what_was_committed_since_it_looked() -> None:
    """A10: an append that began before its worker was declared dead still stands, and so does the takeover's."""
    url = parse_url(f"memory://{unique('takeover')}")
    workflows = {unique("flow"): "c1"}
    store, other = create_store(url), create_store(url)
    await store.open()
    await other.open()
    victim = await Actor(store, workflows=workflows).register()
    survivor = await Actor(other, workflows=workflows).register()
    begun = await victim.begin()
    peer = await survivor.see(victim)
    writes, takes = HoldAt("append.change"), HoldAt("takeover.log")
    listen(store, writes)
    listen(other, takes)

    last = asyncio.create_task(victim.write(append(begun, 2, b'["last words"]', change=change())))
    await writes.reached.wait()
    taking = asyncio.create_task(other.takeover(survivor.token, peer, b'["owner"]', nonce()))
    await takes.reached.wait()
    writes.go.set()
    assert await last is Outcome.ACCEPTED
    takes.go.set()

    assert (await taking).moved == (begun.instance_id,)
    assert [b'["last words"]', b'["owner"]'] == [row.body for row in await full_log(other, begun.instance_id)][1:]
    await store.close()
    await other.close()
