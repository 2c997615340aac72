"""A dispatch: moves messages at some addresses to the inboxes and letter boxes of interested owners.

A read without locks finds the addresses that have something to route. Most posts and most waits find nothing, and cost
no more than this read. The rest is one transaction for some addresses, which locks them as it begins: read interests
and messages, let `pair` decide, and write. The counters of receivers whose rows are locked move after its commit.

That transaction does not wait for the disk. If a crash of the server undoes it, the messages are back at their
addresses. No append can have consumed them: its commit is durable, and with it all earlier ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from romancy.storage.pairing import Kept, Wanted, copy_id, number, pair
from romancy.storage.routing import OUTSIDE, Dispatched, InterestKind, Owner, Spread
from romancy.storage.sqlkit.portions import portions
from romancy.storage.sqlkit.statements import LockedError
from romancy_postgres._inbox import count_mail

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import asyncpg

    from romancy.storage.pairing import Copy, Numbers, Pairing, Take
    from romancy_postgres._connection import Link
    from romancy_postgres._database import Database
    from romancy_postgres._signals import Signals

__all__ = ["dispatch_at"]

_ADDRESSES_AT_ONCE: Final = 500
"""Addresses that one transaction locks. The server has room for some thousand locks."""
_LOOK_AT_ONCE: Final = 5000
_COPIES_AT_ONCE: Final = 5000
_COUNT_AT_ONCE: Final = 500
_LOCK_WAITS: Final = 2
_BEGINNING: Final = (-(2**63), "")


class _Moved(Struct):
    """The deliveries of a transaction."""

    mail: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Instances and delivery ids."""
    counted: set[str] = field(default_factory=set[str])
    """Instances whose mail is counted."""
    over: set[str] = field(default_factory=set[str])
    """Instances that have ended meanwhile."""
    delivered: int = 0
    more: bool = False
    held_up: dict[str, str] = field(default_factory=dict[str, str])


