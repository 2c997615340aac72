"""Gives locks, queues, events and similar objects one order in a set, independent of their addresses.

Code imports the classes of asyncio by name, so exchanging the classes while a run is driven would not reach all code.
Their `__hash__` is replaced for good. Outside of runs it answers as before. The classes of anyio's backend have no room
for a number; they are exchanged as its scopes are.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import anyio
import anyio._backends._asyncio as anyio_backend
import anyio.streams.memory

__all__ = ["OF_ANYIO", "hash_by_number"]


def hash_by_number(self: Any) -> int:
    """The number that the run gives the object when first asked; outside of runs, the hash of any object."""
    try:
        return self._order  # type: ignore[no-any-return]
    except AttributeError:
        loop: Any = asyncio._get_running_loop()  # noqa: SLF001 - cheaper than the one that raises
        order: int = loop.number() if hasattr(loop, "number") else object.__hash__(self)
        self._order = order
        return order


_WITH_ROOM: Final[list[Any]] = [
    asyncio.Lock,
    asyncio.Event,
    asyncio.Condition,
    asyncio.Semaphore,
    asyncio.Barrier,
    asyncio.Queue,
    asyncio.TaskGroup,
    asyncio.Timeout,
    anyio.Condition,
    anyio_backend.TaskGroup,
    anyio.streams.memory.MemoryObjectReceiveStream,
    anyio.streams.memory.MemoryObjectSendStream,
]
for _kind in _WITH_ROOM:
    _kind.__hash__ = hash_by_number


def _numbered(kind: Any) -> Any:
    return type(kind.__name__, (kind,), {"__slots__": ("_order",), "__hash__": hash_by_number})


OF_ANYIO: Final[dict[str, Any]] = {
    name: _numbered(getattr(anyio_backend, name))
    for name in ("Event", "Lock", "Semaphore", "CapacityLimiter")
    if hasattr(anyio_backend, name)
}
"""Replacements for classes of the backend, by the names under which it finds them."""
