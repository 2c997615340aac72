"""What steps are made of: records whose fields are drawn, most of them such that they fit the model's state."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.query import encode_where, project
from romancy.storage.records import Append, Change, Create, Delivery, Item, OutboxRow, Step, as_end
from romancy.storage.routing import OUTSIDE, Interest, InterestKind, Owner, Place, Posting, Spread
from romancy.storage.steps import behind

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from romancy_conformance.contract.walking.model import Model
    from romancy_conformance.contract.walking.state import Instance

__all__ = ["ADDRESSES", "CODES", "ENDS", "FLOWS", "OPEN", "OUTSIDERS", "PAUSES", "SECOND", "Draws"]

SECOND = 1_000_000
PAUSES = (1, 7, 1000, 1000, 100_000, SECOND, 6 * SECOND, 31 * SECOND, 100 * SECOND)
FLOWS = ("flow-a", "flow-b")
CODES = ("c1", "c2", "c3")
ADDRESSES = ("c/one", "e/two", "k/3/a/b", "k/3/A/b")
LINES = ("", "", "", "a", "b", "b\x1f1", "\U0010ffff")
"""Of fair keys. Most starts have none."""
OUTSIDERS = ("screen", "printer", "i00001")
"""One of them is called as an instance."""
OPEN = (Status.RUNNING, Status.WAITING, Status.CANCELLING, Status.COMPENSATING)
ENDS = tuple(sorted(TERMINAL_STATUSES))


class Draws:
    """Draws records. What it makes is numbered, so a seed always leads the same way."""

    def __init__(self, model: Model, chance: random.Random) -> None:
        self.model = model
        self.chance = chance
        self.number = 0
        self.lives = Counter[str]()
        """How many lives of each instance were made. So many instances have the same one."""
        self.past_starts: list[Append] = []
        self.past_appends: list[tuple[Item, str]] = []
        self.past_deliveries: list[Delivery] = []
        self.past_postings: list[Posting] = []
        self.past_claims: list[str] = []
        self.chosen: set[str] = set()
        self.planned: list[Callable[[], Any]] = []
        """Steps that follow at once."""

    def new(self, word: str) -> str:
        self.number += 1
        return f"{word}{self.number:05}"

    def often(self, share: float = 0.85) -> bool:
        return self.chance.random() < share

    def one(self, of: Any) -> Any:
        found = _in_order(of)
        return self.chance.choice(found) if found else None

    def some(self, of: Any, most: int = 3) -> list[Any]:
        found = _in_order(of)
        return self.chance.sample(found, min(len(found), self.chance.randint(1, most)))

    def worker(self) -> str | None:
        """A worker that is alive, as a rule."""
        state = self.model.state
        token: str | None = self.one(one for one in state.workers if state.alive(one) == self.often(0.95))
        if token is None:
            token = self.one(state.workers)
        return token

    def instance(self, *, ended: bool | None = False, owned: bool | None = None) -> Instance | None:
        """An instance, by whether it has ended and whether it has an owner."""
        rows = self.model.state.instances.values()
        found: Instance | None = self.one(
            one for one in rows if ended in (None, one.ended) and owned in (None, one.owner is not None)
        )
        return found

    def body(self) -> bytes:
        return b'[{"type":"%d"}]' % self.chance.randrange(1000)

    def start(
        self,
        *,
        instance_id: str | None = None,
        change: Change | None = None,
        interests: tuple[Interest, ...] = (),
        **fields: Any,
    ) -> Append:
        """A first append, which at most listens. `fields` are of what it creates."""
        writer = self.new("w")
        name = self.new("i") if instance_id is None else instance_id
        self.lives[name] += 1
        given: dict[str, Any] = {
            "workflow_name": self.one(FLOWS), "code": self.one(CODES), "input": b"%d" % self.chance.randrange(100),
            "delay": self.one([0, 0, 0, SECOND, 40 * SECOND, None]), "parent": self.one([None, "i00001"]),
            "priority": self.one([0, 0, 0, 2, -9]),
            "index": self.one([(), (("order", '"s:7"'),), (("a", None), ("b", '"s:1"'))]),
        }  # fmt: skip
        if given["delay"] is not None:
            given["at"] = self.one([None, None, 5, self.model.state.now + 20 * SECOND])
            if given["delay"] == 0 and given["at"] is None and "owner" not in fields and change is None:
                given["fair_line"] = self.one(LINES)
        made = Append(
            instance_id=name, life=self.lives[name], seq=1,
            writer=as_end(writer) if change is not None and change.status in ENDS else writer, body=self.body(),
            change=change, interests=interests, create=Create(**(given | fields)),
        )  # fmt: skip
        self.past_starts.append(made)
        return made

    def driven(self, **fields: Any) -> Append:
        """A first append whose code was run: its worker keeps the instance, or it rests, or has ended."""
        kind = self.one(["keeps", "keeps", "rests", "rests", "ends"])
        if kind == "keeps":
            given: dict[str, Any] = {"owner": self.worker()}
            return self.start(change=Change(status=Status.RUNNING, seen=0), **(given | fields))
        if kind == "rests":
            wake_at = self.one([None, 5, self.model.state.now + SECOND, self.model.state.now + 50 * SECOND])
            rests = Change(status=self.one([*OPEN, Status.PAUSED]), seen=0, release=True, wake_at=wake_at)
            return self.start(change=rests, interests=(self.interest(),) * self.often(0.5), **fields)
        status = self.one(ENDS)
        error = "it failed" if status is Status.FAILED else None
        return self.start(change=Change(status=status, seen=0, error=error), **fields)

    def second(self, begun: Append) -> Step:
        """The second row of an instance that has just begun."""
        return Step(begun.instance_id, begun.life, 2, self.new("w"), b"[]", behind(begun.writer))

    def step(self, found: Instance) -> Step | Append:
        """The next row of this instance without effects. Some are appends, which are slower and mean the same."""
        made = self.append(found)
        if not self.often():
            return made
        return Step(made.instance_id, made.life, made.seq, made.writer, made.body, behind(made.after))

    def append(self, found: Instance, **fields: Any) -> Append:
        """The next append to this instance, by what is known of it; sometimes a little wrong."""
        last = found.log.get(found.head)
        change: Change | None = fields.get("change")
        ends = change is not None and change.status in TERMINAL_STATUSES
        writer = self.new("w")
        given: dict[str, Any] = {
            "instance_id": found.instance_id, "life": found.life, "seq": found.head + 1, "body": self.body(),
            "writer": as_end(writer) if ends else writer, "after": None if last is None else last.writer,
        }  # fmt: skip
        if not self.often(0.93):
            wrong = [{"seq": found.head}, {"seq": found.head + 2}, {"life": found.life + 1}, {"after": "another"}]
            given |= self.one(wrong)
        return Append(**(given | fields))

    def change(self, found: Instance, status: Status, **fields: Any) -> Change:
        seen = found.signals if self.often() else max(0, found.signals - 1)
        error = "it failed" if status is Status.FAILED else None
        return Change(status=status, seen=seen, error=error, code=self.one([None, *CODES]), **fields)

    def delivery(self, to: str | None = None) -> Delivery:
        target = to or (self.one(self.model.state.instances) if self.often(0.95) else "nobody")
        dedupe = self.one([None, None, f"dedupe{self.chance.randrange(2)}"])
        name = self.new("d")
        made = Delivery(instance_id=target or "nobody", delivery_id=name, body=b"%d" % len(name), dedupe=dedupe)
        self.past_deliveries.append(made)
        return made

    def posting(self) -> Posting:
        places = [Place(self.one(ADDRESSES), self.one(Spread))]
        places += [
            Place(one, Spread.EVERY) for one in self.some(ADDRESSES, 2) if one != places[0].address
        ] * self.often(0.3)
        body = b'{"n":%d}' % self.chance.randrange(3)
        projection = project(body) if self.often(0.9) else None
        dedupe = self.one([None, None, f"dedupe{self.chance.randrange(8)}"])
        made = Posting(message_id=self.new("m"), places=tuple(places), body=body, projection=projection, dedupe=dedupe)
        self.past_postings.append(made)
        return made

    def interest(self) -> Interest:
        where = encode_where({"n": self.chance.randrange(3)}) if self.often(0.3) else None
        kind = self.one([InterestKind.TAKE, InterestKind.TAKE, *InterestKind])
        name = f"want{self.chance.randrange(5)}"
        return Interest(interest_id=name, address=self.one(ADDRESSES), kind=kind, where=where)

    def owner(self) -> Owner:
        found = self.instance(ended=None if self.often(0.1) else False)
        if found is None or self.often(0.3):
            return Owner(self.one(OUTSIDERS), OUTSIDE)
        return Owner(found.instance_id, found.life if self.often(0.95) else found.life + 1)

    def outgoing(self, instance_id: str | None = None) -> OutboxRow:
        key = self.one([None, "key-a", "key-a", "key-b"])
        return OutboxRow(outbox_id=self.new("o"), topic="topic", body=b"{}", key=key, instance_id=instance_id)


def _in_order(of: Any) -> list[Any]:
    """Strings in a set have another order in each process, and a seed would lead another way there."""
    found: list[Any] = list(of)
    return sorted(found) if isinstance(of, set | frozenset) else found
