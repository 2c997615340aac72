"""The storage protocol: thirteen methods and a session, each documented by its promise.

A store knows nothing of workflows. It keeps logs, instance rows, inboxes and worker rows, and it is the only
judge of who may write: **a log row is accepted only if its `(instance_id, life, seq)` is free, the row before is the
one that the writer knows and no end, and the writer's worker row is alive, all decided by the statement that writes
it.**
Everything else here follows from that.

What holds for every method:

- *Failure.* `StorageUnavailableError` means the outcome is unknown or nothing happened; the call may be repeated
  with the same arguments, and every method is built so that repeating it is safe. Deadlocks, lock time-outs and
  serialisation failures are retried inside, with bounded, jittered tries, and never reach the caller as errors.
  `StorageConfigurationError` will not go away by trying again. Any other exception is a bug in the store.
- *Cancellation.* A cancelled call leaves no transaction open and no connection in doubt behind.
- *Time* is the database's. A worker's clock never decides anything.
- *Order of locks*, in every transaction: log keys by `(instance_id, life, seq)`, then instances by id, then inbox,
  outbox and the rest. Lock waits are about a second; what could not be locked is left for the next call.
- *Text.* Ids compare byte for byte; bodies come back as the bytes that were given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from contextlib import AbstractAsyncContextManager

    from romancy.errors import StorageUnavailableError
    from romancy.status import Status
    from romancy.storage.query import Query
    from romancy.storage.records import (
        Capabilities,
        Census,
        ClaimRequest,
        Delivered,
        Delivery,
        History,
        Item,
        OutboxRow,
        Outcome,
        Page,
        Peer,
        PruneRequest,
        Pulse,
        Takeover,
        Work,
        Worker,
    )

__all__ = ["Gate", "Outbox", "Session", "Store"]


class Gate(Protocol):
    """For tests alone: lets one store's transactions be held open between any two of their statements."""

    async def __call__(self, statement: str, /) -> None:
        """Awaited before each statement sent to the database (COMMIT included), with a name for it."""
        ...


