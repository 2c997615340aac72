"""A dispatch of lanes on an SQL database: gives the free places to the demands that stand first by their ranks.

A commit that asks for a place, or gives one back, posts a message at the lane. It says that something has changed, and
has no receiver. A dispatch reads these marks first, so what comes later has a mark of its own, and is found by a later
dispatch. Then it reads the number of the lane, and after that the places and the line: if another dispatch has given a
place by then, it has moved the number.

A demand that may be refused comes with a second message, which tells it so. Demands that stand in no line are read only
where such a message lies; all of them are decided at once, behind the line. A demand that has others cancelled comes
with a third message, for those. A holder that was told to stop is marked, and stays inside until it has ended.

The demands of instances with a fair key wait in lines of their own, at addresses behind that of the lane. Where there
are some, a dispatch reads them as a claim does (`romancy.storage.turns`), and notes where their turns stand: one note
for each lane, which is removed when it says nothing more.

Two dispatches of a lane never both succeed: PostgreSQL has locked the address, SQLite has one writer, and elsewhere the
last number of the address is moved, which the second one finds moved.
"""

from __future__ import annotations

from contextlib import closing
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from romancy.errors import InternalError
from romancy.storage.admission import (
    BOOKS,
    CANCEL,
    CHOSEN,
    MOST_AT_ONCE,
    Demand,
    Notes,
    admit,
    ahead_of,
    decode_notes,
    decode_terms,
    losers,
    outrun,
    replaced,
    told,
)
from romancy.storage.pairing import copy_id
from romancy.storage.routing import (
    OUTSIDE,
    InterestKind,
    Owner,
    Spread,
    address_held_at,
    limit_of_lane,
    line_in_lane,
    lines_of_lane,
    priority_of_line,
)
from romancy.storage.sqlkit.dispatches import COUNTED, LATE, OVER, Decision, Moved, Unseen
from romancy.storage.sqlkit.statements import Ask, ask_last, look, tell
from romancy.storage.turns import LAST, PLAIN, InLine, in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from romancy.storage.admission import Admission
    from romancy.storage.sqlkit.dispatches import Row
    from romancy.storage.sqlkit.statements import Answer, Operation
    from romancy.storage.turns import Look, Step

__all__ = ["give_places", "noted_until"]

_MARKS: Final = 500
_FIRST: Final = 8
"""How many demands of a lane are read at first: mostly one place is free."""
_LOOKS: Final = 4
_REMEMBERED: Final = 24 * 3_600_000_000
"""For how long a lane knows where its turns stand, in microseconds."""


