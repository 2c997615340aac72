"""Claims: ownership of instances, the mail of what a worker owns, and the repairs of a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.status import Status
from romancy.storage.limits import SHORT_COMMIT_BYTES, SHORT_LOG_COMMITS
from romancy.storage.mail import Waiting, choose_mail, left_out
from romancy.storage.records import Claimed, InboxRow, Mailbox, Work

if TYPE_CHECKING:
    import asyncpg

    from romancy.storage.records import ClaimRequest
    from romancy_postgres._database import Database
    from romancy_postgres._signals import Signals

__all__ = ["claim"]


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
    given = [row for row in rows if row["instance_id"] is not None]
    heads: dict[str, asyncpg.Record] = {}
    mail: list[Mailbox] = []
    more = False
    unknown = [instance_id for instance_id, signals in request.known.items() if signals < 0]
    if given or (head["alive"] and (unknown or head["mail"])):
        fresh = [row["instance_id"] for row in given]
        short = (SHORT_LOG_COMMITS, SHORT_COMMIT_BYTES)
        kept = [(one, number) for one, number in request.kept.items() if one not in fresh]
        columns = [one for one, _ in kept], [number for _, number in kept]
        boxes = await database.fetch("mailboxes", request.worker, fresh, unknown, *short, *columns)
        heads = {box["instance_id"]: box for box in boxes if box["fresh"]}
        mail, more = await _mail(database, request, boxes)
    claimed = [_claimed(row, heads[row["instance_id"]]) for row in given if row["instance_id"] in heads]
    return Work(claimed=claimed, mail=mail, next_due=head["next_due"], now=head["now"], more=more)


async def _sweep(database: Database, signals: Signals, worker: str, names: list[str], codes: list[str]) -> None:
    counted = await database.fetch("sweep_mail", worker)
    woken = await database.fetch("sweep_asleep", worker, names, codes)
    signals.tell({row[0] for row in (*counted, *woken)})


async def _mail(database: Database, request: ClaimRequest, rows: list[asyncpg.Record]) -> tuple[list[Mailbox], bool]:
    """The mailboxes for this answer, and whether there are more. Empty ones of instances just claimed are left out."""
    waiting = [Waiting(row["instance_id"], row["signals"], row["size"], row["fresh"]) for row in rows]
    chosen, more = choose_mail(waiting, request)
    by_id = {row["instance_id"]: row for row in rows}
    boxes = {one: _mailbox(request, by_id[one]) for one in chosen}
    after = [box.after for box in boxes.values()]
    for mail in await database.fetch("mail", chosen, after) if any(by_id[one]["size"] for one in chosen) else ():
        boxes[mail["instance_id"]].rows.append(InboxRow(*mail[1:]))
    return [box for one, box in boxes.items() if box.rows or not by_id[one]["fresh"]], more


def _mailbox(request: ClaimRequest, row: asyncpg.Record) -> Mailbox:
    """The empty mailbox of an instance."""
    instance_id, signals = row["instance_id"], row["signals"]
    after = left_out(request, instance_id, signals, fresh=row["fresh"])
    return Mailbox(instance_id=instance_id, life=row["life"], signals=signals, rows=[], after=after)


def _claimed(row: asyncpg.Record, box: asyncpg.Record) -> Claimed:
    known = ("head", "head_writer", "status", "crashes", "due", "log")
    fields: dict[str, Any] = {name: row[name] for name in Claimed.__struct_fields__ if name not in known}
    head = box["head"]
    crashes = row["crashes"] if row["crash_seq"] == head else 0  # a log that has grown since resets the count
    log = tuple(box["log"] or ())
    whole = len(log) == head - row["run_from"] + 1
    return Claimed(
        **fields,
        head=head,
        head_writer=box["head_writer"],
        status=Status(row["status"]),
        crashes=crashes,
        due=row["since"],
        log=log if whole else (),
    )