async def dispatch_at(database: Database, signals: Signals, addresses: Iterable[str], limit: int) -> Dispatched:
    """As `Router.dispatch` promises for these addresses."""
    delivered = 0
    held_up: dict[str, str] = {}
    locked: LockedError | None = None
    for some in portions(dict.fromkeys(addresses), _one, _LOOK_AT_ONCE):
        due: dict[str, int] = {row[0]: row[1] for row in await database.fetch("route_due", some)}
        parts = list(portions((address for address in some if address in due), _one, _ADDRESSES_AT_ONCE))
        while parts:
            if delivered >= limit:
                return Dispatched(delivered=delivered, more=True, held_up=held_up)
            part = parts.pop(0)
            try:
                moved = await _dispatch(database, {address: due[address] for address in part}, limit - delivered)
            except LockedError as error:
                if len(part) == 1:
                    locked = error
                else:
                    parts[:0] = [part[: len(part) // 2], part[len(part) // 2 :]]
                continue
            signals.tell(moved.counted)
            returned = await _count_others(database, signals, moved)
            delivered += moved.delivered
            held_up |= moved.held_up
            if moved.more or returned:
                return Dispatched(delivered=delivered, more=True, held_up=held_up)
    if locked is not None:
        raise locked
    return Dispatched(delivered=delivered, held_up=held_up)


async def _count_others(database: Database, signals: Signals, moved: _Moved) -> bool:
    """Count the mail of instances that were locked. Return whether mail of ended ones went back to its address."""
    others = [(name, one) for name, one in moved.mail if name not in moved.counted]
    for mail in portions([one for one in others if one[0] not in moved.over], _one, _COUNT_AT_ONCE):
        await count_mail(database, signals, mail)
    return bool(others) and await database.run("sweep_ended", sorted({name for name, _ in others})) > 0


async def _dispatch(database: Database, keys: Mapping[str, int], limit: int) -> _Moved:
    """Dispatch from these addresses, whose locks have these keys."""
    waits = _LOCK_WAITS if len(keys) == 1 else 0
    numbers = ",".join(f"{key:d}" for key in sorted(set(keys.values())))
    locks = f"select pg_advisory_xact_lock(key) from unnest('{{{numbers}}}'::bigint[]) as t (key)"  # noqa: S608 - numbers
    return await database.transaction(
        lambda link: _move(link, sorted(keys), limit), lock_waits=waits, lasting=False, first=locks
    )


async def _move(link: Link, addresses: Sequence[str], limit: int) -> _Moved:
    """Everything between BEGIN, which locks the addresses, and COMMIT. All reads follow the locks."""
    rows = await link.fetch("route_interests", addresses, limit)
    wanted = [_wanted(row) for row in rows]
    wishes = _wishes(addresses, wanted, limit)
    last = {row["address"]: row["number"] or 0 for row in rows}
    after = _BEGINNING
    while True:
        kept = await _messages(link, wishes, after, limit)
        done = pair(kept, wanted, limit=limit)
        full = len(kept) >= limit
        if done.finished or not full:
            break
        after = kept[-1].at, kept[-1].message_id
    if not done.finished:
        return _Moved(held_up=done.held_up)
    moved = await _write(link, done, number(done, last, rows[0]["now"] if rows else 0), wanted)
    moved.more = moved.more or done.stopped or full
    moved.held_up = done.held_up
    return moved


async def _messages(link: Link, wishes: list[list[object]], after: tuple[int, str], limit: int) -> list[Kept]:
    rows = await link.fetch("route_messages", *wishes, *after, limit)
    return [Kept(row[0], row[1], Spread(row[2]), row[3], row[4]) for row in rows]


def _wanted(row: asyncpg.Record) -> Wanted:
    owner = Owner(row["owner"], row["life"])
    return Wanted(owner, row["interest_id"], row["address"], InterestKind(row["kind"]), row["where_"], row["at"])


def _wishes(addresses: Sequence[str], wanted: Iterable[Wanted], limit: int) -> list[list[object]]:
    """Which messages may have receivers: address, spread, how many, and whether their projections are needed."""
    listeners: dict[str, int] = {}
    takers: dict[str, int] = {}
    choosy: set[str] = set()
    for one in wanted:
        kinds = listeners if one.kind is InterestKind.COPY else takers
        kinds[one.address] = kinds.get(one.address, 0) + 1
        if one.where is not None:
            choosy.add(one.address)
    rows: list[tuple[str, str, int, bool]] = []
    for address in addresses:
        searched = address in choosy
        taken = limit if searched else min(limit, takers.get(address, 0))
        several = limit if listeners.get(address) else taken
        most = {Spread.EVERY: limit, Spread.CHANNEL: several, Spread.ONE: taken}
        rows += [(address, spread.value, count, searched) for spread, count in most.items() if count]
    return [list(column) for column in zip(*rows, strict=True)]


async def _write(link: Link, done: Pairing, numbers: Numbers, wanted: Iterable[Wanted]) -> _Moved:
    moved = _Moved()
    if done.takes:
        await _take(link, done.takes, numbers, moved)
    if done.copies:
        listening = _listening(wanted)
        for copies in portions(done.copies, _one, _COPIES_AT_ONCE):
            await _copy(link, copies, listening, numbers, moved)
    taken = {(one.address, one.message_id) for one in done.takes}
    finished = sorted(key for key in done.finished if key not in taken)
    last = sorted(numbers.last.items())
    if finished or last:
        await link.run("route_finish", *_columns(finished, 2), *_columns(last, 2))
    if 0 < len(moved.mail) <= _COUNT_AT_ONCE:
        mail = sorted(moved.mail)
        for row in await link.fetch("route_count", *_columns(mail, 2)):
            (moved.over if row["over"] else moved.counted).add(row["instance_id"])
    return moved


async def _take(link: Link, takes: Sequence[Take], numbers: Numbers, moved: _Moved) -> None:
    rows: list[tuple[object, ...]] = []
    for take in sorted(takes, key=lambda one: (one.owner, one.interest_id)):
        at = numbers.of.get((take.address, take.message_id), 0)
        letter = copy_id(take.address, at) if take.owner.life == OUTSIDE else None
        rows.append((take.address, take.message_id, *take.owner, take.interest_id, at, letter))
    given = await link.fetch("route_take", *_columns(rows, 7))
    moved.mail += [(row["owner"], row["message_id"]) for row in given if row["life"] != OUTSIDE]
    moved.delivered += len(given)
    moved.more = len(given) < len(takes)


def _listening(wanted: Iterable[Wanted]) -> dict[tuple[Owner, str], list[str]]:
    """The interests of each owner at each address that get copies. One of them is enough for a copy."""
    ids: dict[tuple[Owner, str], list[str]] = {}
    for one in wanted:
        if one.kind is InterestKind.COPY:
            ids.setdefault((one.owner, one.address), []).append(one.interest_id)
    return ids


async def _copy(
    link: Link,
    copies: Sequence[Copy],
    listening: Mapping[tuple[Owner, str], Sequence[str]],
    numbers: Numbers,
    moved: _Moved,
) -> None:
    rows: list[tuple[object, ...]] = []
    for copy in sorted(copies, key=lambda one: (one.owner, one.address, one.message_id)):
        at = numbers.of[copy.address, copy.message_id]
        what, numbered = (copy.address, copy.message_id, *copy.owner), (at, copy_id(copy.address, at))
        rows += [(*what, interest_id, *numbered) for interest_id in listening[copy.owner, copy.address]]
    given = await link.fetch("route_copy", *_columns(rows, 7))
    moved.mail += [(row["owner"], row["delivery_id"]) for row in given if row["inside"]]
    moved.delivered += len(given)


def _columns(rows: Collection[tuple[object, ...]], width: int) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def _one(_: object) -> int:
    return 1
