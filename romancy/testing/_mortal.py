"""Lets a worker die at a chosen place: before an attempt, after it and before its commit, or after a commit.

At the first two places nothing of the attempt is durable, and at the second one its effect has happened. A dead worker
writes nothing more and begins no attempt.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from romancy.storage.amending import Amending
from romancy.storage.passing import Passing, changed_by
from romancy.storage.protocol import Store
from romancy.storage.sessions import Sessions, StoreSession

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Sequence

    from romancy.core import Input
    from romancy.engine.activities.attempt import Attempt, Made
    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.records import Item, Outcome, Step
    from romancy.storage.services import Services

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


class Mortal(Passing[Store], Store):
    """Passes all calls on to a store, and counts the commits of its worker. A dead worker gets no answer."""

    def __init__(self, store: Store, death: Death) -> None:
        super().__init__(store)
        self._death = death
        self.services: Services = store.services.wrapped(
            sessions=lambda sessions: changed_by(sessions, _MortalSessions, death),
            amending=lambda amending: changed_by(amending, _MortalAmending, death),
        )

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        await self._death.alive()
        outcomes = await self._passed_to.commit(batch, worker=worker)
        await self._death.committed()
        return outcomes


class _MortalAmending(Passing[Amending], Amending):
    """Amendments count as commits."""

    def __init__(self, amending: Amending, death: Death) -> None:
        super().__init__(amending)
        self._death = death

    async def amend(self, batch: Sequence[Step], /, *, worker: str) -> list[Outcome]:
        await self._death.alive()
        outcomes = await self._passed_to.amend(batch, worker=worker)
        await self._death.committed()
        return outcomes


class _MortalSessions(Passing[Sessions], Sessions):
    """Sessions whose commits count. A caller's transaction is not the worker's."""

    def __init__(self, sessions: Sessions, death: Death) -> None:
        super().__init__(sessions)
        self._death = death

    @asynccontextmanager
    async def begin(self, *, isolation: IsolationLevel | None = None) -> AsyncGenerator[StoreSession]:
        async with self._passed_to.begin(isolation=isolation) as session:
            yield changed_by(session, _MortalSession, self._death)


class _MortalSession(Passing[StoreSession], StoreSession):
    def __init__(self, session: StoreSession, death: Death) -> None:
        super().__init__(session)
        self._death = death

    async def commit(self, item: Item, /, *, worker: str | None = None) -> Outcome:
        await self._death.alive()
        outcome = await self._passed_to.commit(item, worker=worker)
        await self._death.committed()
        return outcome
