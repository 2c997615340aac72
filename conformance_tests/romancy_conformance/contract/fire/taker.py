"""A worker that sleeps between messages: it claims instances with mail, consumes the mail in one append, and releases.

    python -m romancy_conformance.contract.fire.taker NOTES URL WORKFLOW

Notes: `took COUNT` for each accepted append, `odd …` for an answer that nothing explains.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import msgspec

from romancy.status import Status
from romancy.storage.records import ClaimRequest, Outcome
from romancy_conformance.contract.building import Actor, append, change
from romancy_conformance.contract.fire.program import insist, run

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, Claimed, Mailbox
    from romancy_conformance.contract.fire.notes import Notes

_IDLE = 0.05


class Taker:
    """The worker, with the log head and the seen counter of each instance it owns."""

    def __init__(self, store: Store, notes: Notes, workflow: str) -> None:
        self.store = store
        self.notes = notes
        self.actor = Actor(store, workflows={workflow: "c1"})
        self.owned: dict[str, tuple[Claimed, int, int]] = {}

    async def round(self) -> bool:
        """Claim, and consume all mail; return whether there was any."""
        request = ClaimRequest(worker=self.actor.token, codes=self.actor.workflows, limit=20)
        work = await insist(lambda: self.store.claim(request))
        self.owned |= {one.instance_id: (one, one.head, one.signals) for one in work.claimed}
        boxes = {box.instance_id: box for box in work.mail}
        items = [self._consume(boxes[one]) if one in boxes else self._sleep(one) for one in self.owned]
        if not items:
            return False
        outcomes = await insist(lambda: self.store.commit(items, worker=self.actor.token))
        for item, outcome in zip(items, outcomes, strict=True):
            if outcome is not Outcome.ACCEPTED:
                self.notes.say(("odd", item.instance_id, item.seq, outcome))
            elif item.consumed:
                self.notes.say(("took", len(item.consumed)))
            assert item.change is not None
            claimed, head, _ = self.owned.pop(item.instance_id)
            if not item.change.release:
                self.owned[item.instance_id] = claimed, head + 1, item.change.seen
        return bool(boxes)

    def _consume(self, box: Mailbox) -> Append:
        """Write everything in the box as one log row; then sleep, or keep the instance for the next message."""
        claimed, head, _ = self.owned[box.instance_id]
        body = msgspec.json.encode([{"type": "took"} | msgspec.json.decode(row.body) for row in box.rows])
        stays = random.random() < 1 / 2
        after = change(Status.WAITING, seen=box.signals, release=not stays)
        return append(claimed, head + 1, body, consumed=tuple(row.delivery_id for row in box.rows), change=after)

    def _sleep(self, instance_id: str) -> Append:
        """Release an instance without mail; it must not sleep if a message arrives at this moment."""
        claimed, head, seen = self.owned[instance_id]
        return append(claimed, head + 1, change=change(Status.WAITING, seen=seen, release=True))


async def main(store: Store, notes: Notes, stop: asyncio.Event, arguments: list[str]) -> None:
    taker = Taker(store, notes, arguments[0])
    await insist(lambda: store.heartbeat(taker.actor.worker))
    while not stop.is_set():
        if not await taker.round():
            await asyncio.sleep(_IDLE)


if __name__ == "__main__":
    run(main)
