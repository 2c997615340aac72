"""What a tap does for the suite."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from romancy.storage.protocol import Store

__all__ = ["Gate", "Tap"]

T = TypeVar("T")


class Gate(Protocol):
    """Holds one store's transactions open between any two of their statements."""

    async def __call__(self, statement: str, /) -> None:
        """Awaited before each statement, COMMIT included, with a name for it."""
        ...


class Tap(ABC):
    """Hears the statements of stores whose calls wait for their database without blocking the event loop.

    `commit` names the statement that commits. Names that the suite does not ask for may be any.
    """

    ways: tuple[str, ...] = ("usual",)
    """The ways on which a call may reach the database. Each interleaving is played on each of them."""
    atomic = False
    """Whether no other call can run inside a call: it is held before it begins, or not at all."""

    def __init__(self) -> None:
        self._gates: WeakKeyDictionary[object, Gate] = WeakKeyDictionary()

    @abstractmethod
    def sender(self, store: Store) -> object:
        """Return the object of this store, and of no other, that is known where statements are heard."""

    def listen(self, store: Store, gate: Gate, way: str) -> None:
        """Await the gate before each statement of the store from now on. Its calls take this way, where they can."""
        self._gates[self.sender(store)] = gate

    def leave(self, store: Store) -> None:
        """Listen no more. A statement that is held stays so."""
        self._gates.pop(self.sender(store), None)

    def run(self, store: Store, call: Awaitable[T]) -> asyncio.Future[T]:
        """Start a call of a store that is listened to."""
        return asyncio.ensure_future(call)

    def hears(self, sender: object) -> bool:
        """Whether somebody listens to what this object sends."""
        return sender in self._gates

    async def heard(self, sender: object, statement: str) -> None:
        """Await the gate, if there is one, before a statement."""
        gate = self._gates.get(sender)
        if gate is not None:
            await gate(statement)
