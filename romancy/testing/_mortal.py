"""Lets a worker die at a chosen place: before an attempt, after it and before its commit, or after a commit.

At the first two places nothing of the attempt is durable, and at the second one its effect has happened. A dead worker
writes nothing more and begins no attempt.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from romancy.storage.records import Outcome, Start

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Sequence

    from romancy.core import Input
    from romancy.engine.activities.attempt import Attempt, Made
    from romancy.storage.protocol import Session, Store
    from romancy.storage.records import Item

__all__ = ["Death", "Mortal", "Place", "called"]


class Place(Enum):
    """Where a worker can die."""

    BEFORE = "before {}"
    AFTER = "after {} and before its commit"
    COMMIT = "after commit {}"


_ANYWHERE: Final = frozenset(Place)


class Death:
    """Counts the places that one worker passes, and lets it die at one of them."""

    def __init__(self, kill: Callable[[str], None] | None = None) -> None:
        """`kill` ends the process. Without it, everything of the worker waits from then on, to be abandoned."""
        self._kill = kill
        self._left: int | None = None
        self._kinds: Collection[Place] = ()
        self._most: int | None = None
        self.commits = 0
        self.where = ""
        """The place of the death, in words."""
        self.happened = asyncio.Event()
        self.too_many = asyncio.Event()
        """Set when the worker has made more commits than `most`."""

    def after(self, places: int, kinds: Collection[Place] = _ANYWHERE, *, most: int | None = None) -> asyncio.Event:
        """Die at the place of that number, counted from now. The event is set then."""
        self._left, self._kinds, self._most = places, kinds, most
        return self.happened

    async def at(self, place: Place, what: str) -> None:
        """The worker is at this place. Does not return if it dies here, or is dead."""
        await self.alive()
        if self._left is None or place not in self._kinds:
            return
        self._left -= 1
        if not self._left:
            self.where = place.value.format(what)
            self.happened.set()
            if self._kill is not None:
                self._kill(self.where)
            await self.alive()

    async def alive(self) -> None:
        """Return at once if the worker lives, and never otherwise."""
        if self.happened.is_set():
            await asyncio.get_running_loop().create_future()

    async def committed(self) -> None:
        """A commit has become durable."""
        self.commits += 1
        if self._most is not None and self.commits > self._most:
            self.too_many.set()
        await self.at(Place.COMMIT, str(self.commits))

    async def stage(self, attempt: Attempt, made: Made) -> Input:
        """Make an attempt between two places. Exceptions pass through."""
        return await self.around(attempt, lambda: made(attempt, attempt.effect.definition))

    async def around(self, attempt: Attempt, make: Callable[[], Any]) -> Input:
        """Make an attempt between two places. An attempt that fails may have had its effect, too."""
        what = called(attempt)
        await self.at(Place.BEFORE, what)
        try:
            event: Input = await make()
        except Exception:
            await self.at(Place.AFTER, what)
            raise
        await self.at(Place.AFTER, what)
        return event


def called(attempt: Attempt) -> str:
    """The name and the id of what is attempted."""
    definition: Any = attempt.effect.definition
    return f"{definition.kind} {definition.name} ({attempt.id})"


class Mortal:
    """Passes all calls on to a store, and counts the commits of its worker. A dead worker gets no answer."""

    def __init__(self, store: Store, death: Death, lives: dict[str, int] | None = None) -> None:
        """`lives` receives the life of each instance that is started."""
        self._store = store
        self._death = death
        self._lives = {} if lives is None else lives

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        await self._death.alive()
        outcomes = await self._store.commit(batch, worker=worker)
        for item, outcome in zip(batch, outcomes, strict=True):
            _note(self._lives, item, outcome)
        await self._death.committed()
        return outcomes

    @asynccontextmanager
    async def session(self, *, join: object | None = None, **options: Any) -> AsyncGenerator[Any]:
        async with self._store.session(join=join, **options) as session:
            yield _MortalSession(session, self._death, self._lives)


class _MortalSession:
    """A session whose commit counts."""

    def __init__(self, session: Session, death: Death, lives: dict[str, int]) -> None:
        self._session = session
        self._death = death
        self._lives = lives

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def commit(self, item: Item, /, *, worker: str | None = None) -> Outcome:
        await self._death.alive()
        outcome = await self._session.commit(item, worker=worker)
        _note(self._lives, item, outcome)
        await self._death.committed()
        return outcome


def _note(lives: dict[str, int], item: Item, outcome: Outcome) -> None:
    if outcome is Outcome.ACCEPTED:
        for start in (item,) if isinstance(item, Start) else item.starts:
            lives[start.instance_id] = start.life
