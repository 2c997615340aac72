"""Starts and sends inside a transaction that the caller holds and ends.

Nothing here is queued for the log writer. It is written when the call returns, and durable when the caller commits.
"""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from romancy.engine.decide import owner_changed
from romancy.engine.outside.calls_in_sessions import note_start
from romancy.errors import InternalError, UsageError
from romancy.session import Session
from romancy.storage.joining import Joined, joined
from romancy.storage.records import Append, Delivered, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Delivery, Former, OutboxRow, Start
    from romancy.storage.routing import Posting
    from romancy.storage.sessions import JoinedSession

__all__ = ["send_in", "start_alone", "start_in"]


async def start_in(transaction: object, store: Store, start: Start, *, former: Former | None = None) -> Outcome:
    """Write the start into the transaction. Any worker may continue it once the transaction is committed.

    Returns EXISTS if the id is taken, or if the ended life that the start should replace is not there. Raises
    UsageError, with nothing written, if the transaction is not one of this store's database.
    """
    native = await _native(transaction)
    async with _alone(transaction, native), store.rooms.sessions.join(native) as session:
        outcome = await (session.commit(start) if former is None else _replaced(session, start, former))
    if outcome is Outcome.ACCEPTED:
        note_start(native.connection if isinstance(native, Joined) else native, start.instance_id)
    return outcome


class _NotStartedError(Exception):
    """Undoes what was written so far."""


async def _replaced(session: JoinedSession, start: Start, former: Former) -> Outcome:
    """Replace the life and write the start, or do neither: after an error, the caller may still commit."""
    outcome, cause = Outcome.EXISTS, None
    try:
        async with session.savepoint():
            try:
                outcome = await _put(session, start, former)
            except Exception as error:
                cause = error
                raise
            if outcome is not Outcome.ACCEPTED:
                raise _NotStartedError
    except _NotStartedError:
        pass
    except Exception:
        if cause is None:
            raise
        raise cause  # noqa: B904 - if the transaction itself is lost, the error of the undo says less
    return outcome


async def _put(session: JoinedSession, start: Start, former: Former | None) -> Outcome:
    """Write the start into a joined session, replacing the former life if there is one."""
    if former is not None and not await session.clear(start.instance_id, former.life, former.statuses):
        return Outcome.EXISTS
    return await session.commit(start)


async def send_in(
    transaction: object,
    store: Store,
    deliveries: Sequence[Delivery] = (),
    outbox: Sequence[OutboxRow] = (),
    postings: Sequence[Posting] = (),
) -> list[Delivered]:
    """Write messages into the transaction. Raises UsageError as `start_in` does."""
    native = await _native(transaction)
    async with _alone(transaction, native), store.rooms.sessions.join(native) as session:
        return await session.send(deliveries, outbox, postings)


async def start_alone(
    store: Store, token: str, now: int, start: Start, *, former: Former | None = None, mail: Delivery | None = None
) -> Outcome:
    """Start an instance in one commit: replacing an ended life, or with a message in its inbox, or both.

    A session commits together with an append: the second row of the new log, which holds no decision.
    """
    async with store.rooms.sessions.begin() as own:
        async with store.rooms.sessions.join(own.native) as session:
            outcome = await _put(session, start, former)
            if outcome is not Outcome.ACCEPTED:
                return outcome
            answers = [] if mail is None else await session.send([mail])
            if answers and answers[0] is not Delivered.ACCEPTED:
                raise InternalError(
                    f"instance {start.instance_id!r} is being started: its mail was refused ({answers[0]})"
                )
        silent = Append(
            instance_id=start.instance_id,
            life=start.life,
            seq=2,
            writer=f"{secrets.token_hex(8)}.start",
            body=owner_changed(now, "", ""),
            after=start.writer,
        )
        return await own.commit(silent, worker=token)


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
