"""A failpoint: the apps of this process kill it at a chosen write.

    Failpoint("commit:before:7").arm()

kills this process right before its 7th commit, `commit:after:7` right after the database has acknowledged it. A
commit is a batch of the log writer or of a session; `claim`, `heartbeat`, `takeover` and `deliver` are counted under
their own names, and so are `post`, `dispatch`, `register` and `give_back` of the router. Romancy does not know the
failpoint: a test process arms it before it opens an app.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar
from unittest.mock import patch

from romancy.storage.backends import create_store
from romancy.storage.passing import Passing, changed_by
from romancy.storage.sessions import Sessions
from romancy.testing._dying import die
from romancy_conformance.changing import changed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.protocol import Store

__all__ = ["Failpoint"]

T = TypeVar("T")

_ROUTING: Final = ("post", "dispatch", "register", "give_back")
_NAMES: Final = ("commit", "claim", "heartbeat", "takeover", "deliver", *_ROUTING)
_MOMENTS: Final = ("before", "after")


class Failpoint:
    """Counts the writes of one name and kills the process at the chosen one."""

    def __init__(self, text: str, *, counting: bool = True) -> None:
        name, _, rest = text.partition(":")
        moment, _, number = rest.partition(":")
        if name not in _NAMES or moment not in _MOMENTS or not number.isdecimal():
            raise ValueError(
                f"{text!r} names no write: it is NAME:MOMENT:NUMBER with a name of {', '.join(_NAMES)} "
                f"and {' or '.join(_MOMENTS)}, such as commit:before:7"
            )
        self.name = name
        self._moment = moment
        self._left = int(number)
        self._counting = counting

    def arm(self) -> None:
        """Wrap every store that an app of this process opens from now on."""
        patch("romancy.app.create_store", self.create_store).start()

    def begin(self) -> None:
        """Start counting."""
        self._counting = True

    def create_store(self, url: str, **options: Any) -> Store:
        """Return the store for this URL with its writes counted."""
        store = create_store(url, **options)
        if self.name in _ROUTING:
            return changed(store, services=store.services.wrapped(router=lambda router: _armed(router, self)))
        sessions = store.services.wrapped(sessions=lambda sessions: changed_by(sessions, _ArmedSessions, self))
        return changed(_armed(store, self), services=sessions)

    def counted(self, write: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Wrap the write so that its n-th call kills the process."""

        async def counted(*args: Any, **kwargs: Any) -> Any:
            self._left -= self._counting
            chosen = self._counting and self._left == 0
            if chosen and self._moment == "before":
                die()
            answer = await write(*args, **kwargs)
            if chosen:
                die()
            return answer

        return counted


class _ArmedSessions(Passing[Sessions], Sessions):
    def __init__(self, sessions: Sessions, point: Failpoint) -> None:
        super().__init__(sessions)
        self._point = point

    @asynccontextmanager
    async def begin(self, *, isolation: IsolationLevel | None = None) -> AsyncGenerator[Any]:
        async with self._passed_to.begin(isolation=isolation) as session:
            yield _armed(session, self._point)

    @asynccontextmanager
    async def join(self, transaction: object, /) -> AsyncGenerator[Any]:
        async with self._passed_to.join(transaction) as session:
            yield _armed(session, self._point)


def _armed(thing: T, point: Failpoint) -> T:
    """The same store, service or session, with one member that counts."""
    if not hasattr(thing, point.name):
        return thing
    return changed(thing, **{point.name: point.counted(getattr(thing, point.name))})
