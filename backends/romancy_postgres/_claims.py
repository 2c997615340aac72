"""Claims: who gets which instance, the mail of what a worker owns, and the repairs of a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.status import Status
from romancy.storage.records import Claimed, InboxRow, Mailbox, Work

if TYPE_CHECKING:
    import asyncpg

    from romancy.storage.records import ClaimRequest
    from romancy_postgres._database import Database
    from romancy_postgres._signals import Signals

__all__ = ["claim"]


async def claim(database: Database, signals: Signals, request: ClaimRequest) -> Work:
    """As `Store.claim` promises: one statement while there is nothing to do, two when there is."""
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
    heads: dict[str, int] = {}
    mail: list[Mailbox] = []
    if given or head["mail"]:
        heads, mail = await _mail(database, request.worker, [row["instance_id"] for row in given])
    claimed = [_claimed(row, heads[row["instance_id"]]) for row in given if row["instance_id"] in heads]
    return Work(claimed=claimed, mail=mail, next_due=head["next_due"], now=head["now"])


async def _sweep(database: Database, signals: Signals, worker: str, names: list[str], codes: list[str]) -> None:
    counted = await database.fetch("sweep_mail", worker)
    woken = await database.fetch("sweep_asleep", worker, names, codes)
    signals.tell({row[0] for row in (*counted, *woken)})


async def _mail(database: Database, worker: str, fresh: list[str]) -> tuple[dict[str, int], list[Mailbox]]:
    """The heads of the logs of fresh instances, and all mailboxes to be given out."""
    heads: dict[str, int] = {}
    boxes: dict[str, Mailbox] = {}
    for row in await database.fetch("mail", worker, fresh):
        instance_id = row["instance_id"]
        if row["fresh"]:
            heads[instance_id] = row["head"]
        empty = row["delivery_id"] is None
        if empty and row["fresh"]:
            continue
        if instance_id not in boxes:
            boxes[instance_id] = Mailbox(instance_id=instance_id, life=row["life"], signals=row["signals"], rows=[])
        if not empty:
            boxes[instance_id].rows.append(InboxRow(row["delivery_id"], row["body"], row["at"]))
    return heads, list(boxes.values())


def _claimed(row: asyncpg.Record, head: int) -> Claimed:
    known = ("head", "status", "crashes")
    fields: dict[str, Any] = {name: row[name] for name in Claimed.__struct_fields__ if name not in known}
    crashes = row["crashes"] if row["crash_seq"] == head else 0  # what was written since takes the suspicion away
    return Claimed(**fields, head=head, status=Status(row["status"]), crashes=crashes)
