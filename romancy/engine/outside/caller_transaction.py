"""Starts and sends inside a transaction that the caller holds and ends.

Nothing here is queued for the log writer. It is written when the call returns, and durable when the caller commits.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy.engine.outside.calls_in_sessions import note_start
from romancy.errors import StorageUnavailableError, UsageError
from romancy.session import Session
from romancy.storage.joining import Joined, joined
from romancy.storage.records import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, Delivered, Delivery, Former, OutboxRow
    from romancy.storage.routing import Posting

__all__ = ["send_in", "start_alone", "start_in"]


async def start_in(transaction: object, store: Store, start: Append, *, former: Former | None = None) -> Outcome:
    """Write the start into the transaction. Any worker may continue it once the transaction is committed.

    Returns EXISTS if the id is taken, or if the ended life that the start should replace is not there. Raises
    UsageError, with nothing written, if the transaction is not one of this store's database.
    """
    native = await _native(transaction)
    async with _alone(transaction, native), store.services.sessions.join(native) as session:
        outcome = await session.commit(_instead_of(start, former))
    if outcome is Outcome.ACCEPTED:
        note_start(native.connection if isinstance(native, Joined) else native, start.instance_id)
    return outcome


def _instead_of(start: Append, former: Former | None) -> Append:
    """The start, in the place of an ended life."""
    create = start.create
    return start if former is None or create is None else replace(start, create=replace(create, replaces=former))


async def send_in(
    transaction: object,
    store: Store,
    deliveries: Sequence[Delivery] = (),
    outbox: Sequence[OutboxRow] = (),
    postings: Sequence[Posting] = (),
) -> list[Delivered]:
    """Write messages into the transaction. Raises UsageError as `start_in` does."""
    native = await _native(transaction)
    async with _alone(transaction, native), store.services.sessions.join(native) as session:
        return await session.send(deliveries, outbox, postings)


async def start_alone(
    store: Store, start: Append, *, former: Former | None = None, mail: Delivery | None = None
) -> Outcome:
    """Start an instance in one commit: replacing an ended life, or with a message in its inbox, or both."""
    item = _instead_of(start, former)
    if mail is not None:
        item = replace(item, deliveries=(mail,))
    (outcome,) = await store.commit([item])
    if outcome is Outcome.LOCKED:
        raise StorageUnavailableError(f"instance {start.instance_id!r} is held by another transaction; try again")
    return outcome


_in_use: Final[set[int]] = set()
"""The connections of callers on which a call is under way, by their ids."""


@asynccontextmanager
async def _alone(transaction: object, native: object) -> AsyncGenerator[None]:
    """Refuse a second call at the same time: the savepoints of two would cross. An activity's session sees to it."""
    key = id(native.connection if isinstance(native, Joined) else native)
    if isinstance(transaction, Session):
        yield
        return
    if key in _in_use:
        raise UsageError(
            "session= was given a connection on which another call of Romancy is under way; await one call after the "
            "other, or start several by start_many([…], session=…)"
        )
    _in_use.add(key)
    try:
        yield
    finally:
        _in_use.discard(key)


async def _native(transaction: object) -> object:
    return transaction.native if isinstance(transaction, Session) else await joined(transaction)
