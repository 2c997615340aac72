"""Keeps the log lines of bodies and activities, for a worker whose app says so.

A handler of logging finds out whose code has made a record. Lines wait in memory and are written some times a second,
all together. Nothing waits for them. While the database does not take them, the oldest are dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

from romancy._logs import get_logger
from romancy.attempt_context import entered_activity
from romancy.core import running_loop
from romancy.declaring.log import OF_USERS, unheard
from romancy.engine.surroundings import here
from romancy.errors import RomancyError, StorageUnavailableError
from romancy.kept_logs import level_of, stored_line
from romancy.storage.journal import LINES_AT_ONCE, NewLine

if TYPE_CHECKING:
    from romancy.engine.clock import DatabaseClock
    from romancy.kept_logs import KeepLogs
    from romancy.storage.journal import Journal
    from romancy.storage.protocol import Store

__all__ = ["BodyLines", "LineKeeper", "keeper_of"]

logger = get_logger("romancy.engine")

MOST_LINES: Final = 10_000
"""How many lines wait at most in a worker."""
MOST_BYTES: Final = 8 * 1024 * 1024
"""How many bytes these lines have at most."""
_BYTES_AT_ONCE: Final = 1024 * 1024
_GATHERING: Final = 0.2
"""Seconds in which lines gather for one write."""
_AGAIN: Final = 1.0
"""Seconds until a write that has failed, or lines of an instance that is not there yet, are tried again."""
_PATIENCE: Final = 30_000_000
"""For how many microseconds a line waits for the first row of its instance."""


class LineKeeper:
    """The lines of one worker, from any thread. It is told to begin and to end by the worker."""

    def __init__(self, journal: Journal, keep: KeepLogs, worker_id: str, clock: DatabaseClock) -> None:
        self.level = level_of(keep.level)
        self._journal, self._keep, self._worker_id, self._clock = journal, keep.lines, worker_id, clock
        self._mark, self._count = here().token(), 0
        self._lock = threading.Lock()
        self._lines: deque[NewLine] = deque()
        self._size = 0
        self._lost: Counter[tuple[str, int]] = Counter()
        """How many lines were dropped, by instance and life."""
        self._taken: list[NewLine] = []
        """Lines that are being written, or wait for their instance."""
        self._again = False
        """Whether some of these may have been written."""
        self._writing = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._told = False

    # ── what logs ───────────────────────────────────────────────────────────────────────────────────────────────

    def keep(
        self,
        record: logging.LogRecord,
        owner: tuple[str, int],
        run: int,
        activity_id: str | None = None,
        attempt: int | None = None,
    ) -> None:
        """Keep the record as a line of this instance, if its level is high enough. Any thread may call it."""
        if record.levelno < self.level:
            return
        body = stored_line(record, self._worker_id, run, activity_id, attempt)
        with self._lock:
            self._add(owner, body)
            tell, self._told = not self._told, True
        loop = self._loop
        if tell and loop is not None:
            try:
                loop.call_soon_threadsafe(self._woken.set)
            except RuntimeError:
                pass  # the loop is closed, and so is the worker

    def _add(self, owner: tuple[str, int], body: bytes) -> None:
        self._count += 1
        self._lines.append(NewLine(*owner, f"{self._mark}-{self._count}", self._clock.now(), body))
        self._size += len(body)
        while len(self._lines) > MOST_LINES or self._size > MOST_BYTES:
            dropped = self._lines.popleft()
            self._size -= len(dropped.body)
            self._lost[dropped.instance_id, dropped.life] += 1

    # ── what writes ─────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Hear what is logged from now on."""
        self._loop = asyncio.get_running_loop()
        _collector.begins(self)

    def end(self) -> None:
        """Hear nothing more."""
        self._loop = None
        _collector.ends(self)

    async def run(self) -> None:
        """Write what comes, until it is cancelled."""
        while True:
            await self._woken.wait()
            await asyncio.sleep(_GATHERING)
            self._woken.clear()
            with self._lock:
                self._told = False
            _collector.stays()
            if not await self.flushed():
                await asyncio.sleep(_AGAIN)
                self._woken.set()

    async def flushed(self) -> bool:
        """Write what is there. False: something is left, to be tried again later."""
        async with self._writing:
            while self._take():
                try:
                    absent = await self._journal.put(self._taken, keep=self._keep, again=self._again)
                except StorageUnavailableError:
                    self._again = True
                    return False
                except asyncio.CancelledError:
                    self._again = True
                    raise
                except RomancyError as error:
                    logger.warning("%d log lines cannot be kept: %s", len(self._taken), error)
                    absent = []
                now = self._clock.now()
                self._taken = [line for line in absent if now - line.at < _PATIENCE][-LINES_AT_ONCE:]
                self._again = False
                if self._taken and not self._lines:
                    return False
            return True

    def _take(self) -> bool:
        """Take the next lines, behind those that are still to be written."""
        if self._again:
            return True
        with self._lock:
            count = size = 0
            for (name, life), lost in self._lost.items():
                self._taken.append(self._tells_lost(name, life, lost))
            self._lost.clear()
            while self._lines and count < LINES_AT_ONCE and size < _BYTES_AT_ONCE:
                line = self._lines.popleft()
                count, size = count + 1, size + len(line.body)
                self._taken.append(line)
            self._size -= size
        return bool(self._taken)

    def _tells_lost(self, instance_id: str, life: int, count: int) -> NewLine:
        self._count += 1
        said = logging.LogRecord("romancy", logging.WARNING, "", 0, _LOST, (count,), None)
        body = stored_line(said, self._worker_id, 0)
        return NewLine(instance_id, life, f"{self._mark}-{self._count}", self._clock.now(), body)


