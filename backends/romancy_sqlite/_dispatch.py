"""A dispatch: moves messages at some addresses to the inboxes and letter boxes of interested owners.

A read without the write lock finds the addresses that have something to route. Most posts and most waits find nothing.
The rest is one transaction, which has the file to itself, so deliveries are counted at once.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from romancy.storage.pairing import Kept, Wanted, copy_id, number, pair
from romancy.storage.routing import OUTSIDE, Dispatched, InterestKind, Owner, Spread

if TYPE_CHECKING:
    from collections.abc import Collection

    from romancy.storage.pairing import Numbers, Pairing
    from romancy_sqlite._connection import Tx

__all__ = ["dispatch", "due", "overdue", "tidy"]

_ADDRESSES_OF_A_SWEEP = 10_000
_ONLY_FOR_EVERYONE, _ALL, _SEARCHED = 0, 1, 2


def due(tx: Tx, addresses: Collection[str]) -> list[str]:
    """Those of these addresses that may have something to route."""
    return [row[0] for row in tx.rows("route_due", (_json(sorted(set(addresses))),))]


def overdue(tx: Tx, limit: int) -> tuple[list[str], bool]:
    """All addresses that have something to route, and whether something has to be tidied up."""
    addresses = [row[0] for row in tx.rows("route_work", (_ADDRESSES_OF_A_SWEEP,))]
    untidy = tx.row("route_lost", (limit,)) or tx.row("route_over", (limit,))
    return addresses, untidy is not None


def tidy(tx: Tx, limit: int) -> set[str]:
    """Give back what ended or missing instances never consumed, and remove their interests; return where."""
    tx.run("drop_interests", {"interests": _json(tx.rows("route_over", (limit,)))})
    lost = tx.rows("route_lost", (limit,))
    mail = {"mail": _json([row[:2] for row in lost])}
    tx.run("return_mail", mail)
    tx.run("drop_mail", mail)
    return {address for _, _, address in lost}


def dispatch(tx: Tx, addresses: Collection[str], limit: int) -> Dispatched:
    """Read messages, a page at a time, until a page has messages with receivers or none is left."""
    ordered = sorted(set(addresses))
    rows = tx.rows("route_interests", (_json(ordered),))
    wanted = [Wanted(Owner(row[0], row[1]), row[2], row[3], InterestKind(row[4]), row[5], row[6]) for row in rows]
    look = dict.fromkeys(ordered, _ONLY_FOR_EVERYONE)
    for one in wanted:
        look[one.address] = max(look[one.address], _ALL if one.where is None else _SEARCHED)
    asked: dict[str, Any] = {"wanted": _json(look), "at": -1, "message_id": "", "address": "", "limit": limit}
    while True:
        kept = [_kept(row) for row in tx.rows("route_messages", asked)]
        done = pair(kept, wanted, limit=limit)
        full = len(kept) >= limit
        if done.finished or not full:
            break
        asked |= {"at": kept[-1].at, "message_id": kept[-1].message_id, "address": kept[-1].address}
    if done.finished:
        _write(tx, done)
    more = bool(done.finished) and (full or done.stopped)
    return Dispatched(delivered=done.delivered, more=more, held_up=done.held_up)


def _kept(row: tuple[Any, ...]) -> Kept:
    projection: str | None = row[4]
    return Kept(row[0], row[1], Spread(row[2]), row[3], None if projection is None else projection.encode())


def _write(tx: Tx, done: Pairing) -> None:
    touched = {address for address, _ in done.finished}
    numbers = number(done, dict(tx.rows("numbers", (_json(sorted(touched)),))), tx.now)
    count = Counter[str]()
    _write_takes(tx, done, numbers, count)
    _write_copies(tx, done, numbers, count)
    tx.many("message_remove", done.finished)
    if numbers.last:
        tx.many("number_set", list(numbers.last.items()))
    if count:
        tx.many("signal_many", [(several, tx.now, instance_id) for instance_id, several in count.items()])
        tx.touched |= count.keys()


def _write_takes(tx: Tx, done: Pairing, numbers: Numbers, count: Counter[str]) -> None:
    for take in done.takes:
        what = {"address": take.address, "message_id": take.message_id, "owner": take.owner.name}
        if take.owner.life == OUTSIDE:
            at = numbers.of[take.address, take.message_id]
            tx.run("route_letter", what | {"copy_id": copy_id(take.address, at), "number": at, "taken": True})
        else:
            count[take.owner.name] += tx.run("route_take", what | {"interest_id": take.interest_id})
    if done.takes:
        taken = [(*take.owner, take.interest_id) for take in done.takes]
        tx.run("drop_interests", {"interests": _json(taken)})


def _write_copies(tx: Tx, done: Pairing, numbers: Numbers, count: Counter[str]) -> None:
    inside: list[dict[str, object]] = []
    letters: list[dict[str, object]] = []
    for copy in done.copies:
        at = numbers.of[copy.address, copy.message_id]
        row: dict[str, object] = {
            "address": copy.address, "message_id": copy.message_id, "owner": copy.owner.name,
            "copy_id": copy_id(copy.address, at), "number": at,
        }  # fmt: skip
        if copy.owner.life == OUTSIDE:
            letters.append(row | {"taken": False})
        else:
            inside.append(row)
            count[copy.owner.name] += 1
    if inside:
        tx.many("route_copy", inside)
    if letters:
        tx.many("route_letter", letters)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
