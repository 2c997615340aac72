"""What a shape is, and what it gets to play one instance."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from romancy import InstanceEndedError, RomancyError, StorageUnavailableError, WorkflowStuckError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from romancy import Romancy
    from romancy.core import LogEvent
    from romancy.storage.protocol import Store

__all__ = ["Lives", "Scene", "Shape"]

T = TypeVar("T")
_DEAD = "no live worker has known"
"""How the reason begins why an instance does not continue while all workers are dead."""


class Lives:
    """What the judge has to know of an id that is used several times."""

    def __init__(self) -> None:
        self.logs: list[Sequence[LogEvent]] = []
        """The logs of its lives. Empty: there is one life, and its log is in the database."""
        self.is_begun_twice = False
        """Whether its keys may be used twice.

        One of its lives was begun again after its purge, by a start that its app had sent twice. Or it was rewound.
        """
        self.may_go = False
        """Whether workers remove it after its end. A log of it in `logs` is then all that is known."""


class Scene:
    """One instance of a shape: its own chance, an app without a worker, and a place for findings."""

    def __init__(
        self,
        path: str,
        chance: random.Random,
        app: Romancy,
        store: Store,
        folder: Path,
        find: Callable[[str, str, str], None],
        *,
        lives: Lives,
    ) -> None:
        self.path = path
        self.chance = chance
        self.app = app
        self.store = store
        self.folder = folder
        self._find = find
        self.lives = lives

    def find(self, kind: str, text: str, instance: str = "") -> None:
        """Note what is not as it must be, of another instance than that of the shape if it is named."""
        self._find(kind, text, instance or self.path)

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call that may be repeated, until the database has answered."""
        while True:
            try:
                return await call()
            except StorageUnavailableError:
                await asyncio.sleep(0.1)

    async def start(self, call: Any) -> None:
        """Start an instance."""
        await self.insist(lambda: self.app.start_many([call]))

    async def stop(self, call: Callable[[], Awaitable[object]]) -> None:
        """Make a call to an instance that may have ended by now."""
        with suppress(InstanceEndedError):
            await self.insist(call)

    async def outcome(self, path: str) -> Any:
        """Wait for the end of an instance. Returns its result, or the error that it ended with."""
        while True:
            try:
                return await self.app.handle(path).result()
            except StorageUnavailableError:
                await asyncio.sleep(0.1)
            except RomancyError as error:
                if not isinstance(error, WorkflowStuckError) or not error.reason.startswith(_DEAD):
                    return error
                await asyncio.sleep(0.1)


class Shape(Protocol):
    """Workflows, and how one instance is started, met by something at a random moment, and awaited."""

    name: str
    sealed: bool
    """Whether its workflows belong to the app with a codec."""
    workflows: tuple[Any, ...]

    async def play(self, scene: Scene) -> None:
        """Play one instance to its end."""
        ...
