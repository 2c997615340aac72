"""Activities that are paused by their names, on all workers of the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from romancy._microseconds import moment_of
from romancy.engine.surroundings import here
from romancy.errors import UsageError
from romancy.managing.limiting import Limiting
from romancy.storage.limits import check_id, check_text
from romancy.storage.notices import notice_row, notices_in
from romancy.storage.records import NOTICE, Worker

if TYPE_CHECKING:
    from romancy.storage.notices import Notice
    from romancy.storage.protocol import Store

__all__ = ["PausedActivities", "PausedActivity"]

_MOST_OF_A_REASON = 1000
_A_MOMENT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PausedActivity:
    """An activity of which nothing new begins."""

    name: str
    reason: str
    since: datetime


class PausedActivities(Limiting):
    """Pauses activities by their names."""

    async def paused_activities(self) -> list[PausedActivity]:
        """The activities that are paused, the first one first."""
        return [
            PausedActivity(name=one.activity, reason=one.reason, since=moment_of(one.since))
            for one in await _notices(self._access.opened("paused_activities"))
        ]

    async def pause_activity(self, name: str, *, reason: str = "") -> None:
        """Let no attempt at the activity of this name begin any more, on any worker, until it is unpaused.

        Attempts at work go on, and all others wait. A compensation has a name of its own. A worker hears of it at once
        or, where the database tells no news, within seconds; with its next heartbeat at the latest.
        Raises UsageError if it is paused already.
        """
        _check(name, reason)
        store = self._access.to_write("pause_activity")
        for one in await _notices(store):
            if one.activity == name:
                because = f" because {one.reason}" if one.reason else ""
                raise UsageError(f"activity {name!r} is paused already{because}; unpause it to give another reason")
        await store.heartbeat(notice_row(here().token(), name, reason))

    async def unpause_activity(self, name: str) -> None:
        """Let attempts at the activity begin again. Raises UsageError if it is not paused."""
        _check(name, "")
        store = self._access.to_write("unpause_activity")
        found = [one for one in await _notices(store) if one.activity == name]
        if not found:
            raise UsageError(f"activity {name!r} is not paused")
        for one in found:
            await store.leave(Worker(token=one.token, worker_id=NOTICE, lease=_A_MOMENT))
        news = Worker(token=here().token(), worker_id=NOTICE, lease=_A_MOMENT, codes=("over",))
        await store.heartbeat(news)  # workers that hear of a row that they do not know look at all of them
        await store.leave(news)


async def _notices(store: Store) -> list[Notice]:
    return notices_in((await store.services.reading.census()).workers)


def _check(name: str, reason: str) -> None:
    check_id(name, "name of the activity")
    check_text(reason, "reason")
    if len(reason) > _MOST_OF_A_REASON:
        raise UsageError(f"reason= has {len(reason)} characters; at most {_MOST_OF_A_REASON} fit")
