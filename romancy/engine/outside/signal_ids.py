"""Recognises messages whose sender chose an id, and that are sent again after their instance has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.core import MessageReceived
from romancy.engine.replay import history
from romancy.engine.sending import repeats
from romancy.errors import InstanceEndedError, InstanceNotFoundError, StorageError, StorageUnavailableError
from romancy.status import TERMINAL_STATUSES

if TYPE_CHECKING:
    from romancy.core import Message
    from romancy.storage.protocol import Store

__all__ = ["REMEMBERED", "refuse_ended", "was_received"]

REMEMBERED: Final = 7 * 86_400 * 1_000_000
"""The shortest time for which an id is remembered."""


async def refuse_ended(store: Store, instance_id: str, message: Message, *, chosen: bool) -> None:
    """Raise InstanceEndedError, unless the log says that this very message was received before the end."""
    found = await store.read(instance_id, limit=0)
    status = "" if found is None else found.instance.status
    if chosen and await was_received(store, instance_id, message):
        return
    how = f" ({status})" if status in TERMINAL_STATUSES else ""
    raise InstanceEndedError(
        f"instance {instance_id!r} has ended{how}: the {message.words} would never be seen",
        instance_id=instance_id,
        status=status,
    )


async def was_received(store: Store, instance_id: str, message: Message) -> bool:
    """Whether the log of the instance says that this message was received; False if the log cannot be read."""
    try:
        async for _, commit in history(store, instance_id):
            for event in commit:
                if isinstance(event, MessageReceived) and repeats(event.message, message):
                    return True
    except StorageUnavailableError:
        raise
    except (StorageError, InstanceNotFoundError):
        return False  # the log cannot be read, or is gone
    return False
