"""A dispatch on an SQL database: what it reads, and the rows that it writes.

Messages are read before interests: whoever listened before a message was posted is then seen, also if both came while
the dispatch was under way. How the rows are written is each dialect's own operation (`route_write`), because it depends
on what locks what: PostgreSQL has locked the addresses, MySQL counts what it removes and begins anew if others were
faster, SQLite has one writer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from romancy.storage.pairing import Kept, Wanted, copy_id, number, pair
from romancy.storage.routing import OUTSIDE, InterestKind, Owner, Spread
from romancy.storage.sqlkit.statements import Ask, ask_last, look, tell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from romancy.storage.pairing import Copy, Pairing, Take
    from romancy.storage.sqlkit.statements import Answer, Operation

__all__ = ["COUNTED", "LATE", "LETTER", "OVER", "Decision", "Moved", "Unseen", "move"]

COUNTED: Final = "counted"
"""The state of mail that its owner sees with the commit."""
LATE: Final = "late"
"""The state of mail whose owner another transaction holds: it has to be counted after the commit."""
OVER: Final = "over"
"""The state of mail whose owner has ended meanwhile."""
LETTER: Final = "letter"
"""The state of a delivery to a subscriber outside."""

_ADDRESS, _NUMBER, _NOW = 3, 7, 8
"""Columns of an interest."""
_PAGE: Final = 500
_WIDEST_PAGE: Final = 2000
_WIDER: Final = 4

Row: TypeAlias = tuple[Any, ...]


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


def move(addresses: list[str], limit: int) -> Operation[Moved]:
    """Read messages, a page at a time, until a page has messages with receivers or none is left."""
    chosen = [(address,) for address in addresses]
    place: dict[str, object] = {"at": -1, "message_id": "", "after": ""}
    size = max(limit, _PAGE)
    while True:
        messages = Ask("route_messages", {**place, "addresses": chosen, "limit": size})
        interests = Ask("route_interests", {"addresses": chosen, "limit": size})
        found, interested = yield from look(messages, interests)
        kept = sorted((_kept(row) for row in found.rows), key=_order)
        wanted = _wanted(interested)
        done = pair(kept, wanted, limit=limit)
        full = len(kept) >= size
        if done.finished or not full:
            break
        end = kept[-1]
        place = {"at": end.at, "message_id": end.message_id, "after": end.address}
        size = max(size, min(size * _WIDER, _WIDEST_PAGE))
    if not done.finished:
        return Moved(0, more=False, held_up=done.held_up, unseen=[])
    last = {row[_ADDRESS]: row[_NUMBER] or 0 for row in interested.rows}
    decision = Decision(done, wanted, last, interested.rows[0][_NOW] if last else 0)
    (written,) = yield from ask_last(Ask("route_write", {"decision": decision}))
    yield from tell(*{name for name, _, state in written.rows if state == COUNTED})
    return Moved(
        len(written.rows),
        more=done.stopped or full or len(written.rows) < done.delivered,
        held_up=done.held_up,
        unseen=[
            Unseen(decision.owners[name], one, state == OVER)
            for name, one, state in written.rows
            if state in (LATE, OVER)
        ],
    )


def _kept(row: Sequence[Any]) -> Kept:
    address, message_id, spread, at, projection = row
    return Kept(address, message_id, Spread(spread), at, projection)


def _order(message: Kept) -> tuple[int, str, str]:
    return message.at, message.message_id, message.address


def _wanted(interested: Answer) -> list[Wanted]:
    return [
        Wanted(Owner(name, life), one, address, InterestKind(kind), where, at)
        for name, life, one, address, kind, where, at, _, _ in interested.rows
    ]


class _Delivery(NamedTuple):
    """A message for an owner. A message that an instance takes has no number, and keeps its id."""

    owner: Owner
    delivery_id: str
    number: int | None
    interest_id: str | None
    """The interest that ends. None: the message is copied."""
    address: str
    message_id: str


class Decision:
    """What `pair` has decided, as rows in the order in which they are locked."""

    def __init__(self, done: Pairing, wanted: Sequence[Wanted], last: Mapping[str, int], now: int) -> None:
        self._done = done
        self._wanted = wanted
        self._last = last
        self._numbers = number(done, last, now)
        takes = [self._delivery(one, one.interest_id) for one in done.takes]
        copies = [self._delivery(one, None) for one in done.copies]
        self._deliveries = sorted([*takes, *copies], key=lambda one: (one.owner, one.delivery_id))
        self.owners: Mapping[str, Owner] = {one.owner.name: one.owner for one in self._deliveries}
        """Who gets something, by name. Of an instance, one life can get messages."""

    def _delivery(self, one: Take | Copy, interest_id: str | None) -> _Delivery:
        at = self._numbers.of.get((one.address, one.message_id))
        delivery_id = one.message_id if at is None else copy_id(one.address, at)
        return _Delivery(one.owner, delivery_id, at, interest_id, one.address, one.message_id)

    @property
    def takes(self) -> list[Row]:
        """Owner, life, interest, delivery id, number, address, message id, and since when the interest stands."""
        since = {(one.owner, one.interest_id): one.at for one in self._wanted}
        return sorted(
            (*owner, interest_id, delivery_id, at, address, message_id, since[owner, interest_id])
            for owner, delivery_id, at, interest_id, address, message_id in self._deliveries
            if interest_id is not None
        )

    @property
    def copies(self) -> list[Row]:
        """Owner, life, interest, delivery id, number, address, message id: a row for each interest that listens."""
        listening: dict[tuple[Owner, str], list[str]] = {}
        for one in self._wanted:
            if one.kind is InterestKind.COPY:
                listening.setdefault((one.owner, one.address), []).append(one.interest_id)
        return [
            (*owner, one, delivery_id, at, address, message_id)
            for owner, delivery_id, at, interest_id, address, message_id in self._deliveries
            if interest_id is None
            for one in listening[owner, address]
        ]

    @property
    def mail(self) -> list[Row]:
        """For inboxes: instance, delivery id, number of a copy, interest of a take, address, message id."""
        return [(one.owner.name, *one[1:]) for one in self._deliveries if one.owner.life != OUTSIDE]

    @property
    def letters(self) -> list[Row]:
        """For subscribers outside: subscriber, letter id, number, whether it is taken, address, message id."""
        return [
            (owner.name, letter_id, at, interest_id is not None, address, message_id)
            for owner, letter_id, at, interest_id, address, message_id in self._deliveries
            if owner.life == OUTSIDE
        ]

    @property
    def given(self) -> list[tuple[str, str]]:
        """Address and id of the messages that somebody gets."""
        return sorted({(one.address, one.message_id) for one in self._deliveries})

    @property
    def dropped(self) -> list[tuple[str, str]]:
        """Address and id of the messages that nobody gets."""
        return sorted(set(self._done.finished).difference(self.given))

    @property
    def numbers(self) -> list[Row]:
        """Address, its new last number, and the one before."""
        return [(address, latest, self._last.get(address, 0)) for address, latest in sorted(self._numbers.last.items())]