class Session(Protocol):
    """A transaction of the user's, which Romancy ends: the user's writes and one append commit together.

    Leaving the `async with` without `commit` rolls everything back. The user cannot end the transaction: if it was
    ended behind our back (a stray COMMIT, DDL where DDL commits, a swallowed deadlock), `commit` raises `UsageError`
    and writes no log row.
    """

    @property
    def native(self) -> Any:
        """The driver's own object, inside the transaction; its commit, rollback and close raise `UsageError`."""
        ...

    async def execute(self, sql: str, *parameters: object) -> int:
        """Run one statement of the user's, with the driver's placeholders; the number of rows it touched."""
        ...

    async def fetch_all(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        """Run one query of the user's; all its rows, by column name."""
        ...

    def excuse(self, error: Exception, /) -> StorageUnavailableError | None:
        """What `execute` would have raised for an error of the native object's that is nobody's fault; else None.

        A deadlock, a lock that was waited for in vain, a lost connection, a database that takes no writes now: the
        attempt is made again and charged to nobody. Asked before the session is left, about whatever came out of user
        code. None for what was raised elsewhere, and in a joined session, whose owner sees to its errors.
        """
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """A part that can fail alone: an exception inside undoes the part and goes on to the caller."""
        ...

    async def commit(self, item: Item, /, *, worker: str | None = None) -> Outcome:
        """Write the item and commit everything, or roll everything back and say why.

        In a joined session (`Store.session(join=…)`) the item is written into the caller's transaction and nothing
        is committed; a refusal leaves the transaction as it was before the call. Whom it concerns is woken once the
        caller has committed, by the safety look of `wait_for_work` at the latest.
        `OutcomeUnknownError`: the answer to COMMIT was lost. The caller settles it by appending something of its
        own at the same seq: if that is accepted, this session never happened.
        """
        ...

    async def send(self, deliveries: Sequence[Delivery] = (), outbox: Sequence[OutboxRow] = (), /) -> list[Delivered]:
        """In a joined session: messages for inboxes and for the outside, in the caller's transaction.

        One answer per delivery, in order, as that transaction sees the instances; what is not ACCEPTED wrote nothing.
        No instance's row stays locked until the caller commits. So an instance that ends before leaves its message
        unread; and the counter that makes the owner look moves after the commit, with the next sweep at the latest.
        `UsageError` in a session that is not joined.
        """
        ...

    async def clear(self, instance_id: str, life: int, statuses: Collection[Status], /) -> bool:
        """In a joined session: remove this life of an instance with everything that bears its id.

        False, and nothing is removed, unless it is there, has ended and shows one of these statuses. The id is free for
        a start in the same transaction; everybody else sees the instance until the caller commits, and waits for that
        to write to it. `StorageUnavailableError` if another transaction holds the instance: roll back, and try again.
        `UsageError` in a session that is not joined.
        """
        ...


class Outbox(Protocol):
    """The second, smaller protocol: what a relay needs to publish rows at least once and forget them."""

    async def read(self, limit: int) -> list[OutboxRow]:
        """The oldest committed rows, in the order of each sender. A row committed late is still seen."""
        ...

    async def remove(self, outbox_ids: Sequence[str]) -> int:
        """Forget published rows; how many were still there."""
        ...


class Store(Protocol):
    """A database seen by the engine. Safe for concurrent use by the tasks of one event loop."""

    gate: Gate | None
    """None in use. A store awaits it before every statement, so that the contract suite can play every interleaving
    of two transactions; one that works off the event loop (a thread) awaits it before handing a statement over."""

    @property
    def capabilities(self) -> Capabilities:
        """What this database is and what it can do; valid after `open`."""
        ...

    @property
    def outbox(self) -> Outbox:
        """The relay's side of the outbox."""
        ...

    async def open(self, *, migrate: bool = True) -> None:
        """Connect, check the server, and bring the schema up to date.

        Any number of processes may do this at once on an empty or an old database. `SchemaVersionError` if the
        schema is newer than this code, or older and `migrate` is False.
        """
        ...

    async def close(self) -> None:
        """Give everything back. Calls in flight fail with `StorageUnavailableError`; closing twice is allowed."""
        ...

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        """Write each item wholly or not at all; one outcome per item, in order.

        Items do not affect each other: a refused one leaves its neighbours' fate untouched, and one that somebody
        else's open transaction holds up comes back as LOCKED after a second or two, its neighbours as what they are.
        An instance appears at most once in a batch (else `InternalError`, nothing written), and all Appends are by
        `worker`.
        An item sent again (same nonce) after an unknown outcome is ACCEPTED if any copy of it is in, once.
        The number of round trips does not depend on the number of items; a batch of plain appends is one statement.
        Sizes are checked before anything is written (`PayloadTooLargeError`).
        Those who wait in `wait_for_work` anywhere are woken for what became due, got mail, ended or is stuck, and for
        nothing else: steps and starts that their owner goes on with concern nobody.
        """
        ...

    async def read(self, instance_id: str, /, *, after: int = 0, limit: int = 1000) -> History | None:
        """The instance and up to `limit` rows of its current life with a seq over `after`; None: no such instance.

        A page may be cut earlier to stay within a few megabytes. `limit=0` reads the instance's row alone.
        """
        ...

    async def claim(self, request: ClaimRequest, /) -> Work:
        """Take ownership of due instances, longest due first, and collect the mail of those already owned.

        No instance is ever given to two workers. A dead worker gets nothing. Rows locked by others are skipped.
        """
        ...

    async def heartbeat(self, worker: Worker, /, *, leaving: bool = False) -> Pulse:
        """Show that this worker lives, registering it the first time, and see the others.

        `leaving` marks it dead by its own wish: it must own nothing that it still works on.
        A worker that was declared dead stays dead: `alive` is False for ever.
        """
        ...

    async def census(self) -> Census:
        """The workers as they stand now. Registers nobody and writes nothing."""
        ...

    async def takeover(self, worker: str, dead: Peer, body: bytes, writer: str, /, *, limit: int = 100) -> Takeover:
        """Declare `dead` dead and free up to `limit` of its instances, each with `body` appended to its log.

        Refused, with nothing written, if its beat is no longer `dead.beat` (it lives) or if `worker` itself is not
        alive. An instance moves only in the transaction in which its log row was accepted; then it is due at once
        for any worker. What is locked stays for the next call (`left`).
        """
        ...

    async def deliver(self, batch: Sequence[Delivery], /) -> list[Delivered]:
        """Put each message into its instance's inbox and make the instance due; one answer per message, in order.

        Exactly one copy of a delivery id is ever accepted while its row or its dedupe key is remembered. An accepted
        message is seen by the owner, or by the next one, whatever happens to run at the same time.

        `StorageUnavailableError` within a few seconds if another transaction holds an instance: its messages are not
        in, those of the others may be. Send the batch again.
        """
        ...

    async def find(self, query: Query, /) -> Page:
        """A page of instances, newest first, exactly as section "Finding instances" of the manual defines it.

        Page by page an instance that is there and fits all the while comes exactly once, whatever is inserted, changed
        and removed meanwhile, and also while it goes from one status asked for to another. One that begins or ceases
        to fit on the way comes once or not at all.
        """
        ...

    def session(self, *, join: object | None = None) -> AbstractAsyncContextManager[Session]:
        """Begin a transaction for user code; with `join`, take part in one that the caller already has.

        `UsageError` before anything is written if what is to be joined is of the wrong kind, is in no transaction,
        or belongs to another database.
        """
        ...

    async def wait_for_work(self, timeout: float, /) -> frozenset[str] | None:
        """Return when instances may have become due, got mail, ended or be stuck, or after `timeout` seconds.

        The ids concerned if they are known, None for "look everywhere", an empty set after the time-out. Nothing
        committed after the previous return is missed; hearing of something twice or in vain is allowed.
        """
        ...

    async def prune(self, request: PruneRequest, /) -> int:
        """Remove up to `limit` ended instances with everything that bears their id, in one transaction; how many.

        Also drops rows of finished runs, dead workers that own nothing, and, in transactions of some thousand at most,
        forgotten dedupe keys.
        """
        ...
