"""Listens for changes in the database. A change wakes the worker and the callers that wait for the instance."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger
from romancy.errors import DatabaseReplacedError, StorageUnavailableError
from romancy.storage.marks import STREAM_NEWS

if TYPE_CHECKING:
    from romancy.engine import Answers, Worker
    from romancy.engine.outage import Outage
    from romancy.results.watch import Watches
    from romancy.storage.protocol import Store

__all__ = ["listen"]

logger = get_logger("romancy")

_SAFETY_POLL: Final = 30.0


async def listen(store: Store, worker: Worker | None, watches: Watches, answers: Answers, outage: Outage) -> None:
    """Pass on the store's notifications until cancelled. Those of streams are for their followers alone."""
    while True:
        try:
            changed = await store.wait_for_work(_SAFETY_POLL)
            outage.answered("cannot listen for changes")
        except (StorageUnavailableError, DatabaseReplacedError) as error:
            outage.failed("cannot listen for changes", error)
            await asyncio.sleep(1 if isinstance(error, StorageUnavailableError) else _SAFETY_POLL)
            changed = None
        except Exception:
            logger.exception("cannot listen for changes")
            await asyncio.sleep(1)
            changed = None
        if changed and (streams := {one for one in changed if one.startswith(STREAM_NEWS)}):
            for one in streams:
                answers.tell(one.removeprefix(STREAM_NEWS))
            if not (changed := changed - streams):
                continue
        if worker is not None:
            worker.claiming.notice(changed)
        watches.changed(changed)
