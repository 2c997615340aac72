"""The storage protocol: the twelve members that every store has. What else it offers is in its services.

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

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import (
        Capabilities,
        ClaimRequest,
        Delivered,
        Delivery,
        History,
        Item,
        Outcome,
        Peer,
        Pulse,
        Takeover,
        Work,
        Worker,
    )
    from romancy.storage.services import Services

__all__ = ["Store"]


class Store(Protocol):
    """A database as the engine sees it. The tasks of one event loop may use it concurrently."""

    @property
    def capabilities(self) -> Capabilities:
        """What this database is and what it can do. Valid after `open`."""
        ...

    @property
    def services(self) -> Services:
        """What this store offers beside these members: the same object from the beginning to the end."""
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
        instance appears at most once in a batch (else `InternalError`, nothing written), and all items but first
        appends are by `worker`. An item sent again (same nonce) after an unknown outcome is ACCEPTED if any copy of it
        is in, once. The number of round trips does not depend on the number of items. A batch of Steps is one
        statement, and a Step means what an Append without effects means (`romancy.storage.steps`).
        Of several reasons to refuse an item, `romancy.storage.verdicts` says which is the answer. Of a Step: TAKEN,
        DEAD, LOST (ENDED behind an end). Of an Append: the same, then EXISTS, those of its change (GONE, ENDED, UNSEEN,
        OWNED), and GONE for a row to be consumed. Of a first append, which creates its instance: EXISTS for its id, or
        for the life that it replaces; DEAD for its owner, if it names one; then EXISTS for a child. A child whose id is
        taken is EXISTS for its parent; one that an earlier copy of the very start has begun is not. Only a later change
        is held against the row of its instance. A message that is listed twice is consumed once. INVALID and
        LOCKED have no place in this order. If a reason has gone when the store looks for it, the store writes again or
        answers LOCKED, and a session raises `StorageUnavailableError`. DEAD is never said of a worker that is alive.
        Sizes are checked before anything is written (`PayloadTooLargeError`). Callers in `wait_for_work` anywhere are
        woken for instances that became due, got mail, ended or are stuck, and for nothing else: steps, and first
        appends whose worker keeps the instance, wake no caller.
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

    async def heartbeat(self, worker: Worker, /) -> Pulse:
        """Show that this worker is alive, registering it the first time, and list the others.

        A store that tells callers of `wait_for_work` which instances changed tells them `WORKER_NEWS` with the token,
        after the first heartbeat of a worker that knows workflows.

        A worker that was declared dead stays dead: `alive` is False for ever, from this store also when `prune` has
        removed its row.
        """
        ...

    async def leave(self, worker: Worker, /) -> None:
        """Mark this worker dead at its own wish: it must not work on anything that it owns."""
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

        Exactly one copy of a delivery id is ever accepted while its row is there, or while the present life of the
        instance remembers its dedupe key. The present or the next owner sees an accepted message, whatever else runs at
        the same time.

        `StorageUnavailableError` within a few seconds if another transaction holds an instance: the messages of that
        instance were not delivered, those of others may have been. Send the batch again.
        """
        ...

    async def wait_for_work(self, timeout: float, /) -> frozenset[str] | None:
        """Return when instances may have become due, got mail, ended or become stuck, or after `timeout` seconds.

        Returns the ids concerned if they are known, None for "look everywhere", or an empty set after the time-out.
        Marks may be among the ids (`romancy.storage.marks`).
        Nothing committed after the previous return is missed. Repeated and needless wake-ups are allowed.
        """
        ...
