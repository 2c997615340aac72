"""A dispatch on an SQL database: what it reads, and the rows that it writes.

Messages are read before interests: whoever listened before a message was posted is then seen, also if both came while
the dispatch was under way. How the rows are written is each dialect's own operation (`route_write`), because it depends
on what locks what: PostgreSQL has locked the addresses, MySQL counts what it removes and begins anew if others were
faster, SQLite has one writer.
"""

from __future__ import annotations

from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from romancy.storage.pairing import Kept, Wanted, copy_id, number, pair, taken_at
from romancy.storage.routing import OUTSIDE, InterestKind, Owner, Spread
from romancy.storage.sqlkit.marks import Page, many, marks_of
from romancy.storage.sqlkit.statements import Ask, ask_last, look, tell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from romancy.storage.pairing import Pairing
    from romancy.storage.sqlkit.marks import Marks
    from romancy.storage.sqlkit.statements import Answer, Operation

__all__ = ["COUNTED", "LATE", "LETTER", "OVER", "Decision", "Moved", "Row", "Unseen", "move"]

COUNTED: Final = "counted"
"""The state of mail that its owner sees with the commit."""
LATE: Final = "late"
"""The state of mail whose owner another transaction holds: it has to be counted after the commit."""
OVER: Final = "over"
"""The state of mail whose owner has ended meanwhile."""
LETTER: Final = "letter"
"""The state of a delivery to a subscriber outside."""

_ADDRESS, _NUMBER, _NOW = 3, 9, 10
"""Columns of an interest."""
_PAGE: Final = 500
_WIDEST_PAGE: Final = 2000
_WIDER: Final = 4

_KEY: Final = itemgetter(0, 1, 2)
_PLACE: Final = attrgetter("at", "message_id", "address")

Row: TypeAlias = tuple[Any, ...]
NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


class Unseen(NamedTuple):
    """Mail that its owner does not see yet."""

    owner: Owner
    delivery_id: str
    over: bool
    """Whether the owner has ended meanwhile."""


class Moved(NamedTuple):
    """What a dispatch of some addresses has done."""

    delivered: int
    more: bool
    held_up: dict[str, str]
    unseen: list[Unseen]
    """Mail that is not counted."""
    later: Mapping[str, int] = NOTHING
    """As in `Dispatched`."""


def move(addresses: list[str], limit: int) -> Operation[Moved]:
    """Read messages, a page at a time, until a page has messages with receivers or none is left."""
    chosen = [(address,) for address in addresses]
    place: dict[str, object] = {"at": -1, "message_id": "", "after": ""}
    size = max(limit, _PAGE)
    pages: list[Page] = []
    while True:
        messages = Ask("route_messages", {**place, "addresses": chosen, "limit": size})
        interests = Ask("route_interests", {"addresses": chosen, "limit": size})
        found, interested = yield from look(messages, interests)
        kept = [
            Kept(address, one, Spread(spread), at, data, bool(compared))
            for address, one, spread, at, data, compared, _, _ in found.rows
        ]
        wanted = _wanted(interested)
        done = pair(kept, wanted, limit=limit)
        full = len(kept) >= size
        pages.append(Page(done, found.rows, interested.rows if len(wanted) < len(interested.rows) else ()))
        if done.finished or not full or many(pages):
            break
        end = max(kept, key=_PLACE)
        place = {"at": end.at, "message_id": end.message_id, "after": end.address}
        size = max(size, min(size * _WIDER, _WIDEST_PAGE))
    now = interested.rows[0][_NOW] if interested.rows else 0
    marks = None
    if done.left or done.unmet or len(pages) > 1:
        marks = marks_of(pages, max(kept, key=_PLACE).at if full else None, now)
    held_up = {address: why for page in pages for address, why in page.done.held_up.items()}
    if not done.finished and marks is None:
        return Moved(0, more=full, held_up=held_up, unseen=[])
    last = {row[_ADDRESS]: row[_NUMBER] or 0 for row in interested.rows}
    decision = _decision(done, kept, wanted, last, now, marks)
    (written,) = yield from ask_last(Ask("route_write", {"decision": decision}))
    yield from tell(*{name for name, _, state in written.rows if state == COUNTED})
    return Moved(
        len(written.rows),
        more=done.stopped or full or len(written.rows) < done.delivered,
        held_up=held_up,
        unseen=[
            Unseen(decision.owners[name], one, state == OVER)
            for name, one, state in written.rows
            if state in (LATE, OVER)
        ],
    )


