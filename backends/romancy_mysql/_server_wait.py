"""Waits for a change inside the server, so that idle stores send few statements and still react quickly.

There is nothing like LISTEN. One statement repeatedly sleeps and reads the newest entry of the index of changes: for a
sixth of the time that has passed since the last change, from 2 to 50 ms. So who is answered soon hears it soon, and a
process at rest costs the server twenty short reads a second. The statement answers when that entry is newer than the
last known one, or after `SECONDS`. It runs on a connection of its own, which reads uncommitted rows: otherwise, a
statement does not see rows that others write while it runs. So a change may be announced before its commit, or although
it is never committed. Ordinary polls follow each announcement and decide. If they find nothing for a while, they
replace the wait, longer each time, because a long transaction may be the cause.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from romancy.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy_mysql._database import Database

__all__ = ["ServerWait", "ticks_for"]

_log = logging.getLogger("romancy.mysql")

SECONDS: Final = 2.0
_SHORTEST_MS, _LONGEST_MS = 2, 50
_LONGER: Final = 1.2
"""How much longer each tick is than the one before, as in the statement."""
_SLOW: Final = 0.06
"""Seconds after a change from which on a tick is longer than 10 ms."""
_PART_OF_TIMEOUT: Final = 4
"""Divides the time-out of statements: a wait must end well before it."""
_FIRST_REST, _LONGEST_REST = 0.5, 16.0
_AFTER_FAILURE: Final = 10.0


class ServerWait:
    """Waits in the server for one store, and decides when ordinary polls are better."""

    def __init__(self, database: Database, reached: Callable[[], int], ended: Callable[[bool], None]) -> None:
        """When a wait is over, `ended` is told whether there is a later change than those that polls have `reached`."""
        self._database = database
        self._reached = reached
        self._ended = ended
        self._waiting: asyncio.Task[None] | None = None
        self._slow_from = 0.0
        self._rests_until = 0.0
        self._rest = _FIRST_REST
        self._announced = False
        """Whether a change was announced, and no poll has found one since."""
        self._has_warned = False

    @property
    def listens(self) -> bool:
        """Whether the server can be asked to wait at all."""
        return self._database.settings.listen and self._database.engine.waits

    @property
    def may_wait(self) -> bool:
        """Whether to wait in the server now."""
        return self.listens and not self._announced and self._loop_time() >= self._rests_until

    @property
    def is_under_way(self) -> bool:
        """Whether the server waits."""
        return self._waiting is not None and not self._waiting.done()

    @property
    def is_slow(self) -> bool:
        """Whether the server waits, and looks so seldom that polls would find the answer to a change earlier."""
        return self.is_under_way and self._loop_time() >= self._slow_from

    def begin(self, last_change: float) -> None:
        """Wait until a row is touched later than polls have reached, or for `SECONDS`, unless a wait is under way."""
        if not self.is_under_way:
            self._waiting = asyncio.create_task(self._wait(self._loop_time() - last_change))

    async def _wait(self, quiet: float) -> None:
        try:
            while await self._announces(quiet):
                if self._announced:
                    break
                quiet = 0.0  # a poll has found it before
        except StorageUnavailableError:  # the poll that follows gets the error as well
            self._pause(_AFTER_FAILURE)
        except Exception as error:  # noqa: BLE001 - a server or proxy that ends long statements is polled instead
            if not self._has_warned:
                where = self._database.settings.where
                _log.warning("%s: polling instead of waiting in the server: %s", where, error)
                self._has_warned = True
            self._pause(_AFTER_FAILURE)
        finally:
            self._ended(self._announced)

    async def _announces(self, quiet: float) -> bool:
        """Whether the server announced a change, after a quiet of so many seconds."""
        database, since = self._database, self._reached()
        self._slow_from = self._loop_time() + max(0.0, _SLOW - quiet)
        seconds = min(SECONDS, database.settings.timeout / _PART_OF_TIMEOUT)
        first, ticks = ticks_for(seconds * 1000, quiet * 1000)
        statement = database.statement("await_change", ticks=ticks, tick_ms=first, longest_ms=_LONGEST_MS, since=since)
        (answer,) = await database.ask(statement, pool=database.waiting)
        self._announced = bool(answer.rows) and since == self._reached()
        return bool(answer.rows)

    def judge(self, *, found: bool, patient: bool) -> None:
        """Record whether a poll found a change. `patient`: some in a row found none, for longer than commits take."""
        if found:
            self._announced, self._rest = False, _FIRST_REST
        elif self._announced and patient:
            self._announced = False
            self._pause(self._rest)
            self._rest = min(self._rest * 2, _LONGEST_REST)

    async def close(self) -> None:
        """Wait no more."""
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.wait({self._waiting})

    def _pause(self, seconds: float) -> None:
        self._rests_until = self._loop_time() + seconds

    def _loop_time(self) -> float:
        return asyncio.get_running_loop().time()


def ticks_for(milliseconds: float, quiet: float) -> tuple[int, int]:
    """Return the first tick in milliseconds after so long a quiet, and how many ticks last that long."""
    first = min(max(_SHORTEST_MS, round(quiet * (_LONGER - 1) / _LONGER)), _LONGEST_MS)
    count, tick = 0, float(first)
    while milliseconds > 0:
        milliseconds -= tick
        tick = min(tick * _LONGER, _LONGEST_MS)
        count += 1
    return first, max(count, 1)
