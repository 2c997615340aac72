"""Whether a message that its receiver has not received lies in the inbox, or is lost with a life of the receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.core import Message
from romancy.engine.messages import decode_message
from romancy.errors import CodecError, HistoryVersionError
from romancy.storage.any_store import lying_in
from romancy.storage.services import Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.protocol import Store

__all__ = ["lies_there"]

_MOST: Final = 100_000


async def lies_there(store: Store, instance_id: str, is_it: Callable[[Message], bool]) -> bool:
    """Whether such a message lies in the inbox of an instance. True if that cannot be known."""
    if Service.LOOKUPS not in store.services.offered:
        return True
    async for each in lying_in(store, instance_id, most=_MOST):
        try:
            message = decode_message(each.row.body)
        except (CodecError, HistoryVersionError):
            return True
        if isinstance(message, Message) and is_it(message):
            return True
    return False
