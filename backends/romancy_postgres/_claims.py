"""Claims: ownership of instances, the mail of what a worker owns, and the repairs of a sweep."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from romancy.storage.limits import SHORT_COMMIT_BYTES, SHORT_LOG_COMMITS
from romancy.storage.records import Work
from romancy.storage.sqlkit.claims import Box, Taken, claimed, mail_of, unknown_and_kept

if TYPE_CHECKING:
    import asyncpg

    from romancy.storage.records import Claimed, ClaimRequest, Mailbox
    from romancy_postgres._database import Database
    from romancy_postgres._interpreter import PostgresInterpreter
    from romancy_postgres._signals import Signals

__all__ = ["claim"]


async def claim(database: Database, interpreter: PostgresInterpreter, signals: Signals, request: ClaimRequest) -> Work:
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
    given = [row for row in rows if row["instance_id"] is not None]
    heads: dict[str, asyncpg.Record] = {}
    mail: list[Mailbox] = []
    more = False
    fresh = {row["instance_id"] for row in given}
    unknown, kept = unknown_and_kept(request, fresh)
    if given or (head["alive"] and (unknown or head["mail"])):
        short = (SHORT_LOG_COMMITS, SHORT_COMMIT_BYTES)
        columns = list(kept), list(kept.values())
        boxes = await database.fetch("mailboxes", request.worker, list(fresh), unknown, *short, *columns)
        heads = {box["instance_id"]: box for box in boxes if box["fresh"]}
        waiting = [Box(*(box[name] for name in Box._fields)) for box in boxes]
        mail, more = await interpreter.read(partial(mail_of, request, waiting, heads))
    taken = [_claimed(row, heads[row["instance_id"]]) for row in given if row["instance_id"] in heads]
    return Work(claimed=taken, mail=mail, next_due=head["next_due"], now=head["now"], more=more)


async def _sweep(database: Database, signals: Signals, worker: str, names: list[str], codes: list[str]) -> None:
    counted = await database.fetch("sweep_mail", worker)
    woken = await database.fetch("sweep_asleep", worker, names, codes)
    signals.tell({row[0] for row in (*counted, *woken)})


def _claimed(row: asyncpg.Record, box: asyncpg.Record) -> Claimed:
    known = {name: box[name] for name in ("head", "head_writer")}
    taken = Taken(**known, **{name: row[name] for name in Taken._fields if name not in known})
    return claimed(taken, row["since"], box["log"] or ())
