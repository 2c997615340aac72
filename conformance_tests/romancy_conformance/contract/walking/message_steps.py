"""Steps with messages: inboxes, the routing, and the outbox."""

from __future__ import annotations

from typing import Any

from romancy.storage.outbox import FINISHED, OutboxState, Settled
from romancy.storage.routing import OUTSIDE, InterestKind, Owner
from romancy_conformance.contract.walking.drawing import ADDRESSES, OUTSIDERS, SECOND, Draws

__all__ = ["MessageSteps"]


class MessageSteps(Draws):
    """Each method draws one step, or none if the state has nothing for it."""

    def delivers(self) -> Any:
        batch = [self.delivery() for _ in range(self.chance.randint(1, 3))]
        if not self.often(0.8):
            batch.append(self.one(self.past_deliveries))
        return "deliver", (batch,)

    def posts(self) -> Any:
        batch = [self.posting() for _ in range(self.chance.randint(1, 2))]
        if not self.often(0.8):
            again = self.one(self.past_postings)  # what was dispatched is no duplicate without a key
            kept = any((place.address, again.message_id) in self.model.state.messages for place in again.places)
            seen = (again.topic, 0, again.dedupe) in self.model.state.seen
            batch += [again] if kept or seen or again in batch else []
        return "router.post", (batch,)

    def registers(self) -> Any:
        return "router.register", (self.owner(), self.interest())

    def unregisters(self) -> Any:
        found = self.one(self.model.state.interests)
        return found and ("router.unregister", (found[0], [found[1], "another"]))

    def looks_at_interests(self) -> Any:
        return "router.interests", (self.one(ADDRESSES),)

    def dispatches(self) -> Any:
        """With a small limit, a store decides which messages come first. So it goes on until there are no more."""
        some = self.some(ADDRESSES)
        of_both = any(
            owner.life == OUTSIDE and one.kind is InterestKind.TAKE and one.address in some
            for (owner, _), (one, _) in self.model.state.interests.items()
        )  # taken letters have numbers, as copies have
        if of_both or self.often(0.4):
            return "router.dispatch", (some,)
        return "drain", (some,), {"limit": self.one([1, 2, 3])}

    def sweeps_routing(self) -> Any:
        return "router.dispatch", ()

    def gives_back(self) -> Any:
        state = self.model.state
        if self.often(0.3):
            keys = self.some(state.letters)
            return keys and ("router.give_back", (Owner(keys[0][0], OUTSIDE), [one for _, one in keys]))
        name = self.one(name for name, box in state.inbox.items() if box)
        if name is None or name not in state.instances:
            return None
        life = state.instances[name].life + (not self.often(0.9))
        return "router.give_back", (Owner(name, life), [*self.some(state.inbox[name]), "another"])

    def reads_letters(self) -> Any:
        return "router.letters", (self.one(OUTSIDERS),), {"limit": self.one([1, 100])}

    def acknowledges(self) -> Any:
        keys = self.some(self.model.state.letters)
        return keys and ("router.acknowledge", (keys[0][0], [one for _, one in keys]))

    def looks_at_kept(self) -> Any:
        after = self.one(["", *(one for _, one in self.model.state.messages)])
        return (
            "router.kept",
            (),
            {"address": self.one([None, *ADDRESSES]), "after": after, "limit": self.one([1, 2, 100])},
        )

    def expires(self) -> Any:
        return "router.expire", (self.model.state.now - self.one([0, 1, 100, 300]) * SECOND,)

    def sends(self) -> Any:
        rows = [self.outgoing() for _ in range(self.chance.randint(1, 3))]
        return "send", (self.start(), rows)

    def claims_outgoing(self) -> Any:
        claim = self.new("claim")
        self.past_claims.append(claim)
        lease = self.one([SECOND, 30 * SECOND])
        return "outbox.claim", (claim,), {"lease": lease, "limit": self.one([1, 2, 50])}

    def sweeps_outgoing(self) -> Any:
        return "outbox.sweep", ()

    def settles(self) -> Any:
        held = [one for one in self.model.state.outgoing.values() if one.claim is not None]
        batch = [
            Settled(
                outbox_id=one.row.outbox_id, claim=one.claim if self.often(0.9) else self.one(self.past_claims),
                state=self.one([*OutboxState, OutboxState.PUBLISHED]), delay=self.one([0, SECOND]),
                error=self.one([None, "no answer"]), counted=self.often(0.8),
            )
            for one in self.some(held)
        ]  # fmt: skip
        return batch and ("outbox.settle", (batch,))

    def lists_outgoing(self) -> Any:
        states = self.some(OutboxState) if self.often(0.5) else []
        found = self.one(self.model.state.outgoing.values())
        after = (found.at, found.row.outbox_id) if found is not None and self.often(0.5) else (0, "")
        return "outbox.entries", (states,), {"after": after, "limit": self.one([1, 3, 100])}

    def counts_outgoing(self) -> Any:
        return "outbox.counts", (), {"most": self.one([2, 1000])}

    def queues_again(self) -> Any:
        ids = self.some([*self.model.state.outgoing, "none"]) if self.often(0.5) else None
        return "outbox.requeue", (self.some(FINISHED),), {"outbox_ids": ids, "limit": self.one([1, 1000])}

    def purges_outgoing(self) -> Any:
        before = self.model.state.now - self.one([0, 10, 100]) * SECOND
        return "outbox.purge", (self.some(FINISHED), before)

    def reads_outgoing(self) -> Any:
        return "outbox.read", (self.one([1, 100]),)

    def removes_outgoing(self) -> Any:
        ids = self.some(self.model.state.outgoing)
        return ids and ("outbox.remove", ([*ids, "none"],))
