"""Starting and sending inside a transaction that somebody else holds, and alone ends.

Nothing here is queued for the log writer: it is written when the call returns, and durable when its owner commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.engine._holding import note_start
from romancy.engine._live import new_life, start_of
from romancy.session import Session
from romancy.storage.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Raw

    from romancy.storage.protocol import Store
    from romancy.storage.records import Delivered, Delivery, OutboxRow
    from romancy.workflow import Workflow

__all__ = ["send_in", "start_in"]


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


def _native(transaction: object) -> object:
    return transaction.native if isinstance(transaction, Session) else transaction
