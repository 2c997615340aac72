"""Posts messages to addresses, and dispatches them to those who are interested. `routing.py` has what is posted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from romancy.storage.records import Delivered
    from romancy.storage.routing import Dispatched, Interest, InterestKind, KeptMessage, Letter, Owner, Posting

__all__ = ["Router"]


class Router(Protocol):
    """The service for routing. The rules of `romancy.storage.protocol` for failures, cancellation and time hold.

    In an append, `Append.interests`, `Append.uninterested` and `Append.postings` are written after the inbox, in this
    order, sorted by key. There, kinds are not compared, nothing that was kept is discarded, and a posting that is known
    is left out, as a delivery is. A dispatch locks addresses, then interests, then messages, and no instance. It
    inserts inbox rows uncounted, and counts them (and wakes their owners) after its commit, as a joined session does.
    (A database with one writer may count at once.)

    A mark of a lane (`routing.is_mark`) may be left out, and what lies at a lane may be removed without a dispatch,
    where nobody waits: whoever asks later brings a mark. An append that creates an instance may register places, as
    `Capabilities.gives_places` says. It is FULL where somebody waits, or a place is not free, or the limit is more than
    a number of places. No dispatch of these lanes gives places at the same time.

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

    async def give_back(self, owner: Owner, delivery_ids: Sequence[str], /, *, at: int | None = None) -> int:
        """Put taken messages that their owner has no use for back to their address; return how many were there.

        They keep their time, id and spread, so they are the first to be taken again. If a message was posted there with
        the same id since, that one stays, and the one given back is gone. Copies are removed. What was
        delivered to the instance itself stays. Nothing happens if the instance has begun another life. For an owner
        OUTSIDE, these are ids of its letters. The caller dispatches the addresses afterwards.

        With `at`, what was not handed out at this time stays: it had been given back, and was taken anew since.
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
        nothing is kept or wanted any more, but no number from this time on: later copies come behind it; and what lanes
        note of places whose period was over by this time.
        """
        ...
