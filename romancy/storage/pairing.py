"""Decides which messages at some addresses go to which receivers: the same on every database. Pure.

A store reads the messages and the interests at the addresses that it has locked, lets `pair` decide, and writes the
decision. Ids for copies come from `number`, so that they sort in the same order in every inbox.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.errors import InternalError
from romancy.storage.query import Searched
from romancy.storage.routing import OUTSIDE, InterestKind, Owner, Spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Copy", "Kept", "Numbers", "Pairing", "Take", "Wanted", "copy_id", "number", "pair", "taken_at"]


class Kept(NamedTuple):
    """A message at an address, without its body."""

    address: str
    message_id: str
    spread: Spread
    at: int
    """When it was posted."""
    projection: bytes | None = None
    """Needed only if an interest at this address has a `where`."""
    compared: bool = False
    """Whether it fits no interest at its address whose `compared_to` is not before `at`."""


class Wanted(NamedTuple):
    """An interest of an owner who can receive messages: an instance of that life that has not ended, or OUTSIDE."""

    owner: Owner
    interest_id: str
    address: str
    kind: InterestKind
    where: bytes | None
    at: int
    """When it was registered."""
    compared_to: int = -1
    """The time of the last message with which it was compared, if those up to it are marked."""


class Take(NamedTuple):
    """The message goes to this owner alone, and the interest ends."""

    address: str
    message_id: str
    owner: Owner
    interest_id: str


class Copy(NamedTuple):
    """This owner gets a copy of the message."""

    address: str
    message_id: str
    owner: Owner


@dataclass(slots=True)
class Pairing:
    """The writes of a dispatch."""

    takes: list[Take] = field(default_factory=list[Take])
    copies: list[Copy] = field(default_factory=list[Copy])
    finished: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Address and id of each message that is removed there: taken, copied, or dropped for lack of listeners."""
    stopped: bool = False
    """Whether the limit on deliveries was reached and some messages were not considered."""
    left: list[Kept] = field(default_factory=list[Kept])
    """Messages that fit none of the conditions at their address."""
    unmet: list[Wanted] = field(default_factory=list[Wanted])
    """Takers with conditions for whom there was no message."""
    held_up: dict[str, str] = field(default_factory=dict[str, str])
    """Addresses where an interest cannot be read, and why. Messages that it may be for stay there."""

    @property
    def delivered(self) -> int:
        """The number of deliveries to inboxes and letter boxes."""
        return len(self.takes) + len(self.copies)


class _Address:
    """The interests in one address, in the order in which they are served."""

    def __init__(self) -> None:
        self.takers: dict[tuple[Owner, str], Wanted] = {}
        self.choosy = 0
        """How many of the takers have conditions."""
        self.listeners: list[Wanted] = []

    def add(self, wanted: Wanted) -> None:
        if wanted.kind is InterestKind.TAKE:
            self.takers[wanted.owner, wanted.interest_id] = wanted
            self.choosy += wanted.where is not None
        elif wanted.kind is InterestKind.COPY:
            self.listeners.append(wanted)

    def unmet(self) -> list[Wanted]:
        """The takers with conditions that are left."""
        return [taker for taker in self.takers.values() if taker.where is not None] if self.choosy else []


def pair(messages: Iterable[Kept], interests: Iterable[Wanted], *, limit: int) -> Pairing:
    """Decide in the order of posting: a message for one receiver goes to the fitting taker that has waited longest.

    An owner gets one copy of a message at an address, however many of its interests fit. Messages that it takes at
    another address do not count, because another dispatch may handle that address. At most `limit` deliveries are made,
    unless a single message has more. A message is compared with a taker once: what their marks tell is believed.

    An interest that cannot be read may want any message. So until a process that can read it decides, owners that began
    to wait later take no message at its address, and none is copied there.
    """
    served: defaultdict[str, _Address] = defaultdict(_Address)
    for wanted in sorted(interests, key=lambda one: (one.at, one.owner, one.interest_id)):
        served[wanted.address].add(wanted)
    done = Pairing()
    spread: list[tuple[Kept, Searched]] = []
    for message in sorted(messages, key=attrgetter("at", "message_id", "address")):
        here, data = served[message.address], Searched(message.projection)
        if message.spread is Spread.EVERY or (message.spread is Spread.CHANNEL and here.listeners):
            spread.append((message, data))
        elif len(done.takes) < limit:
            _give(message, data, here, done)
        else:
            done.stopped = done.stopped or bool(here.takers)
    for message, data in spread:
        if message.address in done.held_up:
            continue  # behind another one
        try:
            owners = {one.owner: None for one in served[message.address].listeners if data.fits(one.where)}
        except InternalError as error:
            done.held_up[message.address] = str(error)
            continue
        copies = [Copy(message.address, message.message_id, owner) for owner in owners]
        if done.delivered and done.delivered + len(copies) > limit:
            done.stopped = True
            break
        done.copies += copies
        done.finished.append((message.address, message.message_id))
    done.unmet = [taker for here in served.values() for taker in here.unmet()]
    return done


def _give(message: Kept, data: Searched, here: _Address, done: Pairing) -> None:
    for key, taker in here.takers.items():
        if message.compared and message.at <= taker.compared_to:
            continue
        try:
            fits = data.fits(taker.where)
        except InternalError as error:
            done.held_up[message.address] = str(error)
            return
        if fits:
            del here.takers[key]
            here.choosy -= taker.where is not None
            done.takes.append(Take(message.address, message.message_id, taker.owner, taker.interest_id))
            done.finished.append((message.address, message.message_id))
            return
    if here.choosy and not message.compared:
        done.left.append(message)


class Numbers(NamedTuple):
    """The numbers of copies and letters. A number is also the time of the delivery."""

    of: dict[tuple[str, str], int]
    """By address and message id."""
    last: dict[str, int]
    """The new last number of each address that has used one."""


def number(done: Pairing, last: Mapping[str, int], now: int) -> Numbers:
    """Number the messages of each address from its last number on, in the order of `pair`, and not before `now`.

    So the copies from one address have ascending times everywhere, even if the clock of the database went back.
    """
    of: dict[tuple[str, str], int] = {}
    latest: dict[str, int] = {}
    letters = ((take.address, take.message_id) for take in done.takes if take.owner.life == OUTSIDE)
    for key in [*letters, *((copy.address, copy.message_id) for copy in done.copies)]:
        if key not in of:
            address = key[0]
            of[key] = latest[address] = max(latest.get(address, last.get(address, 0)) + 1, now)
    return Numbers(of, latest)


def taken_at(posted: int, wanted: int, now: int) -> int | None:
    """The time in the inbox of a message that was posted, and is taken for an interest of these times. None: `posted`.

    What was kept before somebody asked for it comes when it is handed out. So the time of a log moves on while it
    receives a backlog, and each of its waits has a time limit of its own.
    """
    return None if posted >= wanted else max(now, posted)


_SOURCE: Final = 16


def copy_id(address: str, number: int) -> str:
    """The delivery id, or letter id, of the copy with this number. It ends in 16 characters that name the address.

    The ids of one address sort in the order of their numbers, as those of one sender do.
    """
    return f"{number:019d}-{sha256(address.encode()).hexdigest()[:_SOURCE]}"
