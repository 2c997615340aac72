"""The service for transactions: those that a store begins for user code, and those of callers, in which it joins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from romancy.errors import StorageUnavailableError
    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.outbox import OutboxRow
    from romancy.storage.records import Delivered, Delivery, Item, Outcome
    from romancy.storage.routing import Posting

__all__ = ["JoinedSession", "Sessions", "StoreSession"]


class StoreSession(Protocol):
    """A user's transaction, which Romancy ends: the user's writes and one append commit together.

    Leaving the `async with` without `commit` rolls everything back. The user cannot end the transaction. If it was
    ended nevertheless (a stray COMMIT, DDL where DDL commits, a swallowed deadlock), `commit` raises `UsageError` and
    writes no log row.
    """

    @property
    def native(self) -> Any:
        """The driver's own object, inside the transaction. Its commit, rollback and close raise `UsageError`."""
        ...

    @property
    def excluding(self) -> bool:
        """Whether every other writer waits for this session's end (`Capabilities.sessions_exclude`) now.

        False from the moment when the end begins, and in databases where sessions exclude nobody.
        """
        ...

    @property
    def renewed(self) -> bool | None:
        """Where sessions exclude: whether the end of this one renewed its worker's lease. None before the end."""
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

        In a joined session the item is written into the caller's transaction and nothing is
        committed. A refusal leaves the transaction as it was before the call. Affected waiters are woken after the
        caller's commit, at the latest by the safety look of `wait_for_work`.

        `OutcomeUnknownError`: the answer to COMMIT was lost. The caller settles it by appending a row of its own at the
        same seq. If that is accepted, this session never happened.
        """
        ...


class JoinedSession(StoreSession, Protocol):
    """A part in a transaction that a caller has begun and ends. Romancy only writes in it."""

    async def send(
        self,
        deliveries: Sequence[Delivery] = (),
        outbox: Sequence[OutboxRow] = (),
        postings: Sequence[Posting] = (),
        /,
    ) -> list[Delivered]:
        """Write messages for inboxes, the outside and addresses in the caller's transaction.

        Returns one answer for each delivery, in order, as that transaction sees the instances, and then one for each
        posting, as `Router.post` does. A message that is not ACCEPTED wrote nothing. No instance's row stays locked
        until the caller commits. An instance that ends before that leaves its message unread. The counter that wakes
        the owner moves after the commit, at the latest with the next sweep. Postings are dispatched after the commit,
        by a process that knows of it, or by a sweep.
        """
        ...


class Sessions(Protocol):
    """Without this service, a store has no transactional activities, and callers cannot give their transactions."""

    def begin(self, *, isolation: IsolationLevel | None = None) -> AbstractAsyncContextManager[StoreSession]:
        """Begin a transaction for user code.

        The user's statements run at `isolation` or a stronger level; `UsageError` before anything is begun if the
        database has none. What `commit` writes is decided by the present rows, not by those of the user's snapshot: if
        these are in its way, it raises `StorageUnavailableError`, and another session succeeds.
        """
        ...

    def join(self, transaction: object, /) -> AbstractAsyncContextManager[JoinedSession]:
        """Take part in a transaction that the caller already has. It keeps its isolation level.

        `UsageError` before anything is written if the object is of the wrong kind, is in no transaction, or belongs to
        another database.
        """
        ...