class _Lane:
    """What a dispatch has found at a lane, and what it makes of it."""

    def __init__(self, address: str, answers: Sequence[Answer]) -> None:
        marks, books, taken, waiting = answers
        self.address = address
        self.marks: list[str] = [one for one, spread in marks.rows if spread == Spread.EVERY]
        self.refusals: list[str] = [one for one, spread in marks.rows if spread == Spread.ONE]
        self.stops: list[str] = [one for one, spread in marks.rows if spread == Spread.CHANNEL]
        self.refused: list[Demand] = []
        self.stopped: list[Demand] = []
        """The holders that are told to stop."""
        self.unseen = len(marks.rows) == _MARKS
        """Whether there may be marks, or demands that stand in no line, that were not read."""
        ((self.taken, self.heavy),) = taken.rows
        ((number, noted, chosen, self._first_line, self._last_line, self.now),) = books.rows
        self.last: int = number or 0
        self.notes = decode_notes(noted)
        self.chosen = None if chosen is None else decode_terms(chosen)
        self.turns = self.notes.turns
        self._first = waiting
        if not self.heavy:
            self.judge(waiting, _FIRST)

    def weigh(self, heavy: Answer) -> None:
        """Count the places that count as several."""
        self.taken += sum(decode_terms(terms).units - 1 for (terms,) in heavy.rows)
        self.judge(self._first, _FIRST)

    def judge(self, waiting: Answer, most: int) -> None:
        """Decide about these demands, of which so many were asked for."""
        self.line = self.plain = _demands(waiting)
        self.is_cut = len(self.line) == most
        self._judge_line(most)

    def judge_in_turn(self, steps: Sequence[Step], demands: Mapping[str, Demand], most: int) -> None:
        """Decide about so many demands, of all lines, in the order of the turns. The others of the lane follow."""
        chosen = [demands[step.one.instance_id] for step in steps]
        known = {_id_of(one) for one in chosen}
        self.line = chosen + [one for one in self.plain if _id_of(one) not in known]
        self._judge_line(most)
        given = {_id_of(one) for one in self.found.admitted}
        self.turns = self.notes.turns | {
            step.priority: (step.turn.line, step.turn.taken) for step in steps if step.one.instance_id in given
        }

    def _judge_line(self, most: int) -> None:
        self._admit(self.line)
        self.more = len(self.found.admitted) >= most and (self.found.free > most or most == MOST_AT_ONCE)
        if self.refusals:
            self.refused = []
            while gone := outrun(self.line, len(self.found.admitted)):
                self.refused += gone
                self.line = [one for one in self.line if one not in gone]
                self._admit(self.line)
            self.refused += replaced(self.line[len(self.found.admitted) :])

    def judge_longer(self, waiting: Answer) -> None:
        """Decide about more of the line."""
        self.judge(waiting, MOST_AT_ONCE)

    @property
    def has_lines(self) -> bool:
        """Whether demands may wait in lines of fair keys."""
        return self._first_line is not None

    def priorities(self) -> Operation[list[int]]:
        """The priorities of those that wait, as far as the line that has no key was read."""
        first, last = (priority_of_line(self.address, one) for one in (self._first_line, self._last_line))
        found = {decode_terms(one.terms).priority for one in self.plain} | {first, last}
        between = range(last + 1, first)
        if between:
            looks = yield from look(*(_lines(self._bounds(one, PLAIN, LAST), 1) for one in between))
            found.update(one for one, answer in zip(between, looks, strict=True) if answer.rows)
        return sorted(found)

    def wait_in_turn(self, asked: Look) -> Operation[list[Demand]]:
        """Read the demands for which the order of the turns asks."""
        if asked.low:
            (answer,) = yield from look(_lines(self._bounds(asked.priority, asked.low, asked.below), asked.limit))
            return _demands(answer)
        if self.is_cut and len(self.plain) < asked.limit:
            (answer,) = yield from look(_waiting(self.address, InterestKind.TAKE, asked.limit))
            self.plain = _demands(answer)
            self.is_cut = len(self.plain) == asked.limit
        return [one for one in self.plain if decode_terms(one.terms).priority == asked.priority][: asked.limit]

    @property
    def refusable(self) -> int:
        """How many of the line without a key may make room for a newer one."""
        return sum(decode_terms(one.terms).full != "" for one in self.plain) if self.refusals else 0

    def in_line(self, demand: Demand) -> InLine:
        """The demand as one that waits for its turn."""
        line = demand.address[len(self.address) + 2 :]
        return InLine("", line, _id_of(demand), demand.at + ahead_of(demand.terms))

    def _bounds(self, priority: int, low: str, below: str) -> tuple[str, str]:
        head = line_in_lane(self.address, priority, _ANY)[:-1]
        return head + low, head + below

    def judge_hasty(self, hasty: Answer) -> None:
        """Decide about those that do not wait, after the line."""
        demands = _demands(hasty)
        self._admit([*self.line, *demands])
        given = {(one.owner, one.interest_id) for one in self.found.admitted}
        self.unseen = self.unseen or len(demands) == MOST_AT_ONCE
        self.refused += [one for one in demands if (one.owner, one.interest_id) not in given]

    def judge_holders(self, holders: Answer) -> None:
        """Decide who of these has to stop for the first in line."""
        self.stopped = losers(self._left(), _demands(holders), self.found.lacking)

    def _left(self) -> list[Demand]:
        """The demands of the line that wait on."""
        gone = {(one.owner, one.interest_id) for one in (*self.found.admitted, *self.refused)}
        return [one for one in self.line if (one.owner, one.interest_id) not in gone]

    def holders(self) -> Ask:
        """Asks for the demands that have places, the first ones first."""
        return _waiting(address_held_at(self.address), InterestKind.MEMBER, MOST_AT_ONCE)

    @property
    def may_stop_others(self) -> bool:
        """Whether somebody in line may have others cancelled."""
        return bool(self.stops and self.marks) and any(decode_terms(one.terms).full == CANCEL for one in self._left())

    def _admit(self, demands: Sequence[Demand]) -> None:
        found = admit(demands, self.taken, self.notes.begins, self.now, self.chosen)
        # A mark is what goes to the inboxes.
        self.found: Admission = found if self.marks else found._replace(admitted=())

    def hasty(self) -> Ask:
        """Asks for the demands that stand in no line."""
        return _waiting(self.address, InterestKind.COPY, MOST_AT_ONCE)

    @property
    def is_longer(self) -> bool:
        """Whether more demands of the line have to be read: for all free places, or to refuse all but the newest."""
        return (self.more and self.found.free > _FIRST) or (bool(self.refusals) and self.is_cut)

    def longer(self) -> Ask:
        """Asks for more demands of the line."""
        return _waiting(self.address, InterestKind.TAKE, MOST_AT_ONCE if self.refusals else self.found.free)

    def add_to(self, decision: Decision) -> None:
        """Write down who gets a place here, and which marks are gone."""
        given = self.found.admitted
        more = self.more or self.unseen
        kept = self.found.again is not None or more  # a sweep finds the mark if this process dies
        number = self.last
        held = address_held_at(self.address)
        for some, marks in ((given, self.marks), (self.refused, self.refusals), (self.stopped, self.stops)):
            for demand in some:
                number = max(number + 1, self.now)
                self._tell(decision, demand, marks[-1], number)
            if some:
                decision.given.append((self.address, marks[-1]))
        has = [(one, one.terms) for one in given] + [(one, told(one.terms)) for one in self.stopped]
        decision.holds.extend((*one.owner, one.interest_id, held, _HAS, terms) for one, terms in has)
        if number != self.last:
            decision.numbers.append((self.address, number, self.last))
        if given and (self.found.begins or self.turns != self.notes.turns):
            until = max(self.found.until, self.now + _REMEMBERED) if self.turns else self.found.until
            books = Notes(self.found.begins, self.turns).encoded()
            decision.holds.append((BOOKS, OUTSIDE, _key(self.address), noted_until(until), _HAS, books))
        decision.dropped.extend((self.address, one) for one in self.marks[kept : -1 if given else None])
        unused = self.refusals[self.unseen : -1 if self.refused else None] if self.marks else []
        decision.dropped.extend((self.address, one) for one in unused)
        unused = self.stops[: -1 if self.may_stop_others else None] if self.marks else []  # the last is for later
        decision.dropped.extend((self.address, one) for one in unused)

    def _tell(self, decision: Decision, demand: Demand, mark: str, number: int) -> None:
        """Give a message to an instance, in the stead of its interest at this address."""
        delivery_id = copy_id(self.address, number)
        owner, one = demand.owner, demand.interest_id
        decision.owners[owner.name] = owner
        decision.takes.append((*owner, one, delivery_id, self.now, demand.address, mark, demand.at))
        decision.mail.append((owner.name, delivery_id, self.now, one, self.address, mark))