def _wanted(interested: Answer) -> list[Wanted]:
    return [
        Wanted(Owner(name, life), one, address, InterestKind(kind), where, at, compared_to)
        for name, life, one, address, kind, where, at, compared_to, receives, _, _ in interested.rows
        if receives
    ]


class Decision(NamedTuple):
    """What `pair` has decided, as rows in the order in which they are locked."""

    owners: dict[str, Owner]
    """The instances that get mail, by id: of each, one life can get messages."""
    takes: list[Row]
    """Owner, life, interest, delivery id, number or time, address of the interest, message id, and since when the
    interest stands.
    """
    copies: list[Row]
    """Owner, life, interest, delivery id, number, address, message id: a row for each interest that listens."""
    mail: list[Row]
    """For inboxes: instance, delivery id, time, interest of a take, address, message id. Without a time, a message has
    that of its posting.
    """
    letters: list[Row]
    """For subscribers outside: subscriber, letter id, number, whether it is taken, address, message id."""
    given: list[tuple[str, str]]
    """Address and id of the messages that somebody gets."""
    dropped: list[tuple[str, str]]
    """Address and id of the messages that nobody gets."""
    numbers: list[Row]
    """Address, its new last number, and the one before."""
    marks: Marks | None
    holds: list[Row]
    """Interests that take the places of those in `takes`, or of earlier ones: owner, life, interest, address, kind,
    terms.
    """


def _decision(
    done: Pairing,
    kept: Iterable[Kept],
    wanted: Iterable[Wanted],
    last: Mapping[str, int],
    now: int,
    marks: Marks | None,
) -> Decision:
    numbers = number(done, last, now)
    posted = {(one.address, one.message_id): one.at for one in kept}
    since: dict[tuple[Owner, str], int] = {}
    listening: dict[tuple[Owner, str], list[str]] = {}
    for one in wanted:
        if one.kind is InterestKind.TAKE:
            since[one.owner, one.interest_id] = one.at
        else:
            listening.setdefault((one.owner, one.address), []).append(one.interest_id)
    rows = Decision({}, [], [], [], [], [], [], [], marks, [])
    for address, message_id, owner, interest_id in done.takes:
        registered = since[owner, interest_id]
        at, delivery_id = taken_at(posted[address, message_id], registered, now), message_id
        if owner.life == OUTSIDE:
            at = numbers.of[address, message_id]
            delivery_id = copy_id(address, at)
            rows.letters.append((owner.name, delivery_id, at, True, address, message_id))
        else:
            rows.owners[owner.name] = owner
            rows.mail.append((owner.name, delivery_id, at, interest_id, address, message_id))
        rows.takes.append((*owner, interest_id, delivery_id, at, address, message_id, registered))
    for address, message_id, owner in done.copies:
        at = numbers.of[address, message_id]
        delivery_id = copy_id(address, at)
        if owner.life == OUTSIDE:
            rows.letters.append((owner.name, delivery_id, at, False, address, message_id))
        else:
            rows.owners[owner.name] = owner
            rows.mail.append((owner.name, delivery_id, at, None, address, message_id))
        for interest_id in listening[owner, address]:
            rows.copies.append((*owner, interest_id, delivery_id, at, address, message_id))
    given = {(one.address, one.message_id) for moved in (done.takes, done.copies) for one in moved}
    rows.given.extend(sorted(given))
    rows.dropped.extend(sorted(set(done.finished) - given))
    rows.numbers.extend((address, at, last.get(address, 0)) for address, at in sorted(numbers.last.items()))
    for some in (rows.takes, rows.copies, rows.mail, rows.letters):
        some.sort(key=_KEY)
    return rows
