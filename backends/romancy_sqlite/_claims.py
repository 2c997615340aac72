"""Claims: ownership of instances, the mail of what a worker owns, and the repairs of a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from romancy.status import Status
from romancy.storage.limits import SHORT_COMMIT_BYTES, SHORT_LOG_COMMITS
from romancy.storage.mail import Waiting, choose_mail, left_out
from romancy.storage.records import Claimed, InboxRow, Mailbox, Work

if TYPE_CHECKING:
    from romancy.storage.records import ClaimRequest
    from romancy_sqlite._connection import Tx

__all__ = ["collect", "is_idle", "take"]


def is_idle(tx: Tx, request: ClaimRequest) -> bool:
    """Whether a claim would change nothing. Looking for work then needs no write."""
    if request.sweep or request.recover:
        return False
    if request.limit <= 0:
        return True
    return tx.row("due", _due(tx, request) | {"limit": 1}) is None


def take(tx: Tx, request: ClaimRequest) -> list[Claimed]:
    """Claim the longest due instances for the worker. With `recover`, also list the instances that it already owns."""
    if tx.row("worker_alive", (request.worker,)) is None:
        return []
    if request.sweep:
        tx.run("sweep_asleep", (tx.now,))
        tx.run("sweep_stranded", (tx.now,))
        tx.run("sweep_parked", _due(tx, request))
    due: dict[str, int] = dict(tx.rows("due", _due(tx, request)))
    mine = [row[0] for row in tx.rows("owned", (request.worker,))] if request.recover else []
    if due:
        tx.many("claim", [(request.worker, instance_id) for instance_id in due])
    return [_claimed(tx, instance_id, due.get(instance_id, 0)) for instance_id in (*mine, *due)]


def _due(tx: Tx, request: ClaimRequest) -> dict[str, Any]:
    return {
        "codes": _json(request.codes),
        "leave": _json(request.leave),
        "now": tx.now,
        "left": tx.now - request.grace,
        "limit": request.limit,
    }


def _claimed(tx: Tx, instance_id: str, due: int) -> Claimed:
    row = tx.rows("claimed", (instance_id,))[0]
    return Claimed(
        instance_id=row[0],
        life=row[1],
        workflow_name=row[2],
        status=Status(row[3]),
        code=row[4],
        run_from=row[5],
        head=row[6],
        signals=row[7],
        seen=row[8],
        crashes=row[9],
        head_writer=row[10],
        due=due,
    )


def collect(tx: Tx, request: ClaimRequest, claimed: list[Claimed]) -> Work:
    """The mail of all instances that the worker owns, and when it can claim next."""
    if tx.row("worker_alive", (request.worker,)) is None:
        return Work(claimed=[], mail=[], now=tx.now)
    fresh = {one.instance_id for one in claimed}
    unknown = fresh | {instance_id for instance_id, signals in request.known.items() if signals < 0}
    kept = {one: number for one, number in request.kept.items() if one not in fresh}
    about = {"worker": request.worker, "unknown": _json(sorted(unknown)), "kept": _json(kept)}
    rows = tx.rows("mailboxes", about)
    chosen, more = choose_mail([Waiting(row[0], row[2], row[3], row[0] in fresh) for row in rows], request)
    known = {row[0]: row for row in rows}
    after = {one: left_out(request, one, known[one][2], fresh=one in fresh) for one in chosen}
    boxes = {
        one: Mailbox(instance_id=one, life=known[one][1], signals=known[one][2], rows=[], after=after[one])
        for one in chosen
    }
    if boxes:
        for row in tx.rows("mail", (_json(after),)):
            boxes[row[0]].rows.append(InboxRow(*row[1:]))
    due = tx.row("next_due", (_json(list(request.codes)),))
    return Work(
        claimed=[_with_short_log(tx, one) for one in claimed],
        mail=[box for box in boxes.values() if box.rows or box.instance_id not in fresh],
        next_due=due[0] if due is not None else None,
        now=tx.now,
        more=more,
    )


def _with_short_log(tx: Tx, claimed: Claimed) -> Claimed:
    commits = claimed.head - claimed.run_from + 1
    if commits > SHORT_LOG_COMMITS:
        return claimed
    where = (claimed.instance_id, claimed.life, claimed.run_from, claimed.head, SHORT_COMMIT_BYTES)
    log = tuple(row[0] for row in tx.rows("short_log", where))
    return msgspec.structs.replace(claimed, log=log) if len(log) == commits else claimed


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