_HAS: Final = InterestKind.MEMBER.value
_ANY: Final = "-"


def give_places(addresses: list[str], limit: int) -> Operation[Moved]:  # noqa: ARG001 - as `move`
    """Give the free places of these lanes."""
    held_up: dict[str, str] = {}
    lanes = yield from _found(addresses, held_up)
    decision = Decision({}, [], [], [], [], [], [], [], None, [])
    for lane in lanes:
        lane.add_to(decision)
    later = {one.address: max(one.found.again - one.now, 1) for one in lanes if one.found.again is not None}
    more = any(one.more or one.unseen for one in lanes)
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
    yield from _weighed(lanes, held_up)
    yield from _ask_more([one for one in lanes if one.is_longer], _Lane.longer, _Lane.judge_longer)
    for lane in [one for one in lanes if one.has_lines]:
        try:
            yield from _take_turns(lane)
        except InternalError as error:
            held_up[lane.address] = str(error)
            lanes.remove(lane)
    yield from _ask_more([one for one in lanes if one.refusals and one.marks], _Lane.hasty, _Lane.judge_hasty)
    yield from _ask_more([one for one in lanes if one.may_stop_others], _Lane.holders, _Lane.judge_holders)
    return lanes


def _take_turns(lane: _Lane) -> Operation[None]:
    """Read the first demands of a lane in the order of the turns: one, and more if more places are free."""
    priorities = yield from lane.priorities()
    yield from _judge_in_turn(lane, priorities, 1)
    if lane.found.free > 1:
        yield from _judge_in_turn(lane, priorities, min(lane.found.free, MOST_AT_ONCE))


