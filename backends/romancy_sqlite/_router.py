"""The routing side of the store: each call becomes a job for the writer, or a read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from romancy.errors import InstanceNotFoundError
from romancy.storage.limits import can_be_id, check_interest, check_owner, check_postings
from romancy.storage.routing import OUTSIDE, Dispatched, Interest, InterestKind, KeptMessage, Letter, Owner, Spread
from romancy_sqlite._dispatch import dispatch, due, overdue, tidy
from romancy_sqlite._routes import drop_interests, post_all, put_interest, weight_of_posts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from romancy.storage.records import Delivered
    from romancy.storage.routing import Posting
    from romancy_sqlite._connection import Tx

__all__ = ["SqliteRouter"]

Result = TypeVar("Result")

_EXCLUDES = {InterestKind.COPY: InterestKind.MEMBER, InterestKind.MEMBER: InterestKind.COPY}


class _File(Protocol):
    """The store, as far as its router needs it."""

    async def run_read(self, work: Callable[[Tx], Result]) -> Result: ...

    async def run_write(self, work: Callable[[Tx], Result], *, weight: int = 3, lone: bool = False) -> Result: ...


class SqliteRouter:
    """As `Router` promises."""

    def __init__(self, store: _File) -> None:
        self._store = store

    async def post(self, batch: Sequence[Posting], /) -> list[Delivered]:
        check_postings(batch)
        if not batch:
            return []
        work = partial(post_all, batch=batch)
        return await self._store.run_write(work, weight=weight_of_posts(batch), lone=len(batch) == 1)

    async def dispatch(self, addresses: Collection[str] = (), /, *, limit: int = 500) -> Dispatched:
        if addresses:
            found = await self._store.run_read(partial(due, addresses=addresses))
        else:
            found, untidy = await self._store.run_read(partial(overdue, limit=limit))
            if untidy:
                returned = await self._store.run_write(partial(tidy, limit=limit), weight=limit)
                found = sorted(returned.union(found))
        if not found:
            return Dispatched(delivered=0)
        return await self._store.run_write(partial(dispatch, addresses=found, limit=limit), weight=limit)

    async def register(self, owner: Owner, interest: Interest, /) -> InterestKind | None:
        check_owner(owner)
        check_interest(interest)
        found, in_the_way = await self._store.run_write(partial(_register, owner=owner, interest=interest))
        if not found:
            raise InstanceNotFoundError(
                f"instance {owner.name!r}: not there in this life, or ended; it can register no interest"
            )
        return in_the_way

    async def unregister(self, owner: Owner, interest_ids: Collection[str], /) -> None:
        known = sorted({one for one in interest_ids if can_be_id(one)})
        if known and can_be_id(owner.name):
            await self._store.run_write(partial(drop_interests, owner=owner, interest_ids=known), weight=len(known))

    async def interests(self, address: str, /) -> list[tuple[Owner, Interest]]:
        return await self._store.run_read(partial(_standing, address=address))

    async def give_back(self, owner: Owner, delivery_ids: Sequence[str], /) -> int:
        known = [(owner.name, one) for one in sorted(set(delivery_ids)) if can_be_id(one)]
        if not known or not can_be_id(owner.name):
            return 0
        return await self._store.run_write(partial(_give_back, owner=owner, keys=known), weight=3 * len(known))

    async def letters(self, subscriber: str, /, *, limit: int = 100) -> list[Letter]:
        rows = await self._store.run_read(lambda tx: tx.rows("letters", (subscriber, limit)))
        return [Letter(letter_id=row[0], address=row[1], body=row[2], at=row[3]) for row in rows]

    async def acknowledge(self, subscriber: str, letter_ids: Collection[str], /) -> int:
        known = [(subscriber, one) for one in sorted(set(letter_ids)) if can_be_id(one)]
        return await self._store.run_write(lambda tx: tx.many("letter_remove", known), weight=len(known))

    async def kept(self, *, address: str | None = None, after: str = "", limit: int = 100) -> list[KeptMessage]:
        asked: dict[str, Any] = {"address": address, "after": after, "limit": limit}
        rows = await self._store.run_read(lambda tx: tx.rows("kept", asked))
        return [
            KeptMessage(message_id=row[0], address=row[1], spread=Spread(row[2]), body=row[3], at=row[4])
            for row in rows
        ]

    async def expire(self, before: int, /, *, limit: int = 1000) -> int:
        return await self._store.run_write(partial(_expire, before=before, limit=limit), weight=limit)


def _standing(tx: Tx, address: str) -> list[tuple[Owner, Interest]]:
    rows = tx.rows("route_interests", (msgspec.json.encode([address]).decode(),))
    return [
        (Owner(row[0], row[1]), Interest(interest_id=row[2], address=row[3], kind=InterestKind(row[4]), where=row[5]))
        for row in rows
    ]


def _register(tx: Tx, owner: Owner, interest: Interest) -> tuple[bool, InterestKind | None]:
    """Register. False if the owner does not exist; an interest of a conflicting kind is returned."""
    if owner.life != OUTSIDE and tx.row("is_open", owner) is None:
        return False, None
    exclude = _EXCLUDES.get(interest.kind)
    if exclude is not None:
        kinds = {one.kind for _, one in _standing(tx, interest.address)}
        if exclude in kinds:
            return True, exclude
        if interest.kind is InterestKind.COPY and interest.kind not in kinds:
            tx.run("discard", (interest.address,))
    put_interest(tx, owner, interest)
    return True, None


def _give_back(tx: Tx, owner: Owner, keys: list[tuple[str, str]]) -> int:
    if owner.life == OUTSIDE:
        tx.many("letter_back", keys)
        return tx.many("letter_remove", keys)
    if tx.row("other_life", owner) is not None:
        return 0
    tx.many("put_back", keys)
    return tx.many("routed_remove", keys)


def _expire(tx: Tx, before: int, limit: int) -> int:
    gone = tx.run("expire_messages", (before, limit)) + tx.run("expire_letters", (before, limit))
    tx.run("expire_addresses", (before,))
    return gone
