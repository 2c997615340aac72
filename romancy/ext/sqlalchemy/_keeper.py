"""Lets SQLAlchemy use the transaction of an attempt and set savepoints, but not end it."""

from __future__ import annotations

import asyncio
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NoReturn

from romancy.errors import UsageError
from romancy.session import undo
from romancy.storage.endings import OVER

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from romancy.session import Session as Facade
    from romancy.session import Wait

__all__ = ["Keeper", "lending", "refused"]

_FAILED: Final = (
    "session(): a statement or a flush failed and its error was swallowed; nothing of the activity is kept. Let the "
    "error out, or put what may fail into `begin_nested()`"
)
_LEFT: Final = (
    "session(): an exception left its block and was swallowed; nothing of the activity is kept. Let the exception out, "
    "or put what may fail into `begin_nested()`"
)


def refused(what: str) -> UsageError:
    """The error for a call that would begin or end the transaction."""
    return UsageError(
        f"{what} of an activity's session(): Romancy commits its transaction together with the activity's completion, "
        "and rolls it back if the activity raises. Leave the call out. Use `begin_nested()` for a part that may fail "
        "alone, and `flush()` to send what is pending"
    )


class Keeper:
    """Keeps the transaction of one attempt while SQLAlchemy uses it."""

    def __init__(self, facade: Facade, wait: Wait, loop: asyncio.AbstractEventLoop, *, blocking: bool) -> None:
        """`wait` runs work on the event loop, while SQLAlchemy's code waits."""
        self.facade = facade
        self.native: Any = facade.native
        self.wait = wait
        self.blocking = blocking
        self.loop = loop
        self.lent = False
        """Whether the activity uses the connection. Before, SQLAlchemy asks about the server and rolls that back."""
        self.over = False
        self._doom: str | None = None
        self._parts: list[tuple[str, AbstractAsyncContextManager[None], str | None]] = []
        """The open savepoints, and what had failed before each."""

    def check(self) -> None:
        """Raise UsageError after the end of the attempt."""
        if self.over:
            raise UsageError(f"{OVER}: an activity's session() ends with its attempt")

    def end(self) -> None:
        """End the use by the attempt. A thread may still run a statement on SQLite, which is interrupted."""
        self.over = True
        connection = getattr(self.native, "conn", None)
        # Not `in_transaction`: from SQLite 3.5x on it waits for the statement, and with it every thread of the process.
        if connection is not None and connection.over is None:
            connection.interrupt()

    def check_loop(self) -> None:
        """Raise UsageError in another event loop than that of the app whose activity this is."""
        if asyncio.get_running_loop() is not self.loop:
            raise UsageError(
                "session= was given the session() of an activity of another app, which lives on another event loop; "
                "give it to the app that runs the activity"
            )

    def check_whole(self) -> None:
        """Raise UsageError if a statement has failed and no savepoint undid it."""
        if self._doom is not None:
            raise UsageError(self._doom)

    def failed(self) -> None:
        """Record that a statement failed. Only rolling back a savepoint around it clears that."""
        self._doom = self._doom or _FAILED

    def left(self) -> None:
        """Record that an exception left the block of the session."""
        self._doom = self._doom or _LEFT

    def commit(self) -> NoReturn:
        """Refuse to commit."""
        raise refused("commit()")

    def roll_back(self) -> None:
        """Refuse to roll back. After an error SQLAlchemy rolls back by itself, and the error must reach the caller."""
        if self.over or not self.lent:
            return
        if sys.exc_info()[0] is None:
            raise refused("rollback()")
        self.failed()

    def savepoint(self, name: str) -> None:
        """Set a savepoint."""
        self.check()
        part = self.facade.savepoint()

        async def enter() -> None:
            await part.__aenter__()

        self.wait(enter)
        self._parts.append((name, part, self._doom))

    def release(self, name: str) -> None:
        """Keep the writes since the savepoint."""
        self.check()

        async def leave() -> None:
            for part in self._since(name):
                await part.__aexit__(None, None, None)

        self.wait(leave)

    def undo(self, name: str) -> None:
        """Undo the writes since the savepoint."""
        if self.over:
            return
        before = next((doom for known, _, doom in self._parts if known == name), self._doom)

        async def undone() -> None:
            for part in self._since(name):
                await undo(part)

        self.wait(undone)
        self._doom = before

    def _since(self, name: str) -> list[AbstractAsyncContextManager[None]]:
        """Close the savepoints from this one on and return them, the last first."""
        place = next((number for number, part in enumerate(self._parts) if part[0] == name), len(self._parts))
        since, self._parts = self._parts[place:], self._parts[:place]
        return [part for _, part, _ in reversed(since)]


lending: Final[ContextVar[Keeper]] = ContextVar("romancy_sqlalchemy_lending")
"""Whose connection the next connection of SQLAlchemy's is."""
