"""A dispatch of lanes on an SQL database: gives the free places to the demands that stand first by their ranks.

Whoever asks for a place, or gives one back, posts a message at the lane with the same commit. It says that something
has changed there, and has no receiver. A dispatch reads these marks first, so what comes later has a mark of its own,
and is found by a later dispatch. Then it reads the number of the lane, and after that what is taken and who waits: if
another dispatch has given a place by then, it has moved the number.

Two dispatches of a lane never both succeed: PostgreSQL has locked the address, SQLite has one writer, and elsewhere the
last number of the address is moved, which the second one finds moved.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec

from romancy.errors import InternalError
from romancy.storage.admission import BOOKS, CHOSEN, MOST_AT_ONCE, Demand, admit, decode_begins, decode_terms
from romancy.storage.pairing import copy_id
from romancy.storage.routing import OUTSIDE, InterestKind, Owner, address_held_at, limit_of_lane
from romancy.storage.sqlkit.dispatches import COUNTED, LATE, OVER, Decision, Moved, Unseen
from romancy.storage.sqlkit.statements import Ask, ask_last, look, tell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.storage.admission import Admission
    from romancy.storage.sqlkit.dispatches import Row
    from romancy.storage.sqlkit.statements import Answer, Operation

__all__ = ["give_places"]

_MARKS: Final = 500
_FIRST: Final = 8
"""How many demands of a lane are read at first: mostly one place is free."""
_LOOKS: Final = 4


class _Lane:
    """What a dispatch has found at a lane, and what it makes of it."""

    def __init__(self, address: str, answers: Sequence[Answer]) -> None:
        marks, books, taken, waiting = answers
        self.address = address
        self.marks: list[str] = [one for (one,) in marks.rows]
        ((self.taken,),) = taken.rows
        ((number, begun, chosen, self.now),) = books.rows
        self.last: int = number or 0
        self.begins = decode_begins(begun)
        self.chosen = None if chosen is None else decode_terms(chosen)
        self.judge(waiting, _FIRST)

    def judge(self, waiting: Answer, most: int) -> None:
        """Decide about these demands, of which so many were asked for."""
        demands = [Demand(Owner(name, life), one, terms, at) for name, life, one, terms, at in waiting.rows]
        found = admit(demands, self.taken, self.begins, self.now, self.chosen)
        # A mark is what goes to the inboxes.
        self.found: Admission = found if self.marks else found._replace(admitted=())
        self.more = len(self.found.admitted) == most and (found.free > most or most == MOST_AT_ONCE)

    def all_free(self) -> Ask:
        """What asks for as many demands as there are free places."""
        return Ask("lane_waiting", {"address": self.address, "limit": self.found.free})

    def add_to(self, decision: Decision) -> None:
        """Write down who gets a place here, and which marks are gone."""
        given = self.found.admitted
        more = self.more or len(self.marks) == _MARKS
        kept = self.found.again is not None or more  # a sweep finds the mark if this process dies
        mark = self.marks[-1] if self.marks else None
        number = self.last
        for demand in given:
            number = max(number + 1, self.now)
            delivery_id = copy_id(self.address, number)
            owner, one = demand.owner, demand.interest_id
            decision.owners[owner.name] = owner
            decision.takes.append((*owner, one, delivery_id, self.now, self.address, mark, demand.at))
            decision.mail.append((owner.name, delivery_id, self.now, one, self.address, mark))
            decision.holds.append((*owner, one, address_held_at(self.address), _HAS, demand.terms))
        if given and mark is not None:
            decision.given.append((self.address, mark))
            decision.numbers.append((self.address, number, self.last))
            if self.found.begins:
                books = msgspec.json.encode(self.found.begins)
                decision.holds.append((BOOKS, OUTSIDE, _key(self.address), f"b{self.address[1:]}", _HAS, books))
        decision.dropped.extend((self.address, one) for one in self.marks[kept : -1 if given else None])


_HAS: Final = InterestKind.MEMBER.value


def give_places(addresses: list[str], limit: int) -> Operation[Moved]:  # noqa: ARG001 - as `move`
    """Give the free places of these lanes."""
    held_up: dict[str, str] = {}
    lanes = yield from _found(addresses, held_up)
    decision = Decision({}, [], [], [], [], [], [], [], None, [])
    for lane in lanes:
        lane.add_to(decision)
    later = {one.address: max(one.found.again - one.now, 1) for one in lanes if one.found.again is not None}
    more = any(one.more or len(one.marks) == _MARKS for one in lanes)
    if not decision.given and not decision.dropped:
        return Moved(0, more=False, held_up=held_up, unseen=[], later=later)
    for some in (decision.takes, decision.mail, decision.holds, decision.given, decision.dropped, decision.numbers):
        some.sort(key=_first_three)
    (written,) = yield from ask_last(Ask("route_write", {"decision": decision}))
    yield from tell(*{name for name, _, state in written.rows if state == COUNTED})
    unseen = _unseen(decision, written.rows)
    return Moved(len(written.rows), more=more, held_up=held_up, unseen=unseen, later=later)


def _found(addresses: list[str], held_up: dict[str, str]) -> Operation[list[_Lane]]:
    """Read the first demands of each lane, and more of those where there are more free places."""
    answers = yield from look(*(ask for one in addresses for ask in _asks(one)))
    lanes: list[_Lane] = []
    for place, address in enumerate(addresses):
        try:
            lanes.append(_Lane(address, answers[place * _LOOKS : (place + 1) * _LOOKS]))
        except InternalError as error:
            held_up[address] = str(error)
    roomy = [one for one in lanes if one.more and one.found.free > _FIRST]
    if roomy:
        found = yield from look(*(one.all_free() for one in roomy))
        for lane, waiting in zip(roomy, found, strict=True):
            lane.judge(waiting, MOST_AT_ONCE)
    return lanes


def _asks(address: str) -> tuple[Ask, ...]:
    """In this order: see the head of the file."""
    limit = limit_of_lane(address)
    books = {"books": BOOKS, "lane": _key(address), "limits": CHOSEN, "terms": limit}
    return (
        Ask("lane_marks", {"address": address, "limit": _MARKS}),
        Ask("lane_books", {"address": address, **books}),
        Ask("lane_taken", {"address": address_held_at(address)}),
        Ask("lane_waiting", {"address": address, "limit": _FIRST}),
    )


def _unseen(decision: Decision, rows: Iterable[Sequence[Any]]) -> list[Unseen]:
    return [Unseen(decision.owners[name], one, state == OVER) for name, one, state in rows if state in (LATE, OVER)]


def _key(address: str) -> str:
    return sha256(address.encode()).hexdigest()


def _first_three(row: Row) -> Row:
    return row[:3]
