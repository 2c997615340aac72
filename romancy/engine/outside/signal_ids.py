"""Recognises signals whose sender chose an id: each is delivered once to its instance."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from romancy.core import EventReceived
from romancy.engine.replay import history
from romancy.errors import InstanceEndedError, InstanceNotFoundError, StorageError, StorageUnavailableError, UsageError
from romancy.status import TERMINAL_STATUSES
from romancy.storage.limits import check_id

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

__all__ = ["REMEMBERED", "dedupe_key", "refuse_ended", "was_received"]

REMEMBERED: Final = 7 * 86_400 * 1_000_000
"""The shortest time for which an id is remembered."""


async def dedupe_key(store: Store, instance_id: str, id: str, *, joined: bool) -> str:
    """The key that identifies this signal to this life of the instance."""
    check_id(id, "id of the signal")
    found = await store.read(instance_id, limit=0)
    if found is None and joined:
        raise UsageError(
            f"instance {instance_id!r} is not there, or was started in this very transaction: nothing can have been "
            "sent to it before. Leave the id= of the signal out, or send it after the commit"
        )
    if found is None:
        raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
    return key_of(instance_id, found.instance.life, id)


def key_of(instance_id: str, life: int, id: str) -> str:
    """A key of bounded length."""
    return "signal-" + hashlib.sha256(f"{len(instance_id)}:{instance_id}:{life}:{id}".encode()).hexdigest()


async def refuse_ended(store: Store, instance_id: str, name: str, id: str | None, *, what: str = "signal") -> None:
    """Raise InstanceEndedError, unless the log says that this very signal was received before the end."""
    found = await store.read(instance_id, limit=0)
    status = "" if found is None else found.instance.status
    if id is not None and await was_received(store, instance_id, name, id):
        return
    how = f" ({status})" if status in TERMINAL_STATUSES else ""
    raise InstanceEndedError(
        f"instance {instance_id!r} has ended{how}: the {what} {name!r} would never be seen",
        instance_id=instance_id,
        status=status,
    )


async def was_received(store: Store, instance_id: str, name: str, id: str) -> bool:
    """Whether the log of the instance says that this signal was received; False if the log cannot be read."""
    try:
        async for _, commit in history(store, instance_id):
            for event in commit:
                if isinstance(event, EventReceived) and (event.event_id, event.name) == (id, name):
                    return True
    except StorageUnavailableError:
        raise
    except (StorageError, InstanceNotFoundError):
        return False  # the log cannot be read, or is gone
    return False
