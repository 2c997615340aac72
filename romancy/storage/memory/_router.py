"""The routing of the in-memory store: posting, registering, and the dispatch that matches both."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from romancy.errors import InstanceNotFoundError, StorageUnavailableError
from romancy.status import TERMINAL_STATUSES
from romancy.storage.limits import check_interest, check_owner, check_postings
from romancy.storage.memory._database import LockedError
from romancy.storage.memory._posted import (
    drop_interest,
    give_back_letters,
    give_back_mail,
    key_of,
    post_message,
    put_interest,
)
from romancy.storage.memory._rows import Instance, InterestRow, LetterRow, Numbered, Posted
from romancy.storage.memory._sessions import bump
from romancy.storage.pairing import Kept, Wanted, copy_id, number, pair
from romancy.storage.records import InboxRow
from romancy.storage.routing import OUTSIDE, Dispatched, Interest, InterestKind, Letter, Owner, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from romancy.storage.memory._database import Database, Key, Transaction
    from romancy.storage.pairing import Numbers, Pairing
    from romancy.storage.records import Delivered
    from romancy.storage.routing import KeptMessage, Posting

__all__ = ["MemoryRouter"]

_PATIENCE = 3.0
_EXCLUDES = {InterestKind.COPY: InterestKind.MEMBER, InterestKind.MEMBER: InterestKind.COPY}


class MemoryRouter:
    """The routing side of a store. `begin` opens a transaction that waits so many seconds for a row."""

    def __init__(self, begin: Callable[[float | None], Transaction], database: Database) -> None:
        self._begin = begin
        self._database = database

    async def post(self, batch: Sequence[Posting], /) -> list[Delivered]:
        check_postings(batch)
        try:
            async with self._begin(_PATIENCE) as tx:
                await tx.step("post")
                answers = [await post_message(tx, self._database, posting) for posting in batch]
                await tx.commit()
        except LockedError:
            raise _busy("posts the same messages") from None
        return answers

    async def dispatch(self, addresses: Collection[str] = (), /, *, limit: int = 500) -> Dispatched:
        if not addresses:
            await self._tidy(limit)
            addresses = self._addresses_with_work()
        try:
            async with self._begin(_PATIENCE) as tx:
                wanted = await self._locked_interests(tx, addresses)
                done, more = await self._pair(tx, addresses, wanted, limit)
                told = await self._write(tx, done)
                await tx.commit()
        except LockedError:
            raise _busy("changes what is to be dispatched") from None
        await bump(self._database, lambda: self._begin(None), told)
        now = self._begin(None)
        if any(_is_over(now.get("instances", (name,))) for name in told):
            await self._tidy(limit)  # it ended meanwhile
            more = True
        return Dispatched(delivered=done.delivered, more=more, held_up=done.held_up)

    def _addresses_with_work(self) -> set[str]:
        tx = self._begin(None)
        listening = {row.address for _, row in tx.scan("interests") if row.kind is not InterestKind.MEMBER}
        return {
            row.kept.address
            for _, row in tx.scan("messages")
            if row.kept.spread is Spread.EVERY or row.kept.address in listening
        }

    async def _locked_interests(self, tx: Transaction, addresses: Collection[str]) -> list[Wanted]:
        """Lock the addresses, then the interests there. Read an owner's instance after locking the interest.

        A purge removes interests before it looks for mail to give back. So it either removes the interest before it is
        locked here, or finds the mail that the dispatch delivered.
        """
        await tx.step("dispatch.addresses")
        for address in sorted(set(addresses)):
            await tx.lock("addresses", (address,))
        await tx.step("dispatch.interests")
        found: list[Wanted] = []
        for key in [key for key, row in tx.scan("interests") if row.address in addresses]:
            row: InterestRow | None = await tx.lock("interests", key)
            if row is not None and row.address in addresses and _can_be_given(tx, Owner(key[0], key[1])):
                found.append(Wanted(Owner(key[0], key[1]), key[2], row.address, row.kind, row.where, row.at))
        return found

    async def _pair(
        self, tx: Transaction, addresses: Collection[str], wanted: list[Wanted], limit: int
    ) -> tuple[Pairing, bool]:
        """Read messages, a page at a time, until a page has messages with receivers or none is left."""
        await tx.step("dispatch.messages")
        kept = sorted(
            (row.kept.at, row.kept.message_id, row.kept.address, row)
            for _, row in tx.scan("messages")
            if row.kept.address in addresses
        )
        start = 0
        while True:
            page: list[Kept] = []
            for _, _, _, row in kept[start : start + limit]:
                if await tx.lock("messages", (row.kept.address, row.kept.message_id)) is not None:
                    page.append(
                        Kept(row.kept.address, row.kept.message_id, row.kept.spread, row.kept.at, row.projection)
                    )
            done = pair(page, wanted, limit=limit)
            start += limit
            if done.finished or start >= len(kept):
                return done, bool(done.finished) and (done.stopped or start < len(kept))

    async def _write(self, tx: Transaction, done: Pairing) -> list[str]:
        """Write the decision, and return the instances whose mail is to be counted."""
        await tx.step("dispatch.deliver")
        last = {address: tx.get("addresses", (address,)) or 0 for address, _ in done.finished}
        numbers = number(done, last, self._database.now())
        for take in done.takes:
            row: Posted = tx.get("messages", (take.address, take.message_id))
            await drop_interest(tx, key_of(take.owner, take.interest_id))
            await _give(tx, row, take.owner, numbers, interest=take.interest_id)
        for copy in done.copies:
            await _give(tx, tx.get("messages", (copy.address, copy.message_id)), copy.owner, numbers)
        for key in done.finished:
            tx.put("messages", key, None)
        for address, latest in numbers.last.items():
            tx.put("addresses", (address,), latest)
        owners = [take.owner for take in done.takes] + [copy.owner for copy in done.copies]
        return sorted(owner.name for owner in owners if owner.life != OUTSIDE)

    async def _tidy(self, limit: int) -> None:
        """Give back what ended or missing instances never consumed, and remove their interests."""
        async with self._begin(_PATIENCE) as tx:
            await tx.step("dispatch.tidy")
            over = [key for key, _ in tx.scan("interests") if not _can_be_given(tx, Owner(key[0], key[1]))]
            for key in over[:limit]:
                if tx.try_lock("interests", key):
                    tx.put("interests", key, None)
            lost = [
                key
                for key, mail in tx.scan("inbox")
                if mail.row.interest is not None and _is_over(tx.get("instances", (key[0],)))
            ]
            await give_back_mail(tx, [key for key in lost[:limit] if tx.try_lock("inbox", key)])
            await tx.commit()

    async def register(self, owner: Owner, interest: Interest, /) -> InterestKind | None:
        check_owner(owner)
        check_interest(interest)
        try:
            async with self._begin(_PATIENCE) as tx:
                await tx.step("register.address")
                await tx.lock("addresses", (interest.address,))
                await tx.step("register")
                if not _can_be_given(tx, owner):
                    raise InstanceNotFoundError(
                        f"instance {owner.name!r}: not there in this life, or ended; it can register no interest"
                    )
                kinds = Counter(one.kind for _, one in self._standing(tx, interest.address))
                in_the_way = _EXCLUDES.get(interest.kind)
                if in_the_way is not None and kinds[in_the_way]:
                    return in_the_way
                if interest.kind is InterestKind.COPY and not kinds[InterestKind.COPY]:
                    for key in [key for key, row in tx.scan("messages") if row.kept.address == interest.address]:
                        await tx.lock("messages", key)
                        tx.put("messages", key, None)
                await put_interest(tx, self._database, owner, interest)
                await tx.commit()
        except LockedError:
            raise _busy("uses the address") from None
        return None

    async def unregister(self, owner: Owner, interest_ids: Collection[str], /) -> None:
        async with self._begin(None) as tx:
            await tx.step("unregister")
            for interest_id in sorted(set(interest_ids)):
                await drop_interest(tx, key_of(owner, interest_id))
            await tx.commit()

    async def interests(self, address: str, /) -> list[tuple[Owner, Interest]]:
        return self._standing(self._begin(None), address)

    def _standing(self, tx: Transaction, address: str) -> list[tuple[Owner, Interest]]:
        rows: list[tuple[Key, InterestRow]] = [
            (key, row)
            for key, row in tx.scan("interests")
            if row.address == address and _can_be_given(tx, Owner(key[0], key[1]))
        ]
        rows.sort(key=lambda one: (one[1].at, one[0]))
        return [
            (
                Owner(key[0], key[1]),
                Interest(interest_id=key[2], address=row.address, kind=row.kind, where=row.where),
            )
            for key, row in rows
        ]

    async def give_back(self, owner: Owner, delivery_ids: Sequence[str], /) -> int:
        keys: Iterable[Key] = sorted({(owner.name, delivery_id) for delivery_id in delivery_ids})
        async with self._begin(None) as tx:
            await tx.step("give back")
            if owner.life == OUTSIDE:
                given = await give_back_letters(tx, keys)
            else:
                row: Instance | None = tx.get("instances", (owner.name,))
                given = await give_back_mail(tx, keys) if row is None or row.life == owner.life else 0
            await tx.commit()
        return given

    async def letters(self, subscriber: str, /, *, limit: int = 100) -> list[Letter]:
        found: list[Letter] = [row.letter for key, row in self._begin(None).scan("letters") if key[0] == subscriber]
        return sorted(found, key=lambda one: (one.at, one.letter_id))[:limit]

    async def acknowledge(self, subscriber: str, letter_ids: Collection[str], /) -> int:
        async with self._begin(None) as tx:
            await tx.step("acknowledge")
            keys = sorted({(subscriber, letter_id) for letter_id in letter_ids})
            held = [key for key in keys if await tx.lock("letters", key) is not None]
            for key in held:
                tx.put("letters", key, None)
            await tx.commit()
        return len(held)

    async def kept(self, *, address: str | None = None, after: str = "", limit: int = 100) -> list[KeptMessage]:
        rows: list[KeptMessage] = [
            row.kept
            for _, row in self._begin(None).scan("messages")
            if row.kept.message_id > after and address in (None, row.kept.address)
        ]
        rows.sort(key=lambda one: (one.message_id, one.address))
        last = rows[limit - 1].message_id if len(rows) >= limit else None
        return [row for row in rows if last is None or row.message_id <= last]

    async def expire(self, before: int, /, *, limit: int = 1000) -> int:
        async with self._begin(_PATIENCE) as tx:
            await tx.step("expire")
            in_use = {row.address for _, row in tx.scan("interests")}
            old = [key for key, row in tx.scan("messages") if row.kept.at < before and row.kept.address not in in_use]
            gone = [key for key in old[:limit] if tx.try_lock("messages", key)]
            for key in gone:
                tx.put("messages", key, None)
            subscribers = {key[0] for key, _ in tx.scan("interests") if key[1] == OUTSIDE}
            letters = [key for key, row in tx.scan("letters") if row.letter.at < before and key[0] not in subscribers]
            unread = [key for key in letters[:limit] if tx.try_lock("letters", key)]
            for key in unread:
                tx.put("letters", key, None)
            in_use |= {row.kept.address for _, row in tx.scan("messages")}
            for key in [key for key, last in tx.scan("addresses") if key[0] not in in_use and last < before]:
                if tx.try_lock("addresses", key):
                    tx.put("addresses", key, None)
            await tx.commit()
        return len(gone) + len(unread)


async def _give(
    tx: Transaction, posted: Posted, owner: Owner, numbers: Numbers, *, interest: str | None = None
) -> None:
    """Put a message into an inbox or a letter box: itself if it was taken (for this interest), else a copy."""
    kept, taken = posted.kept, interest is not None
    at = numbers.of.get((kept.address, kept.message_id), kept.at)
    spread, projection = (kept.spread, posted.projection) if taken else (None, None)
    if owner.life == OUTSIDE:
        letter = Letter(letter_id=copy_id(kept.address, at), address=kept.address, body=kept.body, at=at)
        key = (owner.name, letter.letter_id)
        await tx.lock("letters", key)
        tx.put("letters", key, LetterRow(letter, kept if taken else None, projection))
        return
    row = InboxRow(
        kept.message_id if taken else copy_id(kept.address, at),
        kept.body,
        kept.at if taken else at,
        kept.address,
        interest,
    )
    key = (owner.name, row.delivery_id)
    if await tx.lock("inbox", key) is None:
        tx.put("inbox", key, Numbered(row, spread=spread, projection=projection))


def _can_be_given(tx: Transaction, owner: Owner) -> bool:
    """Whether an owner can still use a message."""
    if owner.life == OUTSIDE:
        return True
    row: Instance | None = tx.get("instances", (owner.name,))
    return row is not None and row.life == owner.life and row.status not in TERMINAL_STATUSES


def _is_over(row: Instance | None) -> bool:
    return row is None or row.status in TERMINAL_STATUSES


def _busy(what: str) -> StorageUnavailableError:
    return StorageUnavailableError(f"memory store: another transaction {what}; nothing was done, try again")
