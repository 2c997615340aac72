"""A store whose worker dies after a commit: the commit is durable, and the worker gets no answer."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from romancy.storage.protocol import Session, Store
    from romancy.storage.records import Item, Outcome

__all__ = ["Mortal"]


class Mortal:
    """Passes all calls on to a store, and counts the commits of its worker."""

    def __init__(self, store: Store, die: Callable[[], None] | None = None) -> None:
        """`die` ends the process. Without it, the worker waits from then on, to be abandoned."""
        self._store = store
        self._die = die
        self._left: int | None = None
        self._died = asyncio.Event()

    def reborn(self, store: Store) -> Self:
        """The same store for another worker, which does not die until told to."""
        return type(self)(store, self._die)

    def dies_after(self, commits: int) -> asyncio.Event:
        """Die after that many more commits. The event is set then."""
        self._left = commits
        return self._died

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        outcomes = await self._store.commit(batch, worker=worker)
        await self.count()
        return outcomes

    @asynccontextmanager
    async def session(self, *, join: object | None = None) -> AsyncGenerator[Any]:
        async with self._store.session(join=join) as session:
            yield _MortalSession(session, self)

    async def count(self) -> None:
        """Count a commit; die if it was the last one."""
        if self._left is None:
            return
        self._left -= 1
        if self._left <= 0:
            self._died.set()
            if self._die is not None:
                self._die()
            await asyncio.get_running_loop().create_future()


class _MortalSession:
    """A session whose commit counts."""

    def __init__(self, session: Session, mortal: Mortal) -> None:
        self._session = session
        self._mortal = mortal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def commit(self, *args: Any, **kwargs: Any) -> Outcome:
        outcome = await self._session.commit(*args, **kwargs)
        await self._mortal.count()
        return outcome
