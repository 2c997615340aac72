"""What the rows of a claim mean, and the mail that comes with it.

How instances are taken is each dialect's own. PostgreSQL looks and takes in one statement. MySQL looks without a lock,
and then reads workflow by workflow. SQLite looks without the lock of its writer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from romancy.status import Status
from romancy.storage.mail import Waiting, choose_mail, left_out
from romancy.storage.records import Claimed, InboxRow, Mailbox

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from romancy.storage.records import ClaimRequest

__all__ = ["Box", "Chosen", "Taken", "chosen_mail", "claimed", "filled", "unknown_and_kept"]


class Taken(NamedTuple):
    """The columns of an instance that now belongs to the worker."""

    instance_id: str
    life: int
    workflow_name: str
    status: str
    code: str
    run_from: int
    head: int
    head_writer: str | None
    signals: int
    seen: int
    crashes: int
    crash_seq: int
    """The head of the log after the last crash. A log that has grown since resets the count."""


class Box(NamedTuple):
    """The counter of an instance's mail and its size, before any message is read."""

    instance_id: str
    life: int
    signals: int
    size: int
    """Bytes, and one more for each message: an empty one counts too."""


def claimed(row: Taken, due: int, log: Sequence[bytes]) -> Claimed:
    """The instance, with the bodies of its log if all of the current run are there."""
    return Claimed(
        instance_id=row.instance_id,
        life=row.life,
        workflow_name=row.workflow_name,
        status=Status(row.status),
        code=row.code,
        run_from=row.run_from,
        head=row.head,
        head_writer=row.head_writer,
        signals=row.signals,
        seen=row.seen,
        crashes=row.crashes if row.crash_seq == row.head else 0,
        due=due,
        log=tuple(log) if len(log) == row.head - row.run_from + 1 else (),
    )


def unknown_and_kept(request: ClaimRequest, fresh: Collection[str]) -> tuple[list[str], dict[str, int]]:
    """The owned instances whose mail the worker does not know, and up to which number it keeps the mail of others.

    What is `fresh` was claimed just now.
    """
    if not (request.known or request.kept):
        return [], {}
    unknown = [one for one, signals in request.known.items() if signals < 0 and one not in fresh]
    return unknown, {one: number for one, number in request.kept.items() if one not in fresh}


class Chosen(NamedTuple):
    """The mailboxes of an answer. Their messages are not read yet."""

    boxes: dict[str, Mailbox]
    wanted: list[tuple[str, int]]
    """The instances whose messages to read, each with the number from behind which: a table for the script `mail`."""
    more: bool
    """Whether there are more mailboxes."""


def chosen_mail(request: ClaimRequest, boxes: Sequence[Box], fresh: Collection[str]) -> Chosen:
    """Mailboxes within bounds."""
    if not boxes:
        return Chosen({}, [], more=False)
    by_id: dict[str, Box] = {}
    waiting: list[Waiting] = []
    for box in boxes:
        by_id[box.instance_id] = box
        waiting.append(Waiting(box.instance_id, box.signals, box.size, box.instance_id in fresh))
    names, more = choose_mail(waiting, request)
    chosen: dict[str, Mailbox] = {}
    wanted: list[tuple[str, int]] = []
    size = 0
    for one in names:
        box = by_id[one]
        size += box.size
        after = left_out(request, one, box.signals, fresh=one in fresh)
        chosen[one] = Mailbox(instance_id=one, life=box.life, signals=box.signals, rows=[], after=after)
        wanted.append((one, after))
    return Chosen(chosen, wanted if size else [], more)


def filled(chosen: Chosen, messages: Iterable[Iterable[Any]], fresh: Collection[str]) -> list[Mailbox]:
    """The mailboxes with these rows of `mail`. Empty ones of instances just claimed are left out."""
    for instance_id, *columns in messages:
        chosen.boxes[instance_id].rows.append(InboxRow(*columns))
    return [box for box in chosen.boxes.values() if box.rows or box.instance_id not in fresh]
