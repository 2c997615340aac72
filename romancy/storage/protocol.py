"""The storage protocol: fourteen methods, the session that one of them opens, and two rooms, outbox and router.

Each method is documented by its promise.

A store knows nothing of workflows. It keeps logs, instance rows, inboxes and worker rows, and it alone decides who may
write: **a log row is accepted only if its `(instance_id, life, seq)` is free, the row before is the one that the writer
knows and not an end, and the writer's worker row is alive. The statement that writes the row decides all of this.**
Everything else here follows from this rule.

Rules for every method:

- *Failure.* `StorageUnavailableError` means that the outcome is unknown or that nothing happened. The call may be
  repeated with the same arguments; every method makes repeating safe. The store retries deadlocks, lock time-outs and
  serialisation failures itself, with a bounded number of jittered tries; they never reach the caller as errors.
  `StorageConfigurationError` will not go away by trying again. Any other exception is a bug in the store.
- *Cancellation.* A cancelled call leaves no transaction open and no connection in doubt.
- *Time* is the database's. A worker's clock never decides anything.
- *Order of locks*, in every transaction: log keys by `(instance_id, life, seq)`, then instances by id, then inbox,
  outbox, addresses, interests, messages and the rest. Lock waits last about a second; rows that could not be locked are
  left for the next call.
- *Text.* Ids compare byte for byte. Bodies come back as the bytes that were given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from contextlib import AbstractAsyncContextManager

    from romancy.errors import StorageUnavailableError
    from romancy.status import Status
    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.outbox import Outbox
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
    from romancy.storage.routing import Posting, Router

__all__ = ["Session", "Store"]


class Session(Protocol):
    """A user's transaction, which Romancy ends: the user's writes and one append commit together.

    Leaving the `async with` without `commit` rolls everything back. The user cannot end the transaction. If it was
    ended nevertheless (a stray COMMIT, DDL where DDL commits, a swallowed deadlock), `commit` raises `UsageError` and
    writes no log row.
    """

    @property
    def native(self) -> Any:
        """The driver's own object, inside the transaction. Its commit, rollback and close raise `UsageError`."""
        ...

    async def execute(self, sql: str, *parameters: object) -> int:
        """Run one statement of the user's, with the driver's placeholders, and return how many rows it touched."""
        ...

    async def fetch_all(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        """Run one query of the user's and return all its rows, by column name."""
        ...

    def excuse(self, error: Exception, /) -> StorageUnavailableError | None:
        """The error that `execute` would have raised for a transient failure of the native object; else None.

        Transient failures are a deadlock, a lock wait that timed out, a lost connection, and a database that takes no
        writes now. The attempt is repeated and does not count as failed. The engine asks before it leaves the session,
        about any error from user code. None for errors raised elsewhere, and in a joined session, whose owner handles
        its errors.
        """
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """A part that can fail alone: an exception inside undoes the part and reaches the caller."""
        ...

    async def commit(self, item: Item, /, *, worker: str | None = None) -> Outcome:
        """Write the item and commit everything, or roll everything back and return the reason.

        In a joined session (`Store.session(join=…)`) the item is written into the caller's transaction and nothing is
        committed. A refusal leaves the transaction as it was before the call. Affected waiters are woken after the
        caller's commit, at the latest by the safety look of `wait_for_work`.

        `OutcomeUnknownError`: the answer to COMMIT was lost. The caller settles it by appending a row of its own at the
        same seq. If that is accepted, this session never happened.
        """
        ...

    async def send(
        self,
        deliveries: Sequence[Delivery] = (),
        outbox: Sequence[OutboxRow] = (),
        postings: Sequence[Posting] = (),
        /,
    ) -> list[Delivered]:
        """In a joined session: write messages for inboxes, the outside and addresses in the caller's transaction.

        Returns one answer for each delivery, in order, as that transaction sees the instances, and then one for each
        posting, as `Router.post` does. A message that is not ACCEPTED wrote nothing. No instance's row stays locked
        until the caller commits. An instance that ends before that leaves its message unread. The counter that wakes
        the owner moves after the commit, at the latest with the next sweep. Postings are dispatched after the commit,
        by a process that knows of it, or by a sweep. `UsageError` in a session that is not joined.
        """
        ...

    async def clear(self, instance_id: str, life: int, statuses: Collection[Status], /) -> bool:
        """In a joined session: remove this life of an instance with all data under its id.

        Returns False and removes nothing unless the instance exists, has ended and has one of these statuses. The id is
        then free for a start in the same transaction. Others see the instance until the caller commits, and wait for
        the commit before they write to it. `StorageUnavailableError` if another transaction holds the instance: roll
        back, and try again. `UsageError` in a session that is not joined.
        """
        ...


class Store(Protocol):
    """A database as the engine sees it. The tasks of one event loop may use it concurrently."""

    @property
    def capabilities(self) -> Capabilities:
        """What this database is and what it can do. Valid after `open`."""
        ...

    @property
    def outbox(self) -> Outbox:
        """The relay's side of the outbox."""
        ...

    @property
    def router(self) -> Router:
        """The routing of messages that are not addressed to one instance."""
        ...

    async def open(self, *, migrate: bool = True) -> None:
        """Connect, check the server, and bring the schema up to date.

        Any number of processes may do this at once on an empty or an old database. `SchemaVersionError` if the schema
        is older and `migrate` is False, or newer and something that this code does not know there is not additive
        (`romancy/storage/schema.py`).
        """
        ...

    async def close(self) -> None:
        """Release everything. Calls in flight fail with `StorageUnavailableError`. Closing twice is allowed."""
        ...

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        """Write each item wholly or not at all; one outcome per item, in order.

        Items do not affect each other. A refused item leaves its neighbours' outcomes unchanged. An item held up by
        another open transaction comes back as LOCKED after a second or two, its neighbours with their own outcomes. An
        instance appears at most once in a batch (else `InternalError`, nothing written), and all Steps and Appends are
        by `worker`. An item sent again (same nonce) after an unknown outcome is ACCEPTED if any copy of it is in, once.
        The number of round trips does not depend on the number of items. A batch of Steps is one statement, and a Step
        means what an Append without effects means (`romancy.storage.steps`).
        Of several reasons to refuse an item, `romancy.storage.verdicts` says which is the answer. Of a Step: TAKEN,
        DEAD, LOST (ENDED behind an end). Of an Append: the same, then EXISTS, those of its change (GONE, ENDED,
        UNSEEN), and GONE for a row to be consumed. Of a Start: EXISTS, then DEAD. A child that cannot be started, be it
        for its dead owner, is EXISTS for its parent; one that an earlier copy of the very start has begun is none. Only
        a change is held against the row of its instance. A message that is listed twice is consumed once. INVALID and
        LOCKED have no place in this order. If a reason has gone when the store looks for it, the store writes again or
        answers LOCKED, and a session raises `StorageUnavailableError`. DEAD is never said of a worker that is alive.
        Sizes are checked before anything is written (`PayloadTooLargeError`). Callers in `wait_for_work` anywhere are
        woken for instances that became due, got mail, ended or are stuck, and for nothing else: steps, and starts that
        their owner continues, wake no caller.
        """
        ...

    async def read(self, instance_id: str, /, *, after: int = 0, limit: int = 1000) -> History | None:
        """The instance and up to `limit` rows of its current life with a seq over `after`. None: no such instance.

        A page may be cut earlier to stay within a few megabytes. `limit=0` reads only the instance's row, and `more` is
        then False.
        """
        ...

    async def claim(self, request: ClaimRequest, /) -> Work:
        """Take ownership of due instances, longest due first, and collect the mail of those already owned.

        No instance is ever given to two workers. Of those that fell due together, any come first. A dead worker gets
        nothing: no instance, nothing that it owns, and no mail. Rows locked by others are skipped.
        """
        ...

    async def heartbeat(self, worker: Worker, /, *, leaving: bool = False) -> Pulse:
        """Show that this worker is alive, registering it the first time, and list the others.

        A store that tells callers of `wait_for_work` which instances changed tells them `WORKER_NEWS` with the token,
        after the first heartbeat of a worker that knows workflows.

        `leaving` marks the worker dead at its own wish: it must not work on anything that it owns. A worker that was
        declared dead stays dead: `alive` is False for ever, from this store also when `prune` has removed its row.
        """
        ...

    async def census(self) -> Census:
        """The workers as they are now. Registers no worker and writes nothing."""
        ...

    async def takeover(self, worker: str, dead: Peer, body: bytes, writer: str, /, *, limit: int = 100) -> Takeover:
        """Declare `dead` dead and free up to `limit` of its instances, each with `body` appended to its log.

        Refused, with nothing written, if its beat is no longer `dead.beat` (it is alive) or if `worker` itself is not
        alive. An instance moves only in the transaction in which its log row was accepted; then it is due at once for
        any worker, with the status that it had, and `last_seq` is the seq of that row. Which of too many move first is
        open. Locked instances are left for the next call (`left`).
        """
        ...

    async def deliver(self, batch: Sequence[Delivery], /) -> list[Delivered]:
        """Put each message into its instance's inbox and make the instance due; one answer per message, in order.

        Exactly one copy of a delivery id is ever accepted while its row or its dedupe key is remembered. The present or
        the next owner sees an accepted message, whatever else runs at the same time.

        `StorageUnavailableError` within a few seconds if another transaction holds an instance: the messages of that
        instance were not delivered, those of others may have been. Send the batch again.
        """
        ...

    async def find(self, query: Query, /) -> Page:
        """A page of instances, exactly as section "Finding instances" of the manual defines it.

        The newest come first, or the oldest if the query says so. A page continues behind a place in this order.

        Over all pages, an instance that exists and matches throughout comes exactly once, whatever is inserted, changed
        and removed in the meantime, and also if it moves between two statuses asked for. An instance that begins or
        ceases to match during the search comes once or not at all.
        """
        ...

    async def count(self, query: Query, /) -> dict[tuple[str, Status], int]:
        """How many instances `find` would return on all its pages together, by workflow and status; no zeros.

        One statement counts them in the database, as of one moment. The limit, the order and the place of the query
        are those of a first page.
        """
        ...

    def session(
        self, *, join: object | None = None, isolation: IsolationLevel | None = None
    ) -> AbstractAsyncContextManager[Session]:
        """Begin a transaction for user code. With `join`, take part in one that the caller already has.

        The user's statements run at `isolation` or a stronger level; `UsageError` before anything is begun if the
        database has none. What `commit` writes is decided by the present rows, not by those of the user's snapshot: if
        these are in its way, it raises `StorageUnavailableError`, and another session succeeds. A joined session keeps
        the level of its caller.

        `UsageError` before anything is written if the object to join is of the wrong kind, is in no transaction, or
        belongs to another database.
        """
        ...

    async def wait_for_work(self, timeout: float, /) -> frozenset[str] | None:
        """Return when instances may have become due, got mail, ended or become stuck, or after `timeout` seconds.

        Returns the ids concerned if they are known, None for "look everywhere", or an empty set after the time-out.
        Marks may be among the ids (`romancy.storage.marks`).
        Nothing committed after the previous return is missed. Repeated and needless wake-ups are allowed.
        """
        ...

    async def prune(self, request: PruneRequest, /) -> int:
        """Remove up to `limit` ended instances with all data under their ids in one transaction; return how many.

        Instances whose rows others have locked are left for the next call.
        Also removes rows of finished runs (those of at least `limit` instances), dead workers that own nothing, and, in
        transactions of at most some thousand, old dedupe keys. Which of too many go first is open. A dead worker's row
        may stay until no claim of its can still commit.
        """
        ...
