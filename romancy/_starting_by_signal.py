"""A signal that starts the instance it is for, unless that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from romancy.engine import new_life, start_of, start_with_mail
from romancy.engine._messages import encode_message
from romancy.engine._once import key_of
from romancy.errors import InstanceConflictError, InstanceNotFoundError, StorageUnavailableError, UsageError
from romancy.storage.records import Delivery, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from msgspec import Raw

    from romancy.engine._messages import Signal
    from romancy.storage.protocol import Store
    from romancy.workflow import Call

__all__ = ["Beginning", "start_or_signal"]

_TRIES: Final = 5


class Beginning(NamedTuple):
    """What there is to write if the instance is not there."""

    call: Call[Any]
    raw: Raw
    delay: int
    instance_id: str
    message: Signal
    writes_as: Callable[[Store], Awaitable[tuple[str, int]]]
    """The token to write under, and the database's time if it is known."""
    nonce: Callable[[], str]
    stamp: Callable[[], str]


async def start_or_signal(store: Store, begin: Beginning, signal: Callable[[], Awaitable[None]]) -> None:
    """Start the instance with the signal in its inbox; or send the signal to the one that is there."""
    name, instance_id = begin.call.workflow.name, begin.instance_id
    if begin.call.workflow.instance_id is None:
        raise UsageError("a signal that starts is for an instance id of yours: wf.options(instance_id=…).bind(…)")
    for _ in range(_TRIES):
        found = await store.read(instance_id, limit=0)
        if found is None:
            if await _started(store, begin):
                return
            continue  # somebody else was faster
        if found.instance.workflow_name != name:
            raise InstanceConflictError(
                f"instance {instance_id!r} exists already, of {found.instance.workflow_name}; choose another id",
                conflicts=[instance_id],
            )
        try:
            await signal()
        except InstanceNotFoundError:
            continue  # it was purged meanwhile
        return
    raise StorageUnavailableError(f"instance {instance_id!r} could be neither started nor signalled; try again")


async def _started(store: Store, begin: Beginning) -> bool:
    instance_id, event_id = begin.instance_id, begin.message.event_id
    start = start_of(
        begin.call.workflow,
        begin.raw,
        instance_id=instance_id,
        life=new_life(),
        writer=begin.nonce(),
        now=0,
        delay=begin.delay,
    )
    mail = Delivery(
        instance_id=instance_id,
        delivery_id=begin.stamp(),
        body=encode_message(begin.message),
        dedupe=key_of(instance_id, start.life, event_id) if event_id else None,
    )
    token, now = await begin.writes_as(store)
    outcome = await start_with_mail(store, token, now, start, mail)
    if outcome is Outcome.DEAD:
        raise StorageUnavailableError(
            f"instance {instance_id!r} is not started: the lease ran out meanwhile; try again"
        )
    if outcome is Outcome.INVALID:
        raise UsageError(f"the database cannot hold the start of instance {instance_id!r}, or its signal")
    return outcome is Outcome.ACCEPTED
