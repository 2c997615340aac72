"""The routing side of the store: the methods of `Router` in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.errors import InstanceNotFoundError
from romancy.storage.limits import can_be_id, check_interest, check_owner, check_postings
from romancy.storage.routing import (
    OUTSIDE,
    Dispatched,
    Interest,
    InterestKind,
    KeptMessage,
    Letter,
    Owner,
    Spread,
)
from romancy.storage.sqlkit.portions import portions
from romancy_postgres._dispatch import dispatch_at
from romancy_postgres._routes import add_messages, size_of
from romancy_postgres._sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import asyncpg

    from romancy.storage.records import Delivered
    from romancy.storage.routing import Posting
    from romancy_postgres._connection import Link
    from romancy_postgres._database import Database
    from romancy_postgres._signals import Signals

__all__ = ["PostgresRouter"]

_PART_BYTES: Final = 4 * 1024 * 1024
_LOCK_WAITS: Final = 2
_EXCLUDES: Final = {InterestKind.COPY: InterestKind.MEMBER, InterestKind.MEMBER: InterestKind.COPY}


class PostgresRouter:
    """As `Router` promises."""

    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals
        self._sweep = Sweep(database, signals)

    async def post(self, batch: Sequence[Posting], /) -> list[Delivered]:
        check_postings(batch)
        answers: list[Delivered] = []
        for part in portions(batch, size_of, _PART_BYTES):
            answers += await self._post(part)
        return answers

    async def _post(self, part: Sequence[Posting]) -> list[Delivered]:
        return await self._database.single(lambda link: add_messages(link, part), lock_waits=_LOCK_WAITS)

    async def dispatch(self, addresses: Collection[str] = (), /, *, limit: int = 500) -> Dispatched:
        if addresses:
            return await dispatch_at(self._database, self._signals, addresses, limit)
        return await self._sweep.run(limit)

    async def register(self, owner: Owner, interest: Interest, /) -> InterestKind | None:
        check_owner(owner)
        check_interest(interest)
        other = _EXCLUDES.get(interest.kind)

        async def write(link: Link) -> asyncpg.Record:
            if other is not None:
                await link.fetch("route_lock", [interest.address])
            row = (interest.interest_id, interest.address, interest.kind.value, interest.where)
            (answer,) = await link.fetch("register", *owner, *row, None if other is None else other.value)
            return answer

        send = self._database.single if other is None else self._database.transaction
        answer = await send(write, lock_waits=_LOCK_WAITS)
        if not answer["there"]:
            raise InstanceNotFoundError(
                f"instance {owner.name!r}: not there in this life, or ended; it can register no interest"
            )
        return None if answer["allowed"] else other

    async def unregister(self, owner: Owner, interest_ids: Collection[str], /) -> None:
        ids = sorted(filter(can_be_id, set(interest_ids)))
        if ids and can_be_id(owner.name):
            await self._database.run("unregister", *owner, ids)

    async def interests(self, address: str, /) -> list[tuple[Owner, Interest]]:
        rows = await self._database.fetch("interests", address)
        return [
            (
                Owner(row["owner"], row["life"]),
                Interest(
                    interest_id=row["interest_id"],
                    address=address,
                    kind=InterestKind(row["kind"]),
                    where=row["where_"],
                ),
            )
            for row in rows
        ]

    async def give_back(self, owner: Owner, delivery_ids: Sequence[str], /) -> int:
        ids = sorted(filter(can_be_id, set(delivery_ids)))
        if not ids or not can_be_id(owner.name):
            return 0
        if owner.life == OUTSIDE:
            rows = await self._database.fetch("letters_back", owner.name, ids)
        else:
            rows = await self._database.fetch("give_back", *owner, ids)
        return int(rows[0][0])

    async def letters(self, subscriber: str, /, *, limit: int = 100) -> list[Letter]:
        rows = await self._database.fetch("letters", subscriber, limit) if can_be_id(subscriber) else []
        return [Letter(letter_id=row[0], address=row[1], body=row[2], at=row[3]) for row in rows]

    async def acknowledge(self, subscriber: str, letter_ids: Collection[str], /) -> int:
        ids = sorted(filter(can_be_id, set(letter_ids)))
        return await self._database.run("acknowledge", subscriber, ids) if ids and can_be_id(subscriber) else 0

    async def kept(self, *, address: str | None = None, after: str = "", limit: int = 100) -> list[KeptMessage]:
        if address is None:
            rows = await self._database.fetch("kept", after, limit)
        else:
            rows = await self._database.fetch("kept_at", after, limit, address)
        found = [
            KeptMessage(message_id=row[0], address=row[1], spread=Spread(row[2]), body=row[3], at=row[4])
            for row in rows
        ]
        return sorted(found, key=lambda one: (one.message_id, one.address))

    async def expire(self, before: int, /, *, limit: int = 1000) -> int:
        rows = await self._database.fetch("expire", before, limit)
        await self._database.run("expire_addresses", before, limit)
        return int(rows[0][0])
