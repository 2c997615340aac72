"""How the next step is chosen: from the model's state, so that most of them mean something.

Some are meant to be refused: by a dead worker, at a taken place, after a row that is not the last one, with too old a
view of the inbox. Every step is data, and can be made after any other one, so a walk can be cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from romancy.status import Status
from romancy.storage.records import Append, Change, ClaimRequest, Former, Host, Item, PruneRequest, Worker
from romancy_conformance.contract.walking.drawing import CODES, ENDS, FLOWS, OPEN, PAUSES, SECOND
from romancy_conformance.contract.walking.message_steps import MessageSteps
from romancy_conformance.contract.walking.state import Instance
from romancy_conformance.contract.walking.step import Step

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection

    from romancy.storage.routing import Interest
    from romancy_conformance.contract.walking.model import Model

__all__ = ["KINDS", "SUBJECTS", "Chooser"]

_BESIDE = 0.15
"""How often other steps are chosen in a walk that has a subject, for each time in one that has none."""


class Chooser(MessageSteps):
    """Chooses steps. Each method below draws one, or none if the state has nothing for it."""

    def __init__(self, model: Model, chance: random.Random, among: Collection[str] = ()) -> None:
        """Steps of the kinds `among` are chosen most of the time, if there are any."""
        super().__init__(model, chance)
        self.among = among
        self._weights = [
            weight if not among or kind in among else weight * _BESIDE for kind, (weight, _) in KINDS.items()
        ]

    def next(self) -> Step:
        """The next step, and the time at which it is made."""
        while self.planned:
            made = self.planned.pop(0)()
            if made:
                return Step("herds", self.model.state.now + 1000, *made)
        while True:
            kind = self.chance.choices(list(KINDS), self._weights)[0]
            if not self.among and not self.often(0.8) and (rare := [one for one in KINDS if one not in self.chosen]):
                kind = self.one(rare)
            made = KINDS[kind][1](self)
            if made:
                self.chosen.add(kind)
                call, arguments, *options = made
                at = self.model.state.now + self.chance.choice(PAUSES)
                return Step(kind, at, call, arguments, *options)

    def starts(self) -> Any:
        batch = [self.driven() if self.often(0.5) else self.start() for _ in range(self.chance.randint(1, 3))]
        return "commit", (batch,), {"worker": self.worker()}

    def starts_with_more(self) -> Any:
        """A first append with effects of several sorts: some meet the new instance itself."""
        made = self.driven()
        found = Instance.empty(made.instance_id)
        drawn = {name: draw(found) for name, (share, draw) in self._effects().items() if self.often(share)}
        drawn.pop("consumed", None)
        if self.often(0.3):
            drawn["deliveries"] = (*drawn.get("deliveries", ()), self.delivery(made.instance_id))
        made = replace(made, **drawn)
        self.past_starts.append(made)
        return "commit", ([made],), {"worker": self.worker()}

    def starts_again(self) -> Any:
        again = self.one(self.past_starts)
        if again is not None and self.often(0.5):
            self.lives[again.instance_id] += 1
            again = replace(again, life=self.lives[again.instance_id], writer=self.new("w") + again.writer[6:])
        return again and ("commit", ([again],))

    def written(self, item: Item, found: Instance) -> Any:
        """The commit of an append, by its owner as a rule; sometimes beside others, or in a session."""
        worker = found.owner if found.owner is not None and self.often(0.9) else self.worker()
        if worker is None:
            return None
        self.past_appends.append((item, worker))
        if self.often(0.1):
            return "session", (item, worker), {"leaves": self.often(0.3)}
        batch: list[Any] = [item]
        if self.often(0.3):
            about = {item.instance_id}
            if isinstance(item, Append):
                about |= {one.instance_id for one in item.starts} | {one.instance_id for one in item.deliveries}
            other = self.instance()
            if other is not None and other.instance_id not in about:
                batch.append(self.step(other))
            batch.append(self.start())
        return "commit", (batch,), {"worker": worker}

    def plain(self) -> Any:
        found = self.instance(ended=None if self.often(0.1) else False)
        return found and self.written(self.step(found), found)

    def many(self) -> Any:
        """Steps of several instances in one batch, all of one worker."""
        rows, worker = self.some(self.model.state.instances.values(), 5), self.worker()
        return worker and rows and ("commit", ([self.step(one) for one in rows],), {"worker": worker})

    def changes(self) -> Any:
        """A change of the row that gives up nothing is one by an owner."""
        found = self.instance(ended=None if self.often(0.1) else False, owned=True)
        return found and self.written(self.append(found, change=self.change(found, self.one(OPEN))), found)

    def releases(self) -> Any:
        found = self.instance(owned=True) if self.often(0.95) else self.instance()
        if found is None:
            return None
        wake_at = self.one([None, self.model.state.now + SECOND, self.model.state.now + 50 * SECOND, 5])
        status = self.one([Status.WAITING] * 4 + [*OPEN, Status.PAUSED])
        code = self.one([*[None] * 8, *CODES])
        forgives = code is None and self.often(0.2)
        change = self.change(found, status, release=True, wake_at=wake_at, forgive=forgives, refused_by=code)
        return self.written(self.append(found, change=change), found)

    def rests(self) -> Any:
        """A change from outside, of an instance that nobody owns, or that a worker owns by now."""
        found = self.instance(owned=False) if self.often(0.7) else self.instance(owned=True)
        if found is None:
            return None
        status = self.one([Status.PAUSED, Status.PAUSED, Status.RUNNING, Status.CANCELLED])
        wake_at = self.model.state.now if status is Status.RUNNING else None
        change = self.change(found, status, release=True, wake_at=wake_at, unowned=True)
        return self.written(self.append(found, change=change), found)

    def sticks(self) -> Any:
        found = self.instance(owned=True)
        if found is None:
            return None
        change = self.change(found, Status.STUCK, release=True, refused_by=self.one(CODES))
        return self.written(self.append(found, change=change), found)

    def ends(self) -> Any:
        found = self.instance()
        return found and self.written(self.append(found, change=self.change(found, self.one(ENDS))), found)

    def reopens(self) -> Any:
        found = self.instance(ended=True)
        if found is None:
            return None
        change = self.change(found, Status.RUNNING, release=True, reopens=self.often(0.8), wake_at=None)
        return self.written(self.append(found, change=change), found)

    def continues(self) -> Any:
        found = self.instance(owned=True)
        if found is None:
            return None
        new = {"input": b"7", "index": self.one([(), (("order", '"s:8"'),)])} if self.often(0.7) else {}
        change = self.change(found, Status.RUNNING, run_from=found.head + 1, **new)
        return self.written(self.append(found, change=change), found)

    def acts(self) -> Any:
        """An append with effects of several sorts, with or without a change of the row."""
        found = self.instance()
        if found is None:
            return None
        drawn = {name: draw(found) for name, (share, draw) in self._effects().items() if self.often(share)}
        if self.often(0.4):
            release = found.owner is None or self.often(0.3)
            drawn["change"] = self.change(found, self.one(OPEN), release=release)
        return self.written(self.append(found, **drawn), found)

    def _effects(self) -> dict[str, tuple[float, Callable[[Instance], Any]]]:
        """How often an append has each effect, and how it is drawn."""
        state = self.model.state

        def consumed(found: Instance) -> tuple[str, ...]:
            return tuple(self.some(state.inbox.get(found.instance_id, {}))) or ("nothing",) * self.often(0.2)

        def interests(_: Instance) -> tuple[Interest, ...]:
            drawn = [self.interest() for _ in range(self.chance.randint(1, 2))]
            return tuple({one.interest_id: one for one in drawn}.values())

        def starts(found: Instance) -> tuple[Append, ...]:
            child = self.start(parent=found.instance_id)
            if not self.often(0.9) and state.instances:
                child = replace(child, instance_id=self.one(state.instances))
            if not self.often(0.9):
                child = self.one([one for one in self.past_starts if _is_bare(one)]) or child
            return () if child.instance_id == found.instance_id else (child,)

        return {
            "starts": (0.3, starts),
            "consumed": (0.4, consumed),
            "deliveries": (0.3, lambda _: tuple(self.delivery() for _ in range(self.chance.randint(1, 2)))),
            "outbox": (
                0.3,
                lambda one: tuple(self.outgoing(one.instance_id) for _ in range(self.chance.randint(1, 3))),
            ),
            "interests": (0.3, interests),
            "uninterested": (0.2, lambda _: tuple(dict.fromkeys(one for _, one in state.interests if self.often(0.5)))),
            "postings": (0.3, lambda _: (self.posting(),)),
        }

    def appends_again(self) -> Any:
        again = self.one(self.past_appends)
        return again and ("commit", ([again[0]],), {"worker": again[1]})

    def herds(self) -> Any:
        """Many at once: started, then stuck, then waiting for times that one code version can do nothing with.

        Only the last one is for that version too, and falls due behind all others.
        """
        worker, name, code = self.worker(), self.one(FLOWS), self.one(CODES)
        if worker is None or not self.model.state.alive(worker):
            return None
        running = Change(status=Status.RUNNING, seen=0)
        herd = [self.start(change=running, owner=worker, workflow_name=name) for _ in range(self.chance.randint(9, 14))]

        def all_of(status: Status, wake: int | None, *, refusing: bool) -> Any:
            found = [self.model.state.instances.get(one.instance_id) for one in herd]
            batch = [
                self.append(one, change=Change(
                    status=status if one.instance_id != herd[-1].instance_id else Status.WAITING, seen=one.signals,
                    release=True, wake_at=wake and self.model.state.now + wake * SECOND + number,
                    refused_by=code if refusing and one.instance_id != herd[-1].instance_id else None,
                ))
                for number, one in enumerate(found) if one is not None and not one.ended
            ]  # fmt: skip
            return batch and ("commit", (batch,), {"worker": worker})

        self.planned = [
            lambda: ("commit", ([self.step(one) for one in self._of(herd)],), {"worker": worker}),
            lambda: all_of(Status.STUCK, 200, refusing=True),
            lambda: all_of(Status.WAITING, 200, refusing=False),
            lambda: ("claim", (ClaimRequest(worker=worker, codes={name: code}, limit=20),)),
        ]
        return "commit", (herd,), {"worker": worker}

    def _of(self, starts: list[Append]) -> list[Instance]:
        instances = self.model.state.instances
        return [instances[one.instance_id] for one in starts if one.instance_id in instances]

    def request(self, **fields: Any) -> ClaimRequest | None:
        worker = fields.pop("worker", None) or self.worker()
        if worker is None:
            return None
        codes = {name: self.one(CODES) for name in self.some(FLOWS, 2)}
        turns = self.model.state.turns.get(worker, {}) if self.often() else {}
        given: dict[str, Any] = {"limit": self.chance.choice([0, 1, 1, 2, 3, 20]), "turns": turns}
        return ClaimRequest(worker=worker, codes=codes, **(given | fields))

    def claims(self) -> Any:
        request = self.request()
        return request and ("claim", (request,))

    def claims_but_leaves(self) -> Any:
        request = self.request(leave=tuple(self.some(CODES, 2)), grace=self.one([0, SECOND, 30 * SECOND]))
        return request and ("claim", (request,))

    def recovers(self) -> Any:
        request = self.request(recover=True, sweep=self.often(0.2))
        return request and ("claim", (request,))

    def sweeps(self) -> Any:
        request = self.request(sweep=True)
        return request and ("claim", (request,))

    def collects(self) -> Any:
        """Asks for mail, with what the worker has of it."""
        found = self.instance(owned=True)
        if found is None:
            return None
        owned = [one for one in self.model.state.instances.values() if one.owner == found.owner]
        known = {one.instance_id: self.one([-1, one.signals, one.seen]) for one in owned if self.often(0.5)}
        kept = {one.instance_id: self.one([one.signals, one.seen, one.signals + 1]) for one in owned if self.often(0.5)}
        request = self.request(worker=found.owner, known=known, kept=kept, recover=self.often(0.1))
        return request and ("claim", (request,))

    def hires(self) -> Any:
        name = self.new("t")
        codes = tuple(self.some(CODES)) if self.often(0.8) else ()
        host = Host(boot_id="boot", pid_namespace="pid", pid=self.chance.randrange(9), pid_start=1)
        lease = self.one([10, 30]) * SECOND
        return "heartbeat", (Worker(token=name, worker_id=f"worker-{name}", lease=lease, codes=codes, host=host),)

    def beats(self) -> Any:
        held = self.one(one for one in self.model.state.workers.values() if not one.forgotten)
        return held and ("heartbeat", (replace(held.worker, lease=self.one([20, 30]) * SECOND),))

    def leaves(self) -> Any:
        held = self.one(one for one in self.model.state.workers.values() if not one.forgotten)
        return held and ("leave", (held.worker,))

    def takes_over(self) -> Any:
        state = self.model.state
        worker = self.worker()
        dead = self.one(one for one in state.workers if one != worker and not state.workers[one].pruned)
        if worker is None or dead is None:
            return None
        peer = self.model.peer(dead)
        if not self.often(0.8):
            peer = replace(peer, beat=peer.beat - 1)
        limit = self.one([1, 2, 100])
        return "takeover", (worker, peer, self.body(), self.new("w")), {"limit": limit}

    def reads(self) -> Any:
        found = self.one([*self.model.state.instances, "nobody"])
        return "read", (found,), {"after": self.one([0, 0, 1, 3]), "limit": self.one([0, 1, 1000])}

    def looks_around(self) -> Any:
        return "reading.census", ()

    def prunes(self) -> Any:
        now = self.model.state.now
        named = tuple(self.some(self.model.state.instances)) if self.often(0.5) else ()
        before = self.one([None, now - 60 * SECOND, now + 1])
        statuses = tuple(self.some(ENDS)) if self.often(0.3) else ENDS
        forget = self.one([None, now - 100 * SECOND, now + 1])
        until = now - SECOND if self.often(0.2) else now + 1
        request = PruneRequest(
            ended_before=before, instance_ids=named, named_until=until, statuses=statuses,
            limit=self.one([1, 500]), dedupe_before=forget,
        )  # fmt: skip
        return "prune", (request,)

    def replaces(self) -> Any:
        found = self.instance(ended=True) if self.often(0.9) else self.instance(ended=None)
        if found is None:
            return None
        life = found.life if self.often() else found.life + 1000
        former = Former(life, frozenset(self.some(ENDS) if self.often(0.3) else ENDS))
        if self.often(0.3):
            new = self.start(instance_id=found.instance_id, replaces=former)
            worker = self.worker()
            return worker and ("join", (new, self.second(new), worker))
        new = self.driven(instance_id=found.instance_id, replaces=former)
        if self.often(0.5):
            new = replace(new, deliveries=(self.delivery(found.instance_id),))
        return "commit", ([new],), {"worker": self.worker()}

    def opens_again(self) -> Any:
        return "reopen", ()


def _is_bare(item: Append) -> bool:
    """Whether a first append can be the start of a child."""
    create = item.create
    carried = item.change, item.outbox, item.deliveries, item.starts, item.interests, item.uninterested, item.postings
    return create is not None and create.owner is None and create.replaces is None and not any(carried)


KINDS: dict[str, tuple[float, Callable[[Chooser], Any]]] = {
    "starts": (6, Chooser.starts),
    "starts with more": (4, Chooser.starts_with_more),
    "starts again": (1, Chooser.starts_again),
    "plain": (5, Chooser.plain),
    "many steps": (2, Chooser.many),
    "changes": (3, Chooser.changes),
    "releases": (8, Chooser.releases),
    "rests": (3, Chooser.rests),
    "sticks": (2, Chooser.sticks),
    "herds": (0.4, Chooser.herds),
    "ends": (3, Chooser.ends),
    "reopens": (2, Chooser.reopens),
    "continues": (2, Chooser.continues),
    "acts": (10, Chooser.acts),
    "appends again": (2, Chooser.appends_again),
    "delivers": (6, Chooser.delivers),
    "claims": (10, Chooser.claims),
    "claims but leaves": (3, Chooser.claims_but_leaves),
    "recovers": (2, Chooser.recovers),
    "sweeps": (2, Chooser.sweeps),
    "collects": (4, Chooser.collects),
    "hires": (3, Chooser.hires),
    "beats": (2, Chooser.beats),
    "leaves": (1, Chooser.leaves),
    "takes over": (2, Chooser.takes_over),
    "reads": (2, Chooser.reads),
    "looks around": (1, Chooser.looks_around),
    "prunes": (1, Chooser.prunes),
    "replaces": (2, Chooser.replaces),
    "opens again": (0.5, Chooser.opens_again),
    "posts": (5, Chooser.posts),
    "registers": (4, Chooser.registers),
    "unregisters": (1, Chooser.unregisters),
    "looks at interests": (1, Chooser.looks_at_interests),
    "dispatches": (5, Chooser.dispatches),
    "sweeps routing": (2, Chooser.sweeps_routing),
    "gives back": (2, Chooser.gives_back),
    "reads letters": (1, Chooser.reads_letters),
    "acknowledges": (1, Chooser.acknowledges),
    "looks at kept": (1, Chooser.looks_at_kept),
    "expires": (1, Chooser.expires),
    "sends": (2, Chooser.sends),
    "claims outgoing": (4, Chooser.claims_outgoing),
    "sweeps outgoing": (1, Chooser.sweeps_outgoing),
    "settles": (4, Chooser.settles),
    "lists outgoing": (1, Chooser.lists_outgoing),
    "counts outgoing": (1, Chooser.counts_outgoing),
    "queues again": (1, Chooser.queues_again),
    "purges outgoing": (0.7, Chooser.purges_outgoing),
    "reads outgoing": (1, Chooser.reads_outgoing),
    "removes outgoing": (0.7, Chooser.removes_outgoing),
}
"""Every kind of step, and how often it is chosen."""

SUBJECTS: dict[str, frozenset[str]] = {
    "routing": frozenset({
        "starts", "ends", "posts", "registers", "unregisters", "looks at interests", "dispatches", "sweeps routing",
        "gives back", "reads letters", "acknowledges", "looks at kept", "expires", "replaces", "acts",
    }),
    "owners": frozenset({
        "starts", "releases", "rests", "sticks", "delivers", "claims", "claims but leaves", "recovers", "sweeps",
        "collects", "hires", "beats", "leaves", "takes over", "continues", "looks around",
    }),
    "appends": frozenset({
        "starts", "starts with more", "starts again", "plain", "many steps", "changes", "releases", "rests", "ends",
        "reopens", "continues", "acts", "appends again", "delivers", "replaces", "prunes", "posts", "registers",
    }),
    "outbox": frozenset({
        "starts", "acts", "sends", "claims outgoing", "sweeps outgoing", "settles", "lists outgoing", "counts outgoing",
        "queues again", "purges outgoing", "reads outgoing", "removes outgoing",
    }),
}  # fmt: skip
"""The kinds of steps that a walk has most of, by its subject."""
