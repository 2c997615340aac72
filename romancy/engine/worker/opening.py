"""Opens the store. A client fails at once if the database is down; a worker waits for it for a minute.

A worker is often started together with its database, by the same boot or deployment, and the database takes longer. An
error that waiting cannot solve (a wrong password, an unknown scheme, a newer schema) is raised at once in both cases.
With a limit of the user's, both wait for so long. No wait is endless unless the user says so: a wrong host name looks
like a server that is down, and whoever starts the worker has to learn of it. A worker that was open once always waits.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger
from romancy.engine.surroundings import here
from romancy.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.protocol import Store

__all__ = ["opened"]

logger = get_logger("romancy.engine")

_WITHIN: Final = 60.0
"""Seconds in which a database has to be reached for the first time, if the user gives no others."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_SAY_EVERY: Final = 30.0
_SILENT_AFTER: Final = 2.0
"""Seconds after which a first attempt without an answer is logged."""


async def opened(
    make: Callable[[], Store], where: str, *, patient: bool, within: float | None = None, migrate: bool = True
) -> Store:
    """Make a store and open it. `where` is its URL without the password.

    If `patient`, or with `within`, wait while opening raises StorageUnavailableError, and log the wait. After `within`
    seconds (60 by default, `math.inf`: never) the attempt ends, and StorageUnavailableError says how long and why.
    """
    waiting = _Waiting(where, patient=patient)
    limit = asyncio.timeout(_WITHIN if within is None else None if math.isinf(within) else within)
    try:
        async with limit:
            return await _once_it_answers(make, waiting, migrate=migrate, again=patient or within is not None)
    except TimeoutError:
        if not limit.expired():
            raise
        raise waiting.in_vain(_WITHIN if within is None else within) from None
    finally:
        waiting.end()


async def _once_it_answers(make: Callable[[], Store], waiting: _Waiting, *, migrate: bool, again: bool) -> Store:
    pause = _FIRST_PAUSE
    while True:
        store = make()
        try:
            await store.open(migrate=migrate)
        except StorageUnavailableError as error:
            if not again:
                raise
            waiting.failed(error)
            await asyncio.sleep(pause * here().uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            waiting.over()
            return store


class _Waiting:
    """Logs a wait for the database: its first failure at once, the same again every 30 seconds, and its end."""

    def __init__(self, where: str, *, patient: bool) -> None:
        self._where = where
        self._who = "the worker cannot begin and waits" if patient else "the app cannot be opened and waits"
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._said = 0
        self.error: StorageUnavailableError | None = None
        self._silence = self._loop.call_later(_SILENT_AFTER, self._say, "it has not answered yet")

    def failed(self, error: StorageUnavailableError) -> None:
        """An attempt has failed."""
        first, self.error = self.error is None, error
        self.end()
        if first or self._loop.time() - self._began >= self._said * _SAY_EVERY:
            self._said += 1
            self._say(error)

    def in_vain(self, within: float) -> StorageUnavailableError:
        """The error after so many seconds."""
        return StorageUnavailableError(
            f"{self._where}: not reached within {within:g} s (connect_timeout): {self.error or 'it has not answered'}. "
            "Start the database or correct the URL, and try again; connect_timeout= of the app allows another time, "
            "and math.inf waits without a limit"
        )

    def over(self) -> None:
        """The database is open."""
        if self.error is not None:
            logger.info("the database is there after %.0f s", self._loop.time() - self._began)

    def end(self) -> None:
        """Say nothing more by itself."""
        self._silence.cancel()

    def _say(self, cause: object) -> None:
        waited = self._loop.time() - self._began
        logger.warning("%s for its database %s (for %.0f s so far): %s", self._who, self._where, waited, cause)
