"""What the plain functions of a test did, in order, and the gate at which they wait on their threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from romancy import Handle
    from romancy.core import LogEvent

__all__ = ["Gate", "logged", "names"]

_LONGEST = 60.0


class Gate:
    """The notes of one test. Functions on threads and on the event loop may write them."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._open = threading.Event()

    def say(self, what: str) -> None:
        self.said.append(what)

    def wait(self) -> None:
        """Block the thread until the test opens the gate."""
        assert self._open.wait(_LONGEST)

    def open(self) -> None:
        self._open.set()

    async def hears(self, what: str) -> None:
        """Wait until this was said."""
        await until(lambda: what in self.said)


async def logged(handle: Handle[object], kind: type[LogEvent]) -> None:
    """Wait until the log has such an event."""

    async def found() -> bool:
        return any(isinstance(event, kind) for event in await handle.history())

    await until(found)


async def names(handle: Handle[object]) -> list[str]:
    """Return the names of the events in the log."""
    return [type(event).__name__ for event in await handle.history()]
