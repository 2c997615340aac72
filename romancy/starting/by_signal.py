"""Sends a signal that starts its instance if the instance does not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec.structs import replace

from romancy.engine import new_life, start_alone, start_of
from romancy.engine.messages import encode_message
from romancy.engine.outside.signal_ids import was_received
from romancy.engine.sending import dedupe_of
from romancy.errors import (
    InstanceConflictError,
    InstanceEndedError,
    InstanceNotFoundError,
    StorageUnavailableError,
    UsageError,
)
from romancy.starting.renewing import started
from romancy.status import TERMINAL_STATUSES
from romancy.storage.records import Delivery, Former

if TYPE_CHECKING:
    from msgspec import Raw

    from romancy._access import Access
    from romancy.core import Message
    from romancy.messages.mailer import Mailer
    from romancy.results.watch import Watches
    from romancy.status import Status
    from romancy.storage.protocol import Store
    from romancy.storage.records import Delivered, InstanceRow
    from romancy.workflow import Workflow

__all__ = ["Beginning", "start_or_signal"]

_TRIES: Final = 5


class Beginning(NamedTuple):
    """The writes for an instance that does not exist, or has ended and is to be replaced."""

    workflow: Workflow[..., Any]
    raw: Raw
    instance_id: str
    message: Message
    """The signal, with the headers of hooks."""
    makes_way: frozenset[Status]
    """The statuses of an instance that is replaced."""


async def start_or_signal(
    store: Store, begin: Beginning, plain: Message, mailer: Mailer, watches: Watches
) -> Delivered | None:
    """Start the instance with the signal in its inbox (None), or send the signal to the existing instance.

    Returns the database's answer to the one that was sent. `plain` is the signal without the headers of hooks.
    """
    instance_id = begin.instance_id
    if begin.workflow.given.instance_id is None:
        raise UsageError("a message that starts an instance needs an id of yours: wf.options(instance_id=…).bind(…)")
    for _ in range(_TRIES):
        found = await store.read(instance_id, limit=0)
        row = None if found is None else found.instance
        if row is not None and row.workflow_name != begin.workflow.name:
            raise InstanceConflictError(
                f"instance {instance_id!r} exists already, of {row.workflow_name}; choose another id",
                conflicts=[instance_id],
            )
        starts = row is None or (row.status in begin.makes_way and not await _was_received(store, begin))
        if starts:
            if await _started(store, begin, row, mailer.access, watches):
                return None
        elif (answer := await _sent(begin, plain, mailer)) is not None:
            return answer
    raise StorageUnavailableError(f"instance {instance_id!r} could be neither started nor signalled; try again")


async def _sent(begin: Beginning, plain: Message, mailer: Mailer) -> Delivered | None:
    """Send the signal. None if the instance has ended and is to be replaced, was removed, or has begun anew since."""
    try:
        _, answer = await mailer.send(plain, begin.instance_id, what="signal")
    except InstanceNotFoundError:
        return None
    except InstanceEndedError as error:
        if error.status in TERMINAL_STATUSES - begin.makes_way:
            raise
        return None
    return answer


async def _was_received(store: Store, begin: Beginning) -> bool:
    """Whether the instance received this signal, sent again with the same id, before it ended."""
    return bool(begin.message.id) and await was_received(store, begin.instance_id, begin.message)


async def _started(store: Store, begin: Beginning, ended: InstanceRow | None, access: Access, watches: Watches) -> bool:
    """Start the instance. False if another caller was faster."""
    instance_id, message, stamp = begin.instance_id, begin.message, access.stamp()
    start = start_of(
        begin.workflow,
        begin.raw,
        instance_id=instance_id,
        life=new_life(instance_id),
        writer=access.nonce(),
        now=0,
    )
    mail = Delivery(
        instance_id=instance_id,
        delivery_id=stamp,
        body=encode_message(message if message.id else replace(message, id=stamp)),
        dedupe=dedupe_of(message) if message.id else None,
    )
    former = None if ended is None else Former(ended.life, begin.makes_way)
    if not started(start, await start_alone(store, start, former=former, mail=mail)):
        return False
    watches.begun_anew(instance_id, start.life)
    return True
