"""A worker that claims, appends, releases, takes over silent workers, and keeps writing after it was declared dead.

    python -m romancy_conformance.contract.fire.fencer NOTES URL WORKFLOW

Notes: `worker TOKEN` for each incarnation, `ok INSTANCE SEQ WRITER` for each acknowledged append, `marked TOKEN` for
each worker it declared dead, `dead TOKEN` when it learns that it was declared dead itself, `refused TOKEN N` for
the writes that were refused to it, and `accepted-after-death …` or `odd …` for answers that must never occur.
"""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from romancy.status import Status
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import Actor, append, change, nonce
from romancy_conformance.contract.fire.program import insist, run

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, Claimed, Peer
    from romancy_conformance.contract.fire.notes import Notes

LEASE = 1.0
_BEAT = 0.25
_PACE = 0.02
_OWNED_AT_MOST = 8


class Incarnation:
    """One incarnation of the worker."""

    def __init__(self, store: Store, notes: Notes, workflow: str) -> None:
        self.actor = Actor(store, workflows={workflow: "c1"}, lease=int(LEASE * 1_000_000))
        self.notes = notes
        self.store = store
        self.owned: dict[str, tuple[Claimed, int]] = {}
        self.watched: dict[str, tuple[int, float]] = {}
        self.next_beat = 0.0
        self.refused = 0

    async def live(self, stop: asyncio.Event) -> None:
        """Work until told to stop or declared dead."""
        self.notes.say(("worker", self.actor.token))
        while not stop.is_set():
            if not await self.beat() or not await self.append_everywhere():
                self.notes.say(("dead", self.actor.token))
                await self.try_all_the_same()
                return
            if len(self.owned) < _OWNED_AT_MOST:
                claimed = await insist(lambda: self.actor.claim(_OWNED_AT_MOST - len(self.owned), recover=True))
                self.owned |= {one.instance_id: (one, one.head) for one in claimed if one.instance_id not in self.owned}
            await asyncio.sleep(_PACE)
        await insist(lambda: self.store.leave(self.actor.worker))

    async def beat(self) -> bool:
        """Send a heartbeat when it is due; return whether this worker is alive."""
        now = time.monotonic()
        if now < self.next_beat:
            return True
        pulse = await insist(lambda: self.store.heartbeat(self.actor.worker))
        self.next_beat = time.monotonic() + _BEAT
        if pulse.alive:
            for peer in pulse.peers:
                await self.watch(peer)
        return pulse.alive

    async def watch(self, peer: Peer) -> None:
        """Take over a peer whose heartbeat counter this worker has seen unchanged for one lease."""
        beat, since = self.watched.get(peer.token, (-1, 0.0))
        if beat != peer.beat:
            self.watched[peer.token] = peer.beat, time.monotonic()
            return
        if not peer.dead and time.monotonic() - since < LEASE:
            return
        body = msgspec.json.encode([{"type": "owner", "dead": peer.token, "by": self.actor.token}])
        writer = nonce()
        left = True
        while left:
            answer = await insist(lambda: self.store.takeover(self.actor.token, peer, body, writer, limit=5))
            if answer.refused:
                return
            self.notes.say(("marked", peer.token))
            left = answer.left and bool(answer.moved)

    async def append_everywhere(self) -> bool:
        """Append to each owned instance in one batch; return False if the store reports this worker dead."""
        items = [self.next_append(claimed, head) for claimed, head in self.owned.values()]
        outcomes = await insist(lambda: self.store.commit(items, worker=self.actor.token))
        for item, outcome in zip(items, outcomes, strict=True):
            claimed, head = self.owned[item.instance_id]
            if outcome is Outcome.ACCEPTED:
                self.notes.say(("ok", item.instance_id, item.seq, item.writer))
                self.owned[item.instance_id] = claimed, head + 1
            else:
                self.refused += 1
            if outcome not in {Outcome.ACCEPTED, Outcome.TAKEN, Outcome.DEAD}:
                self.notes.say(("odd", item.instance_id, item.seq, outcome))
            if item.change is not None or outcome is not Outcome.ACCEPTED:
                del self.owned[item.instance_id]
        return Outcome.DEAD not in outcomes

    def next_append(self, claimed: Claimed, head: int) -> Append:
        releases = random.random() < 1 / 16
        body = msgspec.json.encode([{"type": "step", "token": self.actor.token, "releases": releases}])
        sleep = change(Status.WAITING, seen=claimed.signals, release=True, wake_at=1)
        return append(claimed, head + 1, body, change=sleep if releases else None)

    async def try_all_the_same(self) -> None:
        """Write as a worker does that does not know yet that it is dead; the store must refuse all of it."""
        for claimed, head in list(self.owned.values()):
            for seq in range(head + 1, head + 4):
                item = self.next_append(claimed, seq - 1)
                outcome = await insist(partial(self.actor.write, item))
                if outcome is Outcome.ACCEPTED:
                    self.notes.say(("accepted-after-death", item.instance_id, item.seq))
                self.refused += outcome is not Outcome.ACCEPTED
        self.notes.say(("refused", self.actor.token, self.refused))


async def main(store: Store, notes: Notes, stop: asyncio.Event, arguments: list[str]) -> None:
    (workflow,) = arguments
    while not stop.is_set():
        await Incarnation(store, notes, workflow).live(stop)


if __name__ == "__main__":
    run(main)
