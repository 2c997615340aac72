"""The rows of the in-memory store, and how an append or a delivery changes an instance's row."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.mail import UNCOUNTED
from romancy.storage.records import Append, Change, InboxRow, InstanceRow, Start, Worker
from romancy.storage.routing import InterestKind, KeptMessage, Letter, Spread

__all__ = [
    "Instance",
    "InterestRow",
    "LetterRow",
    "Numbered",
    "Posted",
    "WorkerRow",
    "after_change",
    "after_delivery",
    "after_takeover",
    "started",
]


class Instance(InstanceRow, frozen=True, kw_only=True):
    """An instance's row with the columns that only the store reads."""

    projection: bytes | None = None
    index: tuple[tuple[str, str | None], ...] = ()
    refused: frozenset[str] = frozenset()
    crashes: int = 0
    crash_seq: int = 0

    @property
    def claimable_ever(self) -> bool:
        """Whether the instance can still be claimed: it has not ended and is not stuck."""
        return self.status not in TERMINAL_STATUSES and self.status is not Status.STUCK

    def public(self) -> InstanceRow:
        """The part of the row that leaves the store."""
        return InstanceRow(**{name: getattr(self, name) for name in InstanceRow.__struct_fields__})


class Numbered(Struct, frozen=True):
    """A message with its number: its instance's counter at the time it was counted."""

    row: InboxRow
    number: int = UNCOUNTED
    spread: Spread | None = None
    """If it was taken: the posted message, which may have to go back to its address."""
    projection: bytes | None = None


class Posted(Struct, frozen=True):
    """A message at an address."""

    kept: KeptMessage
    projection: bytes | None


class InterestRow(Struct, frozen=True):
    """An interest, under the key of its owner and its id."""

    address: str
    kind: InterestKind
    where: bytes | None
    at: int


class LetterRow(Struct, frozen=True):
    """A letter, under the key of its subscriber and its id."""

    letter: Letter
    taken: KeptMessage | None
    """If it was taken: the message that may have to go back."""
    projection: bytes | None


class WorkerRow(Struct, frozen=True, kw_only=True):
    """A worker's row."""

    worker: Worker
    beat: int
    dead: bool
    started_at: int
    beat_at: int = 0


def started(start: Start, now: int) -> Instance:
    """The row of a new instance."""
    return Instance(
        instance_id=start.instance_id,
        life=start.life,
        workflow_name=start.workflow_name,
        status=start.status,
        code=start.code,
        created_at=now,
        updated_at=now,
        input=start.input,
        owner=start.owner,
        wake_at=None if start.owner is not None or start.delay is None else now + start.delay,
        error=start.error,
        parent=start.parent,
        projection=start.projection,
        index=start.index,
    )


def after_change(row: Instance, item: Append, change: Change, now: int) -> Instance:
    """The row after an accepted append. The counter alone decides whether a released instance may sleep."""
    releases = change.release or change.status in TERMINAL_STATUSES or change.status is Status.STUCK
    wake_at = None
    if change.release and change.status not in TERMINAL_STATUSES and change.status is not Status.STUCK:
        wake_at = change.wake_at if row.signals == change.seen else now
    changed = replace(
        row,
        status=change.status,
        seen=change.seen,
        owner=None if releases else row.owner,
        wake_at=wake_at,
        error=change.error,
        updated_at=now,
        last_seq=item.seq,
        code=change.code if change.code is not None else row.code,
        refused=_refused(row, change),
    )
    if change.run_from is None:
        return changed
    return replace(
        changed,
        run_from=change.run_from,
        input=change.input if change.input is not None else row.input,
        projection=change.projection,
        index=change.index if change.index is not None else row.index,
    )


def _refused(row: Instance, change: Change) -> frozenset[str]:
    before = frozenset[str]() if change.forgive else row.refused
    return before if change.refused_by is None else before | {change.refused_by}


def after_delivery(row: Instance, now: int, count: int = 1) -> Instance:
    """The row after a delivery: the counter moves, and a sleeping instance is due. A due one keeps its place."""
    due = now if row.wake_at is None else min(row.wake_at, now)
    sleeps = row.owner is None and row.claimable_ever
    return replace(row, signals=row.signals + count, wake_at=due if sleeps else row.wake_at)


def after_takeover(row: Instance, head: int, now: int) -> Instance:
    """The row of an instance freed from a dead worker, with the new `OwnerChanged` at log position `head`."""
    idle = row.crash_seq == head - 1
    crashes = row.crashes + 1 if idle else 1
    return replace(row, owner=None, wake_at=now, crashes=crashes, crash_seq=head, last_seq=head, updated_at=now)
