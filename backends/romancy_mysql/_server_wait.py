"""Waits for a change inside the server, so that idle stores send few statements and still react quickly.

There is nothing like LISTEN. One statement repeatedly sleeps for a few hundredths of a second and reads
the newest entry of the index of changes. It answers when that entry is newer than the last known one, or after
`SECONDS`. It runs on a connection of its own, which reads uncommitted rows: otherwise, a statement does not see rows
that others write while it runs. So a change may be announced before its commit, or although it is never committed. An
ordinary poll follows each announcement and decides. After false announcements, ordinary polls replace the wait for a
while, longer each time, because a long transaction may be the cause.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from romancy.errors import StorageUnavailableError

if TYPE_CHECKING:
    from romancy_mysql._database import Database

__all__ = ["ServerWait"]

_log = logging.getLogger("romancy.mysql")

SECONDS: Final = 2.0
_TICK_MS: Final = 50
_PART_OF_TIMEOUT: Final = 4
"""Divides the time-out of statements: a wait must end well before it."""
_FIRST_REST, _LONGEST_REST = 0.5, 16.0
_AFTER_FAILURE: Final = 10.0


class ServerWait:
    """Waits in the server for one store, and decides when ordinary polls are better."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rests_until = 0.0
        self._rest = _FIRST_REST
        self._announced = False
        self._has_warned = False

    @property
    def may_wait(self) -> bool:
        """Whether to wait in the server instead of polling."""
        database = self._database
        may = database.settings.listen and database.engine.waits
        return may and asyncio.get_running_loop().time() >= self._rests_until

    async def wait(self, since: int) -> None:
        """Return once a row was touched later than `since`, after `SECONDS`, or when the server refuses."""
        database = self._database
        seconds = min(SECONDS, database.settings.timeout / _PART_OF_TIMEOUT)
        ticks = max(1, round(seconds * 1000 / _TICK_MS))
        statement = database.statement("await_change", ticks=ticks, tick_ms=_TICK_MS, since=since)
        try:
            (answer,) = await database.ask(statement, pool=database.waiting)
            self._announced = bool(answer.rows)
        except StorageUnavailableError:  # the poll that follows gets the error as well
            self._pause(_AFTER_FAILURE)
        except Exception as error:  # noqa: BLE001 - a server or proxy that ends long statements is polled instead
            if not self._has_warned:
                _log.warning("%s: polling instead of waiting in the server: %s", database.settings.where, error)
                self._has_warned = True
            self._pause(_AFTER_FAILURE)

    def judge(self, *, found: bool) -> None:
        """Record whether the poll that followed found a change."""
        announced, self._announced = self._announced, False
        if found:
            self._rest = _FIRST_REST
        elif announced:
            self._pause(self._rest)
            self._rest = min(self._rest * 2, _LONGEST_REST)

    def _pause(self, seconds: float) -> None:
        self._rests_until = asyncio.get_running_loop().time() + seconds
