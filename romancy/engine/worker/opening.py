"""Opens the store. A client fails at once if the database is down; a worker waits for it.

A worker is often started together with its database, by the same boot or deployment, and the database takes longer. An
error that waiting cannot solve (a wrong password, an unknown scheme, a newer schema) is raised at once in both cases.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger
from romancy.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.protocol import Store

__all__ = ["opened"]

logger = get_logger("romancy.engine")

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_SAY_EVERY: Final = 30.0


async def opened(make: Callable[[], Store], *, patient: bool) -> Store:
    """Make a store and open it.

    If `patient`, wait for as long as opening raises StorageUnavailableError, and log the wait.
    """
    store = make()
    if not patient:
        await store.open()
        return store
    loop = asyncio.get_running_loop()
    began, said, pause = loop.time(), 0, _FIRST_PAUSE
    while True:
        try:
            await store.open()
        except StorageUnavailableError as error:
            waited = loop.time() - began
            if not said or waited >= said * _SAY_EVERY:
                said += 1
                logger.warning(
                    "the worker cannot begin and waits for its database (for %.0f s so far): %s", waited, error
                )
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(pause * 2, _LONGEST_PAUSE)
            store = make()
        else:
            if said:
                logger.info("the database is there after %.0f s", loop.time() - began)
            return store
