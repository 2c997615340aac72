"""For tests alone: a process that kills itself at a chosen write. Unset, nothing is wrapped and nothing is asked.

`ROMANCY_FAIL=commit:before:7` sends this process SIGKILL right before its 7th commit, `commit:after:7` right after
the database has acknowledged it. A commit is a batch of the log writer or a session's; `claim`, `heartbeat`,
`takeover` and `deliver` are counted under their own names.
"""

from __future__ import annotations

import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy.storage.protocol import Store

__all__ = ["armed"]

_VARIABLE: Final = "ROMANCY_FAIL"
_NAMES: Final = ("commit", "claim", "heartbeat", "takeover", "deliver")
_MOMENTS: Final = ("before", "after")


def armed(store: Store) -> Store:
    """The store itself, or with ROMANCY_FAIL set one whose chosen write kills this process."""
    text = os.environ.get(_VARIABLE)
    return store if not text else cast("Store", _ArmedStore(store, _Failpoint(text)))


class _Failpoint:
    """Counts the writes of one name and kills the process at the one that was chosen."""

    def __init__(self, text: str) -> None:
        name, _, rest = text.partition(":")
        moment, _, number = rest.partition(":")
        if name not in _NAMES or moment not in _MOMENTS or not number.isdecimal():
            raise UsageError(
                f"{_VARIABLE}={text!r} names no write: it is NAME:MOMENT:NUMBER with a name of {', '.join(_NAMES)} "
                f"and {' or '.join(_MOMENTS)}, such as commit:before:7"
            )
        self.name = name
        self._moment = moment
        self._left = int(number)

    def around(self, write: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            chosen = self._left == 0
            if chosen and self._moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            answer = await write(*args, **kwargs)
            if chosen:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return counted


class _ArmedStore:
    def __init__(self, store: Store, point: _Failpoint) -> None:
        self._store = store
        self._point = point
        setattr(self, point.name, point.around(getattr(store, point.name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @asynccontextmanager
    async def session(self, *, join: object | None = None) -> AsyncGenerator[Any]:
        async with self._store.session(join=join) as session:
            yield _ArmedSession(session, self._point)


class _ArmedSession:
    def __init__(self, session: Any, point: _Failpoint) -> None:
        self._session = session
        if point.name == "commit":
            self.commit = point.around(session.commit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)
