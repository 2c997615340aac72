"""The outbox: messages for the outside, from the commit that decided them until a relay has sent them.

A message is claimed for a time, sent, and settled. A claim is a lease by the database's clock and nothing else: what a
crashed relay had claimed is due again when its lease is over, and no state has to be repaired. Settling names its
claim, so a relay that returns late changes nothing.

**Order.** Messages with the same key are sent one after the other, in the order in which they were inserted (`at`, then
the id). Only the oldest pending message of a key is claimable. A claim that meets the others parks them: they are not
due until the message before them has ended. The claim locks a message and then looks for an older one; settling ends a
message, commits, and then looks for the next one. So of two concurrent calls, the later one sees the effect of the
other, and no message stays parked without a predecessor. A sweep repairs what a crash between a commit and that look
left behind.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from msgspec import Struct

from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = [
    "FINISHED",
    "OUTBOX_NEWS",
    "Consignment",
    "Outbox",
    "OutboxCounts",
    "OutboxEntry",
    "OutboxRow",
    "OutboxState",
    "Settled",
    "candidates",
    "check_finished",
]

OUTBOX_NEWS: Final = "\x00outbox"
"""A marker among the ids of changed instances that means "the outbox has news". No instance has this id."""
_MOST_CANDIDATES: Final = 1000


class OutboxRow(Struct, frozen=True, kw_only=True, gc=False):
    """A message for the outside, recorded with the commit that decided it. `outbox_id` sorts per sender."""

    outbox_id: str
    topic: str
    body: bytes
    key: str | None = None
    """Messages with the same key are sent in order, one at a time. None: in no order."""
    instance_id: str | None = None
    """The instance that sends it. None: a program outside of workflows sends it."""

    @classmethod
    def of(cls, columns: Sequence[Any]) -> OutboxRow:
        """The message of these columns, in the order of the fields."""
        outbox_id, topic, body, key, instance_id = columns
        return cls(outbox_id=outbox_id, topic=topic, body=body, key=key, instance_id=instance_id)


class OutboxState(StrEnum):
    """The state of a message."""

    PENDING = "pending"
    """The message is to be sent: now, at a later time, or after others with its key."""
    PUBLISHED = "published"
    """The receiver has accepted the message."""
    FAILED = "failed"
    """Every attempt failed, and no further attempt follows."""
    INVALID = "invalid"
    """The receiver refused the message for good."""
    EXPIRED = "expired"
    """The message became too old before it was sent."""


FINISHED: Final = frozenset(OutboxState) - {OutboxState.PENDING}


class OutboxEntry(Struct, frozen=True, kw_only=True, gc=False):
    """A message as the outbox holds it."""

    row: OutboxRow
    at: int
    """When it was inserted."""
    queued_at: int
    """When it was queued: at the insertion, or when it was last queued again."""
    state: OutboxState = OutboxState.PENDING
    attempts: int = 0
    """How many attempts to send it have ended."""
    next_at: int | None = None
    """While pending: when it is due, or when the lease of its claim ends. None: it is parked behind another with its
    key.
    """
    claim: str | None = None
    """The last claim that was made on it."""
    error: str | None = None
    """Why the last attempt failed."""
    ended_at: int | None = None

    @classmethod
    def of(cls, columns: Sequence[Any]) -> OutboxEntry:
        """The entry of these columns: those of its message, then the others in the order of the fields."""
        at, queued_at, state, attempts, next_at, claim, error, ended_at = columns[5:]
        return cls(
            row=OutboxRow.of(columns[:5]), at=at, queued_at=queued_at, state=OutboxState(state), attempts=attempts,
            next_at=next_at, claim=claim, error=error, ended_at=ended_at,
        )  # fmt: skip


class Consignment(Struct, frozen=True, kw_only=True):
    """The answer to a claim."""

    entries: list[OutboxEntry]
    now: int
    next_due: int | None = None
    """When the next pending message is due, of those that are not parked."""
    more: bool = False
    """Whether another claim may give something at once."""


class Settled(Struct, frozen=True, kw_only=True, gc=False):
    """The outcome of a claimed message. PENDING: it is due again after `delay` microseconds."""

    outbox_id: str
    claim: str
    state: OutboxState
    delay: int = 0
    error: str | None = None
    counted: bool = True
    """Whether an attempt was made that counts. False for a message that is given back, or has expired, unsent: it keeps
    the error of its last attempt, unless there is a new error.
    """


class OutboxCounts(NamedTuple):
    """How many messages have each state, and when the oldest pending one was inserted.

    If there are more than were counted, it is the oldest of those that were counted.
    """

    states: dict[OutboxState, int]
    oldest: int | None
    now: int


class Outbox(Protocol):
    """The service for the outbox: what relays and operators need. The rules of `romancy.storage.protocol` hold."""

    async def claim(self, claim: str, /, *, lease: int, limit: int) -> Consignment:
        """Claim up to `limit` due messages for `lease` microseconds, the longest due first.

        `claim` is a text that no other claim has. No message is given to two claims whose leases overlap. Of a key,
        only the oldest pending message is given. Messages that another transaction holds are skipped; a message that
        commits late is still given. With nothing due, the call writes nothing.
        """
        ...

    async def sweep(self) -> None:
        """Make the first pending message of each key due if it is parked, as a call that was cut off may leave it."""
        ...

    async def settle(self, batch: Sequence[Settled], /) -> int:
        """Record the outcomes of claimed messages; return how many. Messages with another claim by now are skipped.

        Where a message has ended, the next one of its key is due. The number of round trips does not depend on the
        size of the batch. May be repeated.
        """
        ...

    async def wait(self, timeout: float, /) -> bool:
        """Return when there may be something to claim, or after `timeout` seconds (False).

        Nothing committed after the previous return is missed, where the database pushes or in the same process; else
        the call returns at intervals, shorter ones after news. Needless returns are allowed.
        """
        ...

    async def entries(
        self, states: Collection[OutboxState] = (), /, *, after: tuple[int, str] = (0, ""), limit: int = 100
    ) -> list[OutboxEntry]:
        """A page of the messages in these states (without any: all), by (`at`, id), after that position."""
        ...

    async def counts(self, *, most: int) -> OutboxCounts:
        """How many messages there are in each state, up to `most`.

        It reads no more than about that many entries of an index for each state, and which ones is open.
        """
        ...

    async def requeue(
        self, states: Collection[OutboxState], /, *, outbox_ids: Collection[str] | None = None, limit: int = 1000
    ) -> int:
        """Make up to `limit` finished messages of these states, and of these ids if given, pending and due again.

        Their attempts begin again, and their age counts from now. They keep their ids and their order, and precede the
        pending messages of their keys.
        """
        ...

    async def purge(self, states: Collection[OutboxState], before: int, /, *, limit: int = 1000) -> int:
        """Remove up to `limit` messages that reached one of these states, all finished, before this time.

        Which of too many go first is open.
        """
        ...

    async def read(self, limit: int) -> list[OutboxRow]:
        """The oldest committed pending messages, by id, whether claimed or not."""
        ...

    async def remove(self, outbox_ids: Sequence[str]) -> int:
        """Remove messages, whatever their state, and return how many were there."""
        ...


def candidates(limit: int) -> int:
    """How many due messages a claim looks at to give `limit`: some may have to be parked."""
    return min(limit * 4 + 64, _MOST_CANDIDATES)


def check_finished(states: Collection[OutboxState]) -> list[str]:
    """The names of finished states. `UsageError` for PENDING."""
    if not FINISHED.issuperset(states):
        raise UsageError(
            "a pending message is sent or expires; only what is published, failed, invalid or expired goes"
        )
    return sorted(state.value for state in set(states))
