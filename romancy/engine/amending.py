"""Keeps of the failed attempts of a poll the last one only: its row takes the place of the one before.

That is so while the last row of the log says nothing else. Each failure says how many there were, and nothing of the
body runs on it, so a replay that never sees the former ones follows the log all the same.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple, TypeGuard

from msgspec.structs import replace

from romancy._logs import about, get_logger
from romancy.core import ActivityAttemptFailed, CompensationAttemptFailed, driving, encode_commit
from romancy.engine.surroundings import here
from romancy.errors import StorageUnavailableError
from romancy.storage.records import Outcome, Step
from romancy.storage.services import Service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from romancy.core import LogEvent
    from romancy.engine.instance import Live
    from romancy.engine.log_writer import LogWriter
    from romancy.engine.pending_append import PendingAppend
    from romancy.storage.protocol import Store

    Failure: TypeAlias = ActivityAttemptFailed | CompensationAttemptFailed

__all__ = ["Amender"]

logger = get_logger("romancy.engine")

_AT_ONCE: Final = 1000
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0


class _Last(NamedTuple):
    """A row that says of failures of which the log keeps the last ones, and of nothing else."""

    writer: str
    events: tuple[Failure, ...]


class Amender:
    """Writes what takes the place of a last row. What waits while the database answers is written together."""

    def __init__(self, store: Store, writer: LogWriter, lives: Mapping[str, Live]) -> None:
        self._store = store
        self._writer = writer
        self._queue: list[PendingAppend] = []
        self._writes = False
        self._lives = lives
        self._last: dict[str, _Last] = {}
        """By instance. Some may be of instances that were let go since: their writers are others."""
        self._offered = Service.AMENDING in store.services.offered

    def takes(self, prepared: PendingAppend) -> bool:
        """Whether it writes what was prepared, in the place of the last row. Otherwise that is a row of its own.

        The caller has seen that it begins with a failure of which the log keeps the last one only.
        """
        item, events = prepared.item, prepared.activation.events
        if type(item) is not Step or prepared.settled or prepared.unwanted or not self._offered:
            return False
        if not _are_kept_last(events):
            return False
        live = prepared.live
        former = self._last.get(live.instance_id)
        if former is None or former.writer != live.writer:
            self._remember(live, _Last(item.writer, tuple(events)))
            return False
        ids = {event.id for event in events}
        kept = (*(event for event in former.events if event.id not in ids), *events)
        amended = Step(item.instance_id, item.life, live.head, item.writer, encode_commit([*kept]), item.behind)
        self._last[live.instance_id] = _Last(item.writer, kept)
        self._queue.append(replace(prepared, item=amended))
        if not self._writes:
            self._writes = True
            self._writer.aside(self._write_all())
        return True

    def _remember(self, live: Live, last: _Last) -> None:
        if len(self._last) > 2 * len(self._lives) + _AT_ONCE:
            self._last = {id: one for id, one in self._last.items() if id in self._lives}
        self._last[live.instance_id] = last

    async def _write_all(self) -> None:
        try:
            while self._queue:
                worker = self._queue[0].worker
                batch = [entry for entry in self._queue if entry.worker == worker][:_AT_ONCE]
                taken = set(map(id, batch))
                self._queue = [entry for entry in self._queue if id(entry) not in taken]
                outcomes = await self._amended([entry.item for entry in batch if type(entry.item) is Step], worker)
                with driving():
                    self._settle(batch, outcomes)
        finally:
            self._writes = False

    def _settle(self, batch: Sequence[PendingAppend], outcomes: Sequence[Outcome]) -> None:
        for entry, outcome in zip(batch, outcomes, strict=True):
            try:
                entry.settle(entry, outcome)
            except Exception:
                logger.exception(
                    "instance %s: the commit is written, but its outcome could not be acted on",
                    entry.item.instance_id,
                    extra=about(entry.item),
                )

    async def _amended(self, items: list[Step], worker: str | None) -> list[Outcome]:
        """The outcomes, however long the database is away: the store knows what is sent again."""
        pause = _FIRST_PAUSE
        while True:
            try:
                outcomes = await self._store.services.amending.amend(items, worker=worker or "")
            except StorageUnavailableError as error:
                self._writer.outage.failed("commits wait", error)
                await asyncio.sleep(pause * here().uniform(0.5, 1.0))
                pause = min(pause * 2, _LONGEST_PAUSE)
            except Exception as error:  # noqa: BLE001 - the instance is parked with it
                if len(items) > 1:
                    return [outcome for item in items for outcome in await self._amended([item], worker)]
                self._writer.refuse(items[0], error)
                return [Outcome.INVALID]
            else:
                self._writer.outage.answered("commits wait")
                return outcomes


def _are_kept_last(events: Sequence[LogEvent]) -> TypeGuard[Sequence[Failure]]:
    return all(
        isinstance(event, ActivityAttemptFailed | CompensationAttemptFailed) and event.failures for event in events
    )
