"""Waits for work: stores of one process notify each other at once; polls find the changes of other processes.

A poll is one indexed query for the rows touched since the last poll. Polls are frequent after a change, and slow down
with jitter while nothing happens. Beside them, and then alone, the server waits for a change (`_server_wait.py`). A
store polls only while a caller waits. A transaction may commit a moment after the time it wrote, so each poll goes back
a little further than the last one reached, and one now and then some seconds. That one asks for workers that came, too:
it reads the rows of those that have died, of which there may be many. Under load all of that is read again and again,
so the next poll comes the later the more rows the last one found, and the later the longer polls have followed each
other. For later commits (a start inside a long transaction of the user's), waiting callers are told at long intervals
to look everywhere.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections import defaultdict
from typing import TYPE_CHECKING
from weakref import WeakSet

from romancy.errors import StorageError, StorageUnavailableError
from romancy.storage.marks import WORKER_NEWS
from romancy.storage.sqlkit.news import News, parted
from romancy_mysql._server_wait import ServerWait

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy_mysql._database import Database

__all__ = ["Wakeups"]

_log = logging.getLogger("romancy.mysql")

_QUICKEST, _SLOWEST, _SLOWER = 0.02, 0.34, 1.5
_AT_ONCE_AFTER = 0.003
"""Seconds between two polls, after a time without any."""
_PATIENT = 0.1
"""Seconds between polls from which on the server alone looks for changes, and one that was announced is given up."""
_SLOWEST_OUTBOX = 0.5
_PER_ROW = 0.0003
"""Seconds of pause for each row that a poll found."""
_AFTER_FAILURE = 1.0
_LOOK_BACK, _LOOK_FAR_BACK = 150_000, 3_000_000
_FAR_EVERY = 0.3
_AT_ONCE = 500
_EVERYTHING_EVERY = 10.0

_lock = threading.Lock()
_siblings: defaultdict[object, WeakSet[Wakeups]] = defaultdict(WeakSet)
"""The stores of this process by the tables they share, on any loop or thread."""


class Wakeups:
    """The changes for one store's waiting callers, and the polling for them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = News(most=_AT_ONCE * 20)
        self._outbox = News()
        """The same for the outbox: that it may have news."""
        self._outbox_pace = _QUICKEST
        self._looking: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        """Whether a poll is due: after a change that was reported, or the end of a wait in the server."""
        self._server_wait = ServerWait(database, lambda: self._reached, self._wait_ended)
        self._pace = self._quickest = _QUICKEST
        """The seconds between two polls, and the least seconds until the next one after the rows that the last one
        found.
        """
        self._least = _AT_ONCE_AFTER
        """The least seconds between two polls, which grow while one after the other finds changes."""
        self._heard_at = self._found_at = 0.0
        self._looked_at = self._far_at = self._everything_at = 0.0
        self._reached = 0
        self._recent: dict[str, int] = {}

    async def open(self) -> None:
        """Begin. Changes after this are not missed."""
        if self._loop is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._everything_at = self._heard_at = self._loop.time()
        (answer,) = await self._database.ask(self._database.statement("read_now"))
        self._reached = int(answer.rows[0][0])
        with _lock:
            _siblings[self._database.settings.identity].add(self)

    async def close(self) -> None:
        """Stop. Waiting callers fail."""
        with _lock:
            _siblings[self._database.settings.identity].discard(self)
        self._news.end(self._closed())
        self._outbox.end(self._closed())
        self._loop = None
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
        await self._server_wait.close()

    def tell(self, instance_ids: Iterable[str]) -> None:
        """After a commit: wake every store of this process that shares the tables."""
        ids = frozenset(instance_ids)
        if not ids:
            return
        with _lock:
            siblings = list(_siblings[self._database.settings.identity])
        for sibling in siblings:
            sibling.hear_from(self._loop, ids)

    def hear_from(self, loop: asyncio.AbstractEventLoop | None, ids: frozenset[str]) -> None:
        """Receive changes from a store, which may be on another loop."""
        if self._loop is loop:
            self._hear(ids)
        elif self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._hear, ids)
            except RuntimeError:  # that loop is closed, so no caller waits on it
                with _lock:
                    _siblings[self._database.settings.identity].discard(self)

    async def wait(self, timeout: float) -> frozenset[str] | None:
        """As `Store.wait_for_work` promises."""
        self._database.check_open()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_while_somebody_waits())
        return await self._news.wait(timeout)

    async def wait_for_outbox(self, timeout: float) -> bool:
        """Whether the outbox may have news: at intervals, shorter ones after news. False after the time-out."""
        self._database.check_open()
        pace = self._outbox_pace * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
        self._outbox_pace = min(self._outbox_pace * _SLOWER, _SLOWEST_OUTBOX)
        heard = await self._outbox.wait(min(timeout, pace))
        if heard != frozenset():
            self._outbox_pace = _QUICKEST
        return heard != frozenset() or timeout > pace

    def _hear(self, ids: frozenset[str] | None) -> None:
        """Pass on changes that were reported: others often answer them."""
        self._pass_on(ids)
        if ids is None or parted(ids)[1]:
            self._hurry.set()

    def _pass_on(self, ids: frozenset[str] | None) -> None:
        outbox, rest = parted(ids)
        if outbox:
            self._outbox.hear(None)
        if rest is None or rest:
            self._heard_at = self._time()
            self._pace = _AT_ONCE_AFTER if self._server_wait.is_slow else _QUICKEST
            self._news.hear(rest)

    async def _look_while_somebody_waits(self) -> None:
        failed = False
        await self._until_due(failed=False)
        while self._news.is_awaited:
            self._looked_at = self._time()
            self._hurry.clear()
            try:
                await self._look(everything=failed)
                failed = False
            except StorageError:  # claims get the error as well, and report it
                failed, self._pace = True, _AFTER_FAILURE
            except Exception:  # noqa: BLE001 - it is logged, and polling goes on
                _log.exception("cannot look for work; looking again")
                failed, self._pace = True, _AFTER_FAILURE
            await self._until_due(failed=failed)

    def _wait_ended(self, announced: bool) -> None:  # noqa: FBT001 - a callback
        if announced:
            self._pace = _AT_ONCE_AFTER  # it may not be committed yet
        self._hurry.set()

    async def _until_due(self, *, failed: bool) -> None:
        """Wait until the next poll is due: at its time, or earlier after a report or the end of a wait in the server.

        While each poll finds changes, the server is not asked to wait: it would answer at once.
        """
        server, now = self._server_wait, self._time()
        least = max(self._least, self._quickest)
        if server.may_wait and not failed and least < _QUICKEST and not self._hurry.is_set():
            server.begin(self._heard_at)
        due = self._looked_at + max(self._pace, least) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
        alone = server.is_under_way and self._pace >= _PATIENT
        try:
            async with asyncio.timeout(None if alone else max(0.0, due - now)):
                await self._hurry.wait()
        except TimeoutError:
            return
        hurried = self._time()
        soonest = self._looked_at + least if server.listens else hurried + _QUICKEST
        await asyncio.sleep((soonest if alone else min(due, soonest)) - hurried)

    def _set_apart(self, now: float) -> None:
        """Set polls that find changes further apart, the closer these follow each other."""
        if now - self._found_at > 2 * self._least:
            self._least = _AT_ONCE_AFTER
        else:
            self._least = min(self._least * _SLOWER, _QUICKEST)
        self._found_at = now

    def _time(self) -> float:
        return asyncio.get_running_loop().time()

    async def _look(self, *, everything: bool) -> None:
        database = self._database
        now = self._looked_at
        far = now - self._far_at >= _FAR_EVERY
        since = self._reached - (_LOOK_FAR_BACK if far else _LOOK_BACK)
        looks = [database.statement("touched", since=since, limit=_AT_ONCE)]
        if far:
            looks.append(database.statement("came", since=since, mark=WORKER_NEWS))
        found = {key.decode(): int(at) for answer in await database.ask(*looks) for key, at in answer.rows}
        fresh = frozenset(one for one, at in found.items() if self._recent.get(one) != at)
        self._reached = max([self._reached, *found.values()])
        self._quickest = len(found) * _PER_ROW
        if fresh:
            self._set_apart(now)
        if far:
            self._far_at, self._recent = now, found
        else:
            self._recent |= found
        self._server_wait.judge(found=bool(fresh), patient=self._pace >= _PATIENT)
        if everything or len(found) >= _AT_ONCE or now - self._everything_at > _EVERYTHING_EVERY:
            self._everything_at, pace = now, self._pace
            self._pass_on(None)
            if not fresh:
                self._pace = min(pace * _SLOWER, _SLOWEST)  # no change is known
        elif fresh:
            self._pass_on(fresh)
        else:
            self._pace = min(self._pace * _SLOWER, _SLOWEST)

    def _closed(self) -> StorageUnavailableError:
        return StorageUnavailableError(f"{self._database.settings.where}: the store is closed")