_LOST: Final = "%d lines were dropped here: the database did not take them in time"


def keeper_of(store: Store, keep: KeepLogs | None, worker_id: str, clock: DatabaseClock) -> LineKeeper | None:
    """The keeper of a worker. None: its app keeps no lines.

    Raises MissingServiceError if the store cannot keep any.
    """
    return None if keep is None else LineKeeper(store.services.journal, keep, worker_id, clock)


class BodyLines:
    """Keeps the lines of the body of one instance."""

    __slots__ = ("_keeper", "_owner", "level")

    def __init__(self, keeper: LineKeeper, instance_id: str, life: int) -> None:
        self.level = keeper.level
        self._keeper, self._owner = keeper, (instance_id, life)

    def keep(self, record: logging.LogRecord, run: int) -> None:
        self._keeper.keep(record, self._owner, run)


class _Collector(logging.Handler):
    """Gives the records of user code to the keeper of its worker. It is a handler while a worker keeps lines.

    Python writes warnings to stderr where no handler is. This one does not count as one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._keepers: list[LineKeeper] = []

    def begins(self, keeper: LineKeeper) -> None:
        self._keepers.append(keeper)
        self.stays()

    def stays(self) -> None:
        """Be a handler again, if the program has configured logging anew."""
        for one in _LISTENED:
            if self not in one.handlers:
                one.addHandler(self)

    def ends(self, keeper: LineKeeper) -> None:
        if keeper in self._keepers:
            self._keepers.remove(keeper)
        if not self._keepers:
            for one in _LISTENED:
                one.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, "romancy_kept", False):
            record.romancy_kept = True
            if not record.name.startswith("romancy.") or record.name in OF_USERS:
                try:
                    _keep(record)
                except Exception:  # noqa: BLE001 - who logs must not fail for it
                    self.handleError(record)
            if logging.lastResort is not None and record.levelno >= logging.lastResort.level and _alone(record.name):
                logging.lastResort.handle(record)


def _keep(record: logging.LogRecord) -> None:
    loop = running_loop()
    if loop is None:
        attempt: Any = entered_activity()
        lines: Any = getattr(attempt, "lines", None)
        if lines is not None:
            lines.keep(record)
        return
    commands = loop.commands
    if commands.lines is not None and not commands.replaying:
        commands.lines.keep(record, commands.started.run)


def _alone(name: str) -> bool:
    """Whether no other handler has got a record of this logger."""
    if name in unheard:
        return False
    one: logging.Logger | None = logging.getLogger(name)
    while one is not None:
        if any(handler is not _collector for handler in one.handlers):
            return False
        one = one.parent if one.propagate else None
    return True


_collector: Final = _Collector()
_LISTENED: Final = (logging.getLogger(), *map(logging.getLogger, OF_USERS), *unheard.values())
