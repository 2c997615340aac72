"""A failpoint: the apps of this process kill it at a chosen write.

    Failpoint("commit:before:7").arm()

kills this process right before its 7th commit, `commit:after:7` right after the database has acknowledged it. A
commit is a batch of the log writer or of a session; `claim`, `heartbeat`, `takeover` and `deliver` are counted under
their own names, and so are `post`, `dispatch`, `register` and `give_back` of the router. Romancy does not know the
failpoint: a test process arms it before it opens an app.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast
from unittest.mock import patch

from romancy.storage.backends import create_store
from romancy.testing._dying import die

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy.storage.protocol import Store

__all__ = ["Failpoint"]

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

    def create_store(self, url: str) -> Store:
        """Return the store for this URL with its writes counted."""
        return cast("Store", _ArmedStore(create_store(url), self))

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


class _ArmedStore:
    def __init__(self, store: Store, point: Failpoint) -> None:
        self._store = store
        self._point = point
        if point.name not in _ROUTING:
            setattr(self, point.name, point.counted(getattr(store, point.name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @property
    def router(self) -> Any:
        return _ArmedRouter(self._store.router, self._point) if self._point.name in _ROUTING else self._store.router

    @asynccontextmanager
    async def session(self, *, join: object | None = None, **options: Any) -> AsyncGenerator[Any]:
        async with self._store.session(join=join, **options) as session:
            yield _ArmedSession(session, self._point)


class _ArmedRouter:
    def __init__(self, router: Any, point: Failpoint) -> None:
        self._router = router
        setattr(self, point.name, point.counted(getattr(router, point.name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._router, name)


class _ArmedSession:
    def __init__(self, session: Any, point: Failpoint) -> None:
        self._session = session
        if point.name == "commit":
            self.commit = point.counted(session.commit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)
