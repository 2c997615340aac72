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
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from romancy.storage.records import Delivered

__all__ = [
    "MAX_ADDRESS_BYTES",
    "OUTSIDE",
    "Dispatched",
    "Interest",
    "InterestKind",
    "KeptMessage",
    "Letter",
    "Owner",
    "Place",
    "Posting",
    "Router",
    "Spread",
    "address_of_channel",
    "address_of_instance",
    "address_of_key",
    "address_of_type",
    "instance_of_address",
]

OUTSIDE: Final = 0
"""The life of an owner that is a subscriber outside of workflows, known by its name, and no instance."""

MAX_ADDRESS_BYTES: Final = 640
"""Upper bound on an address. It has room for a type and a key of 255 bytes each."""
_MAX_KEY_BYTES: Final = 255


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


class Router(Protocol):
    """The room of routing. The rules of `romancy.storage.protocol` for failures, cancellation and time hold.

    In an append, `Append.interests`, `Append.uninterested` and `Append.postings` are written after the inbox, in this
    order, sorted by key. There, kinds are not compared, nothing that was kept is discarded, and a posting that is known
    is left out, as a delivery is. A dispatch locks addresses, then interests, then messages, and no instance. It
    inserts inbox rows uncounted, and counts them (and wakes their owners) after its commit, as a joined session does.
    (A database with one writer may count at once.)

    Who is interested is decided once, in `romancy.storage.pairing`. An interest of an instance that has ended or is
    missing, or of another life of it, counts for nothing here, and is not listed.

    What removes an instance (`Upkeep.prune`, `Create.replaces`) removes its interests, of every life, and then, in
    a new statement, gives back what it was given: a dispatch reads an instance after it has locked the interest, so it
    either finds no interest, or ends before the mail is looked for. Appends that end an instance leave that to the
    engine, or to a sweep.

    Rows of `romancy_inbox` that came from an address have `address` set. Those that were taken have `interest` and
    `spread` set, `projection` if there was one, and `posted_at` (its time) if it differs. A letter that was taken keeps
    `message_id`, `spread`, `projection` and `posted_at` likewise.
    """

    async def post(self, batch: Sequence[Posting], /) -> list[Delivered]:
        """Keep each message at all its places, or at none. ACCEPTED, or DUPLICATE if its topic remembers `dedupe`.

        Also DUPLICATE while a message with this id is kept at one of the places. The number of round trips does not
        depend on the number of messages. The caller dispatches afterwards.
        """
        ...

    async def dispatch(self, addresses: Collection[str] = (), /, *, limit: int = 500) -> Dispatched:
        """Route the messages at these addresses; without addresses, at all that have something to route (a sweep).

        A call with few addresses is one transaction. It looks at up to `limit` messages in the order of posting, and at
        further ones while none of these has a receiver. It delivers no more than `limit` copies and takes, unless one
        message has more. Which ones one call of several handles is open, and `more` may be said once too often. Bodies
        do not leave the database. The number of statements does not depend on the number of messages and receivers.

        Each (message, owner) pair is delivered at most once for each registered interest, whatever runs at the same
        time. Only inboxes of instances that have not ended, with the life of the interest, are written to. A message
        that an instance takes has its message id as delivery id, and is dated in the inbox when it was posted or, if
        that was before the interest was registered, when it is dispatched (`romancy.storage.pairing.taken_at`). Copies
        are dated when they are dispatched, and numbered: the copies from one address arrive everywhere in one order
        (`romancy.storage.pairing.number` and `copy_id`; the last number of an address is kept with it).

        If the `where` of an interest cannot be read (a newer version of Romancy wrote it), messages that no earlier
        interest takes, and all copies, stay at the address for a process that can read it. Other addresses are
        dispatched.

        A message that fits no `where` at its address is not read and compared again for the same interests, while it
        stays there and they do not change, whatever commits in the meantime.

        If another transaction holds an address, the others are dispatched before this raises.

        A sweep also gives back (see `give_back`) what ended or missing instances had been given and never consumed,
        and removes the interests of such instances.
        """
        ...

    async def register(self, owner: Owner, interest: Interest, /) -> InterestKind | None:
        """Register an interest outside of an append. None: it is registered, or was before.

        COPY and MEMBER exclude each other at one address, whoever owns them. The kind in the way is returned and
        nothing is written. The first COPY interest at an address discards what was kept there before.
        `InstanceNotFoundError` if the owner is an instance and that life of it does not exist or has ended.
        """
        ...

    async def unregister(self, owner: Owner, interest_ids: Collection[str], /) -> None:
        """Remove interests of this owner. What it was given already stays in its inbox."""
        ...

    async def interests(self, address: str, /) -> list[tuple[Owner, Interest]]:
        """The interests in an address, the longest registered first (then by owner and interest id)."""
        ...

    async def give_back(self, owner: Owner, delivery_ids: Sequence[str], /) -> int:
        """Put taken messages that their owner has no use for back to their address; return how many were there.

        They keep their time, id and spread, so they are the first to be taken again. If a message was posted there with
        the same id since, that one stays, and the one given back is gone. Copies are removed. What was
        delivered to the instance itself stays. Nothing happens if the instance has begun another life. For an owner
        OUTSIDE, these are ids of its letters. The caller dispatches the addresses afterwards.
        """
        ...

    async def letters(self, subscriber: str, /, *, limit: int = 100) -> list[Letter]:
        """The oldest letters of an outside subscriber, in the order of dispatch."""
        ...

    async def acknowledge(self, subscriber: str, letter_ids: Collection[str], /) -> int:
        """Forget letters, and return how many were there."""
        ...

    async def kept(self, *, address: str | None = None, after: str = "", limit: int = 100) -> list[KeptMessage]:
        """A page of undelivered messages, by message id.

        It exceeds the limit where the last message has several places: the next page begins behind its id.
        """
        ...

    async def expire(self, before: int, /, *, limit: int = 1000) -> int:
        """Remove messages posted before this time, except at addresses that have interests. Return how many.

        Letters of before this time go likewise where their subscriber has no interest left at all. Messages that were
        given back go by the time when they were posted. Also removes what only served the routing of addresses where
        nothing is kept or wanted any more, but no number from this time on: later copies come behind it.
        """
        ...
