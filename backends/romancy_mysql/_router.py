"""The router: the methods of the routing protocol, most of them one statement each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.errors import InstanceNotFoundError
from romancy.storage.limits import can_be_id, check_interest, check_owner
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
from romancy_mysql._dispatch import Dispatch
from romancy_mysql._effects import CLOSED, INTEREST, interest_row
from romancy_mysql._posts import post
from romancy_mysql._sql import Statement, comma, row, rows_of, source
from romancy_mysql._sweep import Sweep
from romancy_mysql._taken import give_back, give_back_letters

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from romancy.storage.records import Delivered
    from romancy.storage.routing import Posting
    from romancy_mysql._connection import Wire
    from romancy_mysql._database import Database

__all__ = ["MySQLRouter"]

_EXCLUDES: Final = {InterestKind.COPY: InterestKind.MEMBER, InterestKind.MEMBER: InterestKind.COPY}
_AT_ONCE = 1000


class MySQLRouter:
    """The routing side of a store."""

    def __init__(self, database: Database, tell: Callable[[Iterable[str]], None]) -> None:
        self._database = database
        self._tell = tell
        self._sweep = Sweep(database, tell)

    async def post(self, batch: Sequence[Posting], /) -> list[Delivered]:
        return await post(self._database, batch)

    async def dispatch(self, addresses: Collection[str] = (), /, *, limit: int = 500) -> Dispatched:
        self._database.check_open()
        if not addresses:
            return await self._sweep.sweep(limit)
        return await Dispatch(self._database, self._tell, limit).from_addresses(addresses)

    async def register(self, owner: Owner, interest: Interest, /) -> InterestKind | None:
        check_owner(owner)
        check_interest(interest)
        self._database.check_open()
        kept = await self._kept_ids(interest)
        found = await self._database.insist(lambda wire: self._register(wire, owner, interest, kept))
        if found == "gone":
            raise InstanceNotFoundError(
                f"instance {owner.name!r}: not there in this life, or ended; it can register no interest"
            )
        return InterestKind(found) if found not in ("first", "free") else None

    async def _kept_ids(self, interest: Interest) -> list[tuple[str, bytes]]:
        """The messages that the first interest in copies discards. Read without locks: see `routing.sql`."""
        if interest.kind is not InterestKind.COPY:
            return []
        (answer,) = await self._database.ask(self._database.statement("kept_ids", address=interest.address))
        return [(interest.address, line[0]) for line in answer.rows]

    async def _register(self, wire: Wire, owner: Owner, interest: Interest, kept: Sequence[tuple[str, bytes]]) -> str:
        """Check and write in one packet, while the address is locked. Returns the finding of `judge_interest`."""
        database = self._database
        other = _EXCLUDES.get(interest.kind, "")
        judging = database.statement(
            "judge_interest",
            owner=owner.name,
            life=owner.life,
            address=interest.address,
            other=other,
            copies=interest.kind is InterestKind.COPY,
            closed=CLOSED,
        )
        wire.tainted = True
        answers = await database.send(
            wire,
            [
                database.begin,
                database.statement("lock_addresses", rows=comma([row(interest.address)])),
                judging,
                database.statement("register_interest", rows=rows_of(INTEREST, [interest_row(owner, interest)])),
                *(
                    database.statement(
                        "discard_messages", rows=rows_of(("address", "message_id"), kept[first : first + _AT_ONCE])
                    )
                    for first in range(0, len(kept), _AT_ONCE)
                ),
                Statement("commit", database.end),
                database.statement("judged"),
            ],
        )
        wire.tainted = False
        found = answers[-1].rows[0][0]
        return found.decode() if isinstance(found, bytes) else str(found)

    async def unregister(self, owner: Owner, interest_ids: Collection[str], /) -> None:
        rows = [(owner.name, owner.life, one) for one in sorted(set(filter(can_be_id, interest_ids)))]
        if rows:
            parameters = source(("owner", "life", "interest_id"), rows)
            await self._database.ask(self._database["drop_interests"].statement(parameters))

    async def interests(self, address: str, /) -> list[tuple[Owner, Interest]]:
        (answer,) = await self._database.ask(self._database.statement("list_interests", address=address, closed=CLOSED))
        return [
            (
                Owner(name.decode(), life),
                Interest(interest_id=one.decode(), address=address, kind=InterestKind(kind.decode()), where=where),
            )
            for name, life, one, kind, where in answer.rows
        ]

    async def give_back(self, owner: Owner, delivery_ids: Sequence[str], /) -> int:
        database = self._database
        known = sorted(set(filter(can_be_id, delivery_ids)))
        if not known or not can_be_id(owner.name):
            return 0
        if owner.life == OUTSIDE:
            return await give_back_letters(database, owner.name, known)
        (answer,) = await database.ask(database.statement("lives", instance_id=owner.name))
        if answer.rows and answer.rows[0][0] != owner.life:
            return 0
        return await give_back(database, [(owner.name, one) for one in known])

    async def letters(self, subscriber: str, /, *, limit: int = 100) -> list[Letter]:
        (answer,) = await self._database.ask(
            self._database.statement("read_letters", subscriber=subscriber, limit=limit)
        )
        return [
            Letter(letter_id=one.decode(), address=address.decode(), body=body, at=at)
            for one, address, body, at in answer.rows
        ]

    async def acknowledge(self, subscriber: str, letter_ids: Collection[str], /) -> int:
        known = sorted(set(filter(can_be_id, letter_ids)))
        if not known:
            return 0
        (answer,) = await self._database.ask(
            self._database.statement("drop_letters", subscriber=subscriber, ids=comma(known))
        )
        return answer.affected

    async def kept(self, *, address: str | None = None, after: str = "", limit: int = 100) -> list[KeptMessage]:
        database = self._database
        if address is not None:
            page = database.statement("kept_there", address=address, after=after, limit=limit)
            (answer,) = await database.ask(page)
            return [_kept(*line) for line in answer.rows]
        (answer,) = await database.ask(database.statement("kept_anywhere", after=after, limit=limit))
        rows = [_kept(*line) for line in answer.rows]
        if rows and len(rows) >= limit:
            last = rows[-1].message_id
            (alike,) = await database.ask(database.statement("kept_alike", message_id=last))
            rows = [one for one in rows if one.message_id != last] + [_kept(*line) for line in alike.rows]
        return sorted(rows, key=lambda one: (one.message_id, one.address))

    async def expire(self, before: int, /, *, limit: int = 1000) -> int:
        database = self._database
        old, unread, unused = await database.ask(
            database.statement("find_expired", before=before, limit=limit),
            database.statement("find_unread", before=before, limit=limit),
            database.statement("find_unused", before=before, limit=limit),
        )
        ends = [
            database[name].statement(source(columns, sorted(found.rows)), before=before)
            for name, columns, found in (
                ("end_messages", ("address", "message_id"), old),
                ("end_letters", ("subscriber", "letter_id"), unread),
                ("end_addresses", ("address",), unused),
            )
            if found.rows
        ]
        if not ends:
            return 0
        removed = await database.ask(*ends)
        counted = bool(old.rows) + bool(unread.rows)
        return sum(answer.affected for answer in removed[:counted])


def _kept(address: bytes, message_id: bytes, spread: bytes, body: bytes, at: int) -> KeptMessage:
    return KeptMessage(
        message_id=message_id.decode(), address=address.decode(), spread=Spread(spread.decode()), body=body, at=at
    )
