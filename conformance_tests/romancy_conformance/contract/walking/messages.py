"""The model of messages: inboxes, and the routing of what is posted to addresses."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from romancy.errors import InstanceNotFoundError
from romancy.storage.records import Delivered
from romancy.storage.routing import OUTSIDE, Dispatched, Interest, InterestKind, KeptMessage, Letter, Owner, Spread
from romancy_conformance.contract.walking.state import Mail, Taken

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from romancy.storage.records import Delivery
    from romancy.storage.routing import Posting
    from romancy_conformance.contract.walking.state import Instance, State

__all__ = ["Messages", "RouterModel", "copy_id"]

_EXCLUDES = {InterestKind.COPY: InterestKind.MEMBER, InterestKind.MEMBER: InterestKind.COPY}


class Messages:
    """What appends, sessions and dispatches do with messages."""

    def __init__(self, state: State) -> None:
        self.state = state

    def count(self, found: Instance, several: int = 1) -> None:
        """Count messages. A sleeping instance is due, and one that is due keeps its place."""
        found.signals += several
        if found.owner is None and not found.deaf:
            found.wake_at = min(found.wake_at or self.state.now, self.state.now)

    def deliver(self, batch: Sequence[Delivery]) -> list[Delivered]:
        """Put each message into its inbox, in order. The counter moves by the number of those accepted."""
        before = {name: found.signals for name, found in self.state.instances.items()}
        counts = dict.fromkeys(before, 0)
        answers = [self._put(one, before, counts) for one in batch]
        for name, several in counts.items():
            if several:
                self.count(self.state.instances[name], several)
                for key, mail in self.state.inbox[name].items():
                    if mail.high < 0:
                        high = self.state.instances[name].signals
                        self.state.inbox[name][key] = replace(mail, high=high)
        return answers

    def _put(self, one: Delivery, before: dict[str, int], counts: dict[str, int]) -> Delivered:
        state = self.state
        found = state.instances.get(one.instance_id)
        if found is None:
            return Delivered.UNKNOWN
        if found.ended:
            return Delivered.CLOSED
        box = state.inbox.setdefault(one.instance_id, {})
        if one.delivery_id in box or (one.instance_id, found.life, one.dedupe) in state.seen:
            return Delivered.DUPLICATE
        if one.dedupe is not None:
            state.seen[one.instance_id, found.life, one.dedupe] = state.now
        box[one.delivery_id] = Mail(one.delivery_id, one.body, state.now, before[one.instance_id], -1)
        counts[one.instance_id] += 1
        return Delivered.ACCEPTED

    def put(self, one: Posting) -> Delivered:
        """Keep a message at all its places, or at none if it is known."""
        state = self.state
        places = [(place.address, one.message_id) for place in one.places]
        if (one.topic, 0, one.dedupe) in state.seen or any(place in state.messages for place in places):
            return Delivered.DUPLICATE
        if one.dedupe is not None:
            state.seen[one.topic, 0, one.dedupe] = state.now
        for address, spread in one.places:
            kept = Taken(one.message_id, address, spread, one.body, state.now, one.projection)
            state.messages[address, one.message_id] = kept
        return Delivered.ACCEPTED

    def want(self, owner: Owner, interest: Interest) -> None:
        """Register an interest. It keeps its place in the queue while its address and kind stay."""
        key = owner, interest.interest_id
        held, at = self.state.interests.get(key, (None, 0))
        same = held is not None and (held.address, held.kind) == (interest.address, interest.kind)
        self.state.interests[key] = interest, at if same else self.state.now

    def return_mail(self, instance_id: str, delivery_ids: Iterable[str]) -> int:
        """Keep taken messages at their addresses again, and remove copies. Return how many there were."""
        box = self.state.inbox.get(instance_id, {})
        routed = [one for one in dict.fromkeys(delivery_ids) if one in box and box[one].address is not None]
        for one in routed:
            self._keep(box.pop(one).taken)
        return len(routed)

    def return_letters(self, name: str, letter_ids: Iterable[str]) -> int:
        """The same with letters."""
        keys = [(name, one) for one in dict.fromkeys(letter_ids) if (name, one) in self.state.letters]
        for key in keys:
            self._keep(self.state.letters.pop(key)[1])
        return len(keys)

    def _keep(self, taken: Taken | None) -> None:
        if taken is not None:
            self.state.messages.setdefault((taken.address, taken.message_id), taken)

    def remove(self, instance_id: str) -> None:
        """Remove an instance with all data under its id. What it had taken and not consumed goes back."""
        state = self.state
        for key in [key for key in state.interests if key[0].name == instance_id and key[0].life != OUTSIDE]:
            del state.interests[key]
        self.return_mail(instance_id, list(state.inbox.get(instance_id, {})))
        state.inbox.pop(instance_id, None)
        state.seen = {key: at for key, at in state.seen.items() if key[0] != instance_id or not key[1]}
        del state.instances[instance_id]


@dataclass
class _Plan:
    """What a dispatch will do."""

    takes: list[tuple[Taken, Owner, str]]
    copies: list[tuple[Taken, list[Owner]]]

    @property
    def delivered(self) -> int:
        return len(self.takes) + sum(len(owners) for _, owners in self.copies)


class RouterModel(Messages):
    """`Router`, one call at a time."""

    def dispatch(self, addresses: Collection[str] = (), /) -> Dispatched:
        state = self.state
        if not addresses:
            self._tidy()
            addresses = {address for address, _ in state.messages}
        here = [one for (address, _), one in state.messages.items() if address in addresses]
        here.sort(key=lambda one: (one.at, one.message_id, one.address))
        plan = self._plan(here)
        self._carry_out(plan)
        return Dispatched(delivered=plan.delivered)

    def _wanted(self, address: str) -> list[tuple[Owner, Interest]]:
        """The interests at an address of owners who can receive, the longest registered first."""
        found = [
            (at, owner, interest.interest_id, interest)
            for (owner, _), (interest, at) in self.state.interests.items()
            if interest.address == address and self.state.receives(owner)
        ]
        return [(owner, interest) for _, owner, _, interest in sorted(found, key=lambda one: one[:3])]

    def _plan(self, here: list[Taken]) -> _Plan:
        """A message for one receiver goes to who has waited longest; else each listener that it fits gets one copy."""
        plan, used = _Plan([], []), set[tuple[Owner, str]]()
        for one in here:
            wanted = self._wanted(one.address)
            listeners = [each for each in wanted if each[1].kind is InterestKind.COPY]
            if one.spread is Spread.EVERY or (one.spread is Spread.CHANNEL and listeners):
                owners = dict.fromkeys(owner for owner, interest in listeners if _fits(one, interest))
                plan.copies.append((one, list(owners)))
                continue
            takers = [
                (owner, interest)
                for owner, interest in wanted
                if interest.kind is InterestKind.TAKE and (owner, interest.interest_id) not in used
            ]
            for owner, interest in takers:
                if _fits(one, interest):
                    used.add((owner, interest.interest_id))
                    plan.takes.append((one, owner, interest.interest_id))
                    break
        return plan

    def _carry_out(self, plan: _Plan) -> None:
        """Letters and copies have numbers, which go up at each address. Then the receivers' counters move."""
        state = self.state
        told: dict[str, int] = {}
        for one, owner, interest_id in plan.takes:
            _, registered = state.interests.pop((owner, interest_id))
            at = one.at if one.at >= registered else state.now
            number = self._number(one.address) if owner.life == OUTSIDE else at
            self._give(one, owner, number, interest_id, told)
        for one, owners in plan.copies:
            number = self._number(one.address) if owners else 0
            for owner in owners:
                self._give(one, owner, number, None, told)
        for one in [*(take[0] for take in plan.takes), *(each for each, _ in plan.copies)]:
            del state.messages[one.address, one.message_id]
        for name, several in told.items():
            found = state.instances[name]
            self.count(found, several)
            for key, mail in state.inbox[name].items():
                if mail.high < 0:
                    state.inbox[name][key] = replace(mail, high=found.signals)

    def _number(self, address: str) -> int:
        last = self.state.numbers.get(address, 0)
        self.state.numbers[address] = max(last + 1, self.state.now)
        return self.state.numbers[address]

    def _give(self, one: Taken, owner: Owner, at: int, interest_id: str | None, told: dict[str, int]) -> None:
        state = self.state
        taken = None if interest_id is None else one
        if owner.life == OUTSIDE:
            letter = Letter(letter_id=copy_id(one.address, at), address=one.address, body=one.body, at=at)
            state.letters[owner.name, letter.letter_id] = letter, taken
            return
        name = copy_id(one.address, at) if taken is None else one.message_id
        low = state.instances[owner.name].signals
        mail = Mail(name, one.body, at, low, -1, one.address, interest_id, taken)
        state.inbox.setdefault(owner.name, {}).setdefault(name, mail)
        told[owner.name] = told.get(owner.name, 0) + 1

    def _tidy(self) -> None:
        """Remove interests of ended and missing instances, and give back what those had taken."""
        state = self.state
        for key in [key for key in state.interests if not state.receives(key[0])]:
            del state.interests[key]
        for name, box in list(state.inbox.items()):
            if name not in state.instances or state.instances[name].ended:
                self.return_mail(name, [one for one, mail in box.items() if mail.taken is not None])

    def register(self, owner: Owner, interest: Interest, /) -> InterestKind | None:
        if not self.state.receives(owner):
            raise InstanceNotFoundError(owner.name)
        kinds = {one.kind for _, one in self._wanted(interest.address)}
        in_the_way = _EXCLUDES.get(interest.kind)
        if in_the_way in kinds:
            return in_the_way
        if interest.kind is InterestKind.COPY and interest.kind not in kinds:
            for place in [place for place in self.state.messages if place[0] == interest.address]:
                del self.state.messages[place]
        self.want(owner, interest)
        return None

    def unregister(self, owner: Owner, interest_ids: Collection[str], /) -> None:
        for one in interest_ids:
            self.state.interests.pop((owner, one), None)

    def interests(self, address: str, /) -> list[tuple[Owner, Interest]]:
        return self._wanted(address)

    def give_back(self, owner: Owner, ids: Sequence[str], /, *, at: int | None = None) -> int:
        if owner.life == OUTSIDE:
            return self.return_letters(owner.name, ids)
        if at is not None:
            box = self.state.inbox.get(owner.name, {})
            ids = [one for one in ids if one in box and box[one].at == at]
        found = self.state.instances.get(owner.name)
        return self.return_mail(owner.name, ids) if found is None or found.life == owner.life else 0

    def post(self, batch: Sequence[Posting], /) -> list[Delivered]:
        return [self.put(one) for one in batch]

    def letters(self, subscriber: str, /, *, limit: int = 100) -> list[Letter]:
        found = [letter for (name, _), (letter, _) in self.state.letters.items() if name == subscriber]
        return sorted(found, key=lambda one: (one.at, one.letter_id))[:limit]

    def acknowledge(self, subscriber: str, letter_ids: Collection[str], /) -> int:
        keys = {(subscriber, one) for one in letter_ids} & set(self.state.letters)
        for key in keys:
            del self.state.letters[key]
        return len(keys)

    def kept(self, *, address: str | None = None, after: str = "", limit: int = 100) -> list[KeptMessage]:
        found = [
            KeptMessage(message_id=one.message_id, address=one.address, spread=one.spread, body=one.body, at=one.at)
            for one in self.state.messages.values()
            if one.message_id > after and address in (None, one.address)
        ]
        found.sort(key=lambda one: (one.message_id, one.address))
        return [one for one in found if one in found[:limit] or one.message_id == found[limit - 1].message_id]

    def expire(self, before: int, /, *, limit: int = 1000) -> int:
        state = self.state
        wanted = {interest.address for interest, _ in state.interests.values()}
        subscribers = {owner.name for owner, _ in state.interests if owner.life == OUTSIDE}
        old = [place for place, one in state.messages.items() if one.at < before and place[0] not in wanted]
        unread = [key for key, (one, _) in state.letters.items() if one.at < before and key[0] not in subscribers]
        assert max(len(old), len(unread)) <= limit, "which of them go first is nowhere promised"
        for place in old:
            del state.messages[place]
        for key in unread:
            del state.letters[key]
        state.numbered_until = max(state.numbered_until, before)
        return len(old) + len(unread)


def _fits(one: Taken, interest: Interest) -> bool:
    """The conditions of the walk are all of one kind: the member `n` is a certain number."""
    if interest.where is None:
        return True
    word = json.loads(interest.where)["all"][0]["predicate"]["word"]
    return one.projection is not None and json.loads(one.projection).get("n") == word


def copy_id(address: str, number: int) -> str:
    """The id of a copy or letter: its number, and what tells the address from others."""
    return f"{number:019d}-{sha256(address.encode()).hexdigest()[:16]}"