def _judge_in_turn(lane: _Lane, priorities: Sequence[int], most: int) -> Operation[None]:
    """Decide about so many places. More are read: those that may be refused, and the first one that waits on."""
    demands: dict[str, Demand] = {}
    with closing(in_turn(priorities, most + lane.refusable + 1, lane.notes.turns)) as choosing:
        try:
            asked = next(choosing)
            while True:
                found = yield from lane.wait_in_turn(asked)
                demands.update((_id_of(one), one) for one in found)
                asked = choosing.send([lane.in_line(one) for one in found])
        except StopIteration as end:
            lane.judge_in_turn(end.value, demands, most)


def _weighed(lanes: list[_Lane], held_up: dict[str, str]) -> Operation[None]:
    """Read what places count that count as several. A lane whose terms cannot be read is left out."""
    heavy = [one for one in lanes if one.heavy]
    if not heavy:
        return
    found = yield from look(*(Ask("lane_heavy", {"address": address_held_at(one.address)}) for one in heavy))
    for lane, places in zip(heavy, found, strict=True):
        try:
            lane.weigh(places)
        except InternalError as error:
            held_up[lane.address] = str(error)
            lanes.remove(lane)


def _ask_more(
    lanes: list[_Lane], asks: Callable[[_Lane], Ask], hears: Callable[[_Lane, Answer], None]
) -> Operation[None]:
    if lanes:
        found = yield from look(*map(asks, lanes))
        for lane, answer in zip(lanes, found, strict=True):
            hears(lane, answer)


def _asks(address: str) -> tuple[Ask, ...]:
    """In this order: see the head of the file."""
    limit = limit_of_lane(address)
    low, below = lines_of_lane(address)
    books = {"books": BOOKS, "lane": _key(address), "limits": CHOSEN, "terms": limit, "low": low, "below": below}
    return (
        Ask("lane_marks", {"address": address, "limit": _MARKS}),
        Ask("lane_books", {"address": address, **books}),
        Ask("lane_taken", {"address": address_held_at(address)}),
        _waiting(address, InterestKind.TAKE, _FIRST),
    )


def _waiting(address: str, kind: InterestKind, limit: int) -> Ask:
    return Ask("lane_waiting", {"address": address, "kind": kind.value, "limit": limit})


def _lines(bounds: tuple[str, str], limit: int) -> Ask:
    low, below = bounds
    return Ask("lane_lines", {"low": low, "below": below, "limit": limit})


def _demands(waiting: Answer) -> list[Demand]:
    return [Demand(Owner(name, life), one, terms, at, where) for name, life, one, terms, at, where in waiting.rows]


def _id_of(demand: Demand) -> str:
    return f"{demand.owner.name}\0{demand.owner.life}\0{demand.interest_id}"


def _unseen(decision: Decision, rows: Iterable[Sequence[Any]]) -> list[Unseen]:
    return [Unseen(decision.owners[name], one, state == OVER) for name, one, state in rows if state in (LATE, OVER)]


def noted_until(at: int) -> str:
    """The address of a note that says nothing more from this time on: they are found in this order."""
    return f"b/{max(at, 0):020}"


def _key(address: str) -> str:
    return sha256(address.encode()).hexdigest()


def _first_three(row: Row) -> Row:
    return row[:3]
