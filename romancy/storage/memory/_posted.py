"""Writes the routing of appends, sessions and purges: interests, posted messages, and messages given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.memory._rows import InterestRow, LetterRow, Numbered, Posted
from romancy.storage.records import Delivered
from romancy.storage.routing import KeptMessage, Owner
from romancy.storage.verdicts import on_posting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.memory._database import Database, Key, Transaction
    from romancy.storage.routing import Interest, Posting

__all__ = ["drop_interest", "give_back_mail", "interests_of", "key_of", "post_message", "put_back", "put_interest"]


def key_of(owner: Owner, interest_id: str) -> Key:
    """The key of an interest."""
    return owner.name, owner.life, interest_id


def interests_of(tx: Transaction, instance_id: str) -> list[Key]:
    """The keys of all interests of an instance, of whatever life."""
    return [key for key, _ in tx.scan("interests") if key[0] == instance_id and key[1]]


async def put_interest(tx: Transaction, database: Database, owner: Owner, interest: Interest) -> None:
    """Register an interest, or replace it. It keeps its place in the queue while its address and kind stay."""
    key = key_of(owner, interest.interest_id)
    held: InterestRow | None = await tx.lock("interests", key)
    same = held is not None and (held.address, held.kind) == (interest.address, interest.kind)
    at = held.at if held is not None and same else database.now()
    tx.put("interests", key, InterestRow(interest.address, interest.kind, interest.where, at))


async def drop_interest(tx: Transaction, key: Key) -> None:
    """Remove an interest if it stands."""
    if await tx.lock("interests", key) is not None:
        tx.put("interests", key, None)


async def post_message(tx: Transaction, database: Database, posting: Posting) -> Delivered:
    """Keep a message at all its addresses, or at none if its id is known."""
    seen = posting.dedupe is not None and await tx.lock("seen", (posting.dedupe,)) is not None
    places = sorted(posting.places)
    kept = [place for place in places if await tx.lock("messages", (place.address, posting.message_id)) is not None]
    verdict = on_posting(known=seen or bool(kept))
    if verdict is not None:
        return verdict
    at = database.now()
    if posting.dedupe is not None:
        tx.put("seen", (posting.dedupe,), at)
    for place in places:
        message = KeptMessage(
            message_id=posting.message_id, address=place.address, spread=place.spread, body=posting.body, at=at
        )
        tx.put("messages", (place.address, posting.message_id), Posted(message, posting.projection))
    return Delivered.ACCEPTED


async def give_back_mail(tx: Transaction, keys: Iterable[Key]) -> int:
    """Put taken messages of these inbox rows back, and remove copies. Return how many rows there were."""
    given = 0
    for key in keys:
        mail: Numbered | None = await tx.lock("inbox", key)
        if mail is None or mail.row.address is None:
            continue
        tx.put("inbox", key, None)
        given += 1
        if mail.spread is not None:
            row = mail.row
            await put_back(
                tx,
                KeptMessage(
                    message_id=row.delivery_id, address=mail.row.address, spread=mail.spread, body=row.body, at=row.at
                ),
                mail.projection,
            )
    return given


async def put_back(tx: Transaction, kept: KeptMessage, projection: bytes | None) -> None:
    """Keep a message again at the address where it was taken, with the time and id that it had.

    If a message with this id was posted there since, that one stays.
    """
    key = (kept.address, kept.message_id)
    if await tx.lock("messages", key) is None:
        tx.put("messages", key, Posted(kept, projection))


async def give_back_letters(tx: Transaction, keys: Iterable[Key]) -> int:
    """Put taken letters back likewise, and remove copies. Return how many there were."""
    given = 0
    for key in keys:
        letter: LetterRow | None = await tx.lock("letters", key)
        if letter is None:
            continue
        tx.put("letters", key, None)
        given += 1
        if letter.taken is not None:
            await put_back(tx, letter.taken, letter.projection)
    return given
