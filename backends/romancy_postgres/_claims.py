"""Claims: ownership of instances, the mail of what a worker owns, and the repairs of a sweep."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from romancy.storage.limits import SHORT_COMMIT_BYTES, SHORT_LOG_COMMITS
from romancy.storage.marks import TAKEN_NEWS
from romancy.storage.records import Work
from romancy.storage.sqlkit.claims import Box, Taken, chosen_mail, claimed, filled, unknown_and_kept
from romancy_postgres._columns import columns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import asyncpg

    from romancy.storage.records import Claimed, ClaimRequest, Mailbox
    from romancy_postgres._database import Database
    from romancy_postgres._signals import Signals

__all__ = ["claim"]

_BOX = cast("Callable[[asyncpg.Record], tuple[Any, ...]]", itemgetter(*Box._fields))


async def claim(database: Database, signals: Signals, request: ClaimRequest) -> Work:
    """As `Store.claim` promises. One statement if there is nothing to do, three if there is mail."""
    names, codes = list(request.codes), list(request.codes.values())
    if request.sweep:
        await _sweep(database, signals, request.worker, names, codes)
    rows = await database.fetch(
        "claim",
        request.worker,
        names,
        codes,
        request.limit,
        list(request.leave),
        request.grace,
        request.recover,
    )
    head = rows[0]
    fresh: dict[str, asyncpg.Record] = {}
    for row in rows:
        if row["instance_id"] is not None:
            fresh[row["instance_id"]] = row
    if fresh:
        signals.found_work()
    _announce(signals, request, fresh)
    heads: dict[str, asyncpg.Record] = {}
    mail: list[Mailbox] = []
    more = False
    unknown, kept = unknown_and_kept(request, fresh)
    if fresh or (head["alive"] and (unknown or head["mail"])):
        short = (SHORT_LOG_COMMITS, SHORT_COMMIT_BYTES)
        known = list(kept), list(kept.values())
        boxes = await database.fetch("mailboxes", request.worker, list(fresh), unknown, *short, *known)
        for box in boxes:
            if box["fresh"]:
                heads[box["instance_id"]] = box
        chosen = chosen_mail(request, list(map(Box._make, map(_BOX, boxes))), heads)
        messages = await database.fetch("mail", *columns(chosen.wanted, width=2)) if chosen.wanted else ()
        mail, more = filled(chosen, messages, heads), chosen.more
        _announce(signals, request, {box.instance_id for box in mail} - fresh.keys())
    taken: list[Claimed] = []
    for instance_id, row in fresh.items():
        if instance_id in heads:
            taken.append(_claimed(row, heads[instance_id]))
    return Work(claimed=taken, mail=mail, next_due=head["next_due"], now=head["now"], more=more)


def _announce(signals: Signals, request: ClaimRequest, taken: Collection[str]) -> None:
    if request.announce:
        signals.announce(TAKEN_NEWS + instance_id for instance_id in taken)


async def _sweep(database: Database, signals: Signals, worker: str, names: list[str], codes: list[str]) -> None:
    counted = await database.fetch("sweep_mail", worker)
    woken = await database.fetch("sweep_asleep", worker, names, codes)
    signals.tell({row[0] for row in (*counted, *woken)})


def _claimed(row: asyncpg.Record, box: asyncpg.Record) -> Claimed:
    found = {**row, "head": box["head"], "head_writer": box["head_writer"]}
    return claimed(Taken._make(map(found.__getitem__, Taken._fields)), row["since"], box["log"] or ())
