"""Routing: messages that are posted to addresses instead of being sent to one instance.

A message is *posted* to one or more addresses in a transaction of its sender, which locks nothing. A *dispatch* then
moves it to the inboxes of the interested instances, in a transaction of its own. Both sides dispatch after their own
commit, the sender after posting and the receiver after registering its interest, and two dispatches of one address
never overlap. So the later of the two sees both, and no message misses a receiver. A sweep makes up for a dispatch that
a crash has prevented.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from typing import Final, NamedTuple

from msgspec import Struct

from romancy._start_options import HIGHEST

__all__ = [
    "FAILED",
    "MAX_ADDRESS_BYTES",
    "NOT_ROUTED",
    "OUTSIDE",
    "QUESTIONS",
    "Dispatched",
    "Interest",
    "InterestKind",
    "KeptMessage",
    "Letter",
    "Owner",
    "Place",
    "Posting",
    "Spread",
    "address_held_at",
    "address_of_channel",
    "address_of_instance",
    "address_of_key",
    "address_of_lane",
    "address_of_questions",
    "address_of_type",
    "instance_of_address",
    "is_failed",
    "is_lane",
    "is_mark",
    "is_question",
    "key_of_lane",
    "lane_of",
    "lanes_of_limit",
    "limit_of_lane",
    "line_in_lane",
    "lines_of_lane",
    "priority_of_line",
    "whole_lane",
]

OUTSIDE: Final = 0
"""The life of an owner that is a subscriber outside of workflows, known by its name, and no instance."""

MAX_ADDRESS_BYTES: Final = 640
"""Upper bound on an address. It has room for a type and a key of 255 bytes each."""
_MAX_KEY_BYTES: Final = 255
QUESTIONS: Final = "q/", "q0"
"""Between which addresses all questions are."""
FAILED: Final = "~f"
"""The address of the instances that have failed. It is behind `NOT_ROUTED`."""
NOT_ROUTED: Final = "~"
"""At addresses behind this one no message is posted, and sweeps leave the interests of ended instances there."""
_LINE: Final = "\x1f"
"""In the address of a line of a lane: behind the lane. No lane has this character."""
_HIGHEST_LINE: Final = "A"
"""Says the highest priority in the address of a line, so that its lines come first."""


def address_of_type(type: str) -> str:
    """The address of every event of a type."""
    return f"e/{type}"


def address_of_key(type: str, key: str) -> str:
    """The address at which an event waits for a wait with its key. The key may be any text."""
    raw = key.encode()
    if len(raw) > _MAX_KEY_BYTES or b"\0" in raw:
        return f"h/{len(type)}/{type}/{sha256(raw).hexdigest()}"
    return f"k/{len(type)}/{type}/{key}"


def address_of_channel(name: str) -> str:
    """The address of a channel."""
    return f"c/{name}"


def address_of_instance(instance_id: str) -> str:
    """The address at which a message is kept that was sent to an instance after its end. Nobody is interested in it."""
    return f"i/{instance_id}"


def address_of_questions(to: str | None) -> str:
    """The address at which those who ask this person or group are interested. No message is posted there."""
    return f"q/{to or ''}"


def is_question(address: str) -> bool:
    """Whether those who are interested at this address have asked people something."""
    return address.startswith("q/")


def is_failed(address: str) -> bool:
    """Whether those who are interested at this address have failed."""
    return address == FAILED


def address_of_lane(limit: str, key: str) -> str:
    """The address at which the demands for places under a limit wait, of those with this key."""
    raw = key.encode()
    if len(raw) > _MAX_KEY_BYTES or b"\0" in raw or _LINE in key:
        return f"l/h/{len(limit)}/{limit}/{sha256(raw).hexdigest()}"
    return f"l/k/{len(limit)}/{limit}/{key}"


def address_held_at(lane: str) -> str:
    """The address at which those who have places of a lane are interested. No message is posted there."""
    return f"p{whole_lane(lane)[1:]}"


def line_in_lane(lane: str, priority: int, line: str) -> str:
    """The address at which the demands of one line of a lane wait, of those with this priority."""
    return f"{lane}{_LINE}{chr(ord(_HIGHEST_LINE) + HIGHEST - priority)}{line}" if line else lane


def lines_of_lane(lane: str) -> tuple[str, str]:
    """Between which addresses all lines of a lane are. The lane itself is that of those that stand in no other."""
    return lane + _LINE, lane + chr(ord(_LINE) + 1)


def priority_of_line(lane: str, address: str) -> int:
    """The priority of those who wait in a line of a lane."""
    return HIGHEST + ord(_HIGHEST_LINE) - ord(address[len(lane) + 1])


def whole_lane(address: str) -> str:
    """The lane that has this line, or that is this address."""
    return address.partition(_LINE)[0]


def lane_of(address: str) -> str | None:
    """The lane whose places those who are interested at this address have. None: it is no such address."""
    return f"l{address[1:]}" if address.startswith("p/") else None


def lanes_of_limit(limit: str | None) -> list[tuple[str, str]]:
    """Between which addresses the lanes of a limit are, and then those of their places. None: of all limits."""
    if limit is None:
        return [("l/", "l0"), ("p/", "p0")]
    heads = [f"{side}/{form}/{len(limit)}/{limit}" for side in ("l", "p") for form in ("h", "k")]
    return [(f"{head}/", f"{head}0") for head in heads]  # "0" comes behind "/", and behind the name there is no "0"


def is_lane(address: str) -> bool:
    """Whether places are given at this address, and no messages."""
    return address.startswith("l/")


def limit_of_lane(address: str) -> str:
    """The limit of a lane."""
    _, _, size, rest = address.split("/", 3)
    return rest[: int(size)]


def key_of_lane(address: str) -> str:
    """The key of a lane, or its hash."""
    _, _, size, rest = whole_lane(address).split("/", 3)
    return rest[int(size) + 1 :]


def instance_of_address(address: str) -> str | None:
    """The instance to which the messages at this address were sent after its end. None for other addresses."""
    return address[2:] if address.startswith("i/") else None


class Spread(StrEnum):
    """The rule by which a message at an address finds its receivers."""

    ONE = "one"
    """To the longest registered TAKE interest that it fits. The message is kept until there is one."""
    EVERY = "every"
    """A copy to every COPY interest that it fits at the time of the dispatch. Then the message is removed."""
    CHANNEL = "channel"
    """As EVERY if the address has COPY interests at that time, else as ONE."""


class Place(NamedTuple):
    """An address that a message is posted to."""

    address: str
    spread: Spread


class Posting(Struct, frozen=True, kw_only=True, gc=False):
    """A message posted to addresses. The ids of one sender sort in the order of sending, as in a `Delivery`.

    At most one of its places has another spread than EVERY. An owner that takes it there and listens at another place
    gets it from both, whether one dispatch routes it or two.
    """

    message_id: str
    places: tuple[Place, ...]
    body: bytes
    projection: bytes | None = None
    """The encoded data that `Interest.where` is held against (`romancy.storage.query`). None: it fits no `where`."""
    dedupe: str | None = None
    """A key that identifies the same message when it is posted again, even after it was dispatched.

    It belongs to the `topic`: the same key at another address is of another message.
    """

    @property
    def topic(self) -> str:
        """The address that remembers `dedupe`: the last of the places."""
        return self.places[-1].address


def is_mark(posting: Posting) -> bool:
    """Whether this says only that something has changed at a lane."""
    if len(posting.places) != 1 or posting.dedupe is not None:
        return False
    (place,) = posting.places
    return place.spread is Spread.EVERY and is_lane(place.address)


class InterestKind(StrEnum):
    """The kinds of interest that an owner can have in the messages at an address."""

    TAKE = "take"
    """One message, the oldest that fits. The dispatch that gives it also removes the interest."""
    COPY = "copy"
    """A copy of each message that fits, until the interest is removed. One copy, however many interests of an owner at
    the address fit.
    """
    MEMBER = "member"
    """No message: it only marks the address as one whose messages are taken, not copied (a competing channel)."""


class Interest(Struct, frozen=True, kw_only=True, gc=False):
    """An owner's interest at an address. `interest_id` is unique for its owner; registering it again replaces it.

    An interest that is replaced by one of the same address and kind keeps its place in the queue there. `where` is a
    JSON object of conditions, as `romancy.storage.query.encode_where` writes it. None: everything fits.
    """

    interest_id: str
    address: str
    kind: InterestKind
    where: bytes | None = None


class Owner(NamedTuple):
    """The owner of an interest: one life of an instance or, with the life OUTSIDE, a named subscriber outside."""

    name: str
    life: int


class Dispatched(Struct, frozen=True, kw_only=True):
    """The result of a dispatch. `more`: it met its limit; dispatch again."""

    delivered: int
    more: bool = False
    held_up: dict[str, str] = {}
    """Addresses where an interest cannot be read here, and why. Messages that it may be for stay there."""
    later: dict[str, int] = {}
    """Lanes that have to be dispatched again after so many microseconds: a rate gives the next place then."""


class Letter(Struct, frozen=True, kw_only=True, gc=False):
    """A message that was dispatched to an outside subscriber and is not acknowledged.

    `letter_id` and `at` are numbered for each address (`romancy.storage.pairing.number`), also if it was taken.
    """

    letter_id: str
    address: str
    body: bytes
    at: int


class KeptMessage(Struct, frozen=True, kw_only=True, gc=False):
    """A posted message that no receiver has got."""

    message_id: str
    address: str
    spread: Spread
    body: bytes
    at: int
