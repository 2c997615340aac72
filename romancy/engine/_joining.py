"""Starting and sending inside a transaction that somebody else holds, and alone ends.

Nothing here is queued for the log writer: it is written when the call returns, and durable when its owner commits.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from romancy.engine._holding import note_start
from romancy.engine._live import new_life, owner_changed, start_of
from romancy.errors import InternalError
from romancy.session import Session
from romancy.storage.records import Append, Delivered, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Raw

    from romancy.storage.protocol import Store
    from romancy.storage.records import Delivery, OutboxRow, Start
    from romancy.workflow import Workflow

__all__ = ["send_in", "start_in", "start_with_mail"]


async def start_in(
    transaction: object,
    store: Store,
    definition: Workflow[..., object],
    input: Raw,
    *,
    instance_id: str,
    writer: str,
    delay: int,
) -> Outcome:
    """Write the start into the transaction; any worker goes on with it once that is committed.

    UsageError, with nothing written, when it is no transaction of this store's database.
    """
    item = start_of(definition, input, instance_id=instance_id, life=new_life(), writer=writer, now=0, delay=delay)
    native = _native(transaction)
    async with store.session(join=native) as session:
        outcome = await session.commit(item)
    if outcome is Outcome.ACCEPTED:
        note_start(native, instance_id)
    return outcome


async def send_in(
    transaction: object, store: Store, deliveries: Sequence[Delivery] = (), outbox: Sequence[OutboxRow] = ()
) -> list[Delivered]:
    """Write messages into the transaction; UsageError as for a start."""
    async with store.session(join=_native(transaction)) as session:
        return await session.send(deliveries, outbox)


async def start_with_mail(store: Store, token: str, now: int, start: Start, delivery: Delivery) -> Outcome:
    """Start an instance with a message in its inbox, by one commit: both are there, or neither.

    The commit of a session of our own takes an append. It is the new log's second row, and says nothing.
    """
    async with store.session() as own:
        async with store.session(join=own.native) as session:
            outcome = await session.commit(start)
            if outcome is not Outcome.ACCEPTED:
                return outcome
            (answer,) = await session.send([delivery])
            if answer is not Delivered.ACCEPTED:
                raise InternalError(f"instance {start.instance_id!r} is being started: its mail was refused ({answer})")
        silent = Append(
            instance_id=start.instance_id,
            life=start.life,
            seq=2,
            writer=f"{secrets.token_hex(8)}.mail",
            body=owner_changed(now, "", ""),
            after=start.writer,
        )
        return await own.commit(silent, worker=token)


def _native(transaction: object) -> object:
    return transaction.native if isinstance(transaction, Session) else transaction
