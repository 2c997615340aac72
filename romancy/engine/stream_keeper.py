"""Writes what attempts write to streams: all of a worker together, some times a second, as rows of the journal.

Nothing is lost or dropped: who writes too much gets an error. While nothing is written, there is no task.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakValueDictionary

from msgspec import Raw

from romancy.engine.surroundings import here
from romancy.errors import RomancyError, StorageUnavailableError, StreamFullError, UsageError
from romancy.storage.journal import LINES_AT_ONCE, NewLine
from romancy.stream_rows import StreamRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from romancy.engine.clock import DatabaseClock
    from romancy.engine.incarnation import Incarnation
    from romancy.engine.instance import Live
    from romancy.storage.protocol import Store

__all__ = ["AttemptStreams", "StreamKeeper"]

MOST_WAITING: Final = 8 * 1024 * 1024
"""How many bytes wait at most in a worker."""
MOST_STORED: Final = 16 * 1024 * 1024
"""How many bytes the streams of an instance hold at most: its run, and former ones that are not pruned."""
_BYTES_AT_ONCE: Final = 1024 * 1024
_LONG_ROW: Final = 64 * 1024
_GATHERING: Final = 0.03
"""Seconds in which items gather for one write."""
_WRITE_EVERY: Final = 0.04
"""Seconds at least from the beginning of a write to the next one, if nobody waits for it. Later ones also rest as long
as the one before has taken, up to the time of gathering: a slow database is not asked without a pause."""
_AGAIN: Final = 0.5
"""Seconds until a write that has failed is tried again."""
_LAST_WRITE: Final = 1.0
"""For how many seconds a failed attempt waits for a write that is under way."""
_REMEMBERED: Final = 10_000


class _Room:
    """How much the streams of one instance hold."""

    __slots__ = ("__weakref__", "stored", "waiting")

    def __init__(self) -> None:
        self.stored = self.waiting = 0


class AttemptStreams:
    """The streams of one attempt."""

    def __init__(
        self, keeper: StreamKeeper, live: Live, source: str, attempt: int, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self.loop = asyncio.get_running_loop() if loop is None else loop
        self.live, self.source, self.attempt = live, source, attempt
        self.writer = keeper.incarnation.token or ""
        self.room = keeper.room(live.instance_id, live.life)
        self.over = False
        """Whether nothing more may be written."""
        self._keeper = keeper
        self._of: dict[str, _Writing] = {}
        self._key = (live.instance_id, live.life, source)

    def of(self, name: str) -> _Writing:
        """What the attempt writes to this stream."""
        writing = self._of.get(name)
        if writing is None:
            writing = self._of[name] = _Writing(self._keeper, self, name)
            self._keeper.writes(self._key, name)
        return writing

    async def finish(self) -> None:
        """Return once everything is in the database, also that former attempts at the same place do not count."""
        self.over = True
        for name in sorted(self._keeper.begun(self._key) - self._of.keys()):
            self.of(name).void()
        await self.flushed()

    async def flushed(self) -> None:
        """Return once everything is in the database that was written until now."""
        for writing in list(self._of.values()):
            await writing.flushed()

    async def give_up(self) -> None:
        """Write nothing more, and wait a moment for what is being written."""
        self.over = True
        if self._keeper.drop(self._of.values()):
            try:
                async with asyncio.timeout(_LAST_WRITE):
                    await self.flushed()
            except (TimeoutError, RomancyError):
                pass  # what is in the database all the same is void by the end of the attempt

    def has_ended(self) -> None:
        """Record that the end of the attempt goes into the log, and says what becomes of what it wrote."""
        self._keeper.forget(self._key)


class _Writing:
    """What one attempt writes to one stream. Any thread may write."""

    def __init__(self, keeper: StreamKeeper, attempt: AttemptStreams, name: str) -> None:
        self.of, self.name = attempt, name
        self.values: list[bytes] = []
        self.rows = 0
        """How many rows are being written."""
        self.waits = False
        """Whether it is in the keeper's queue."""
        self.begun = False
        self.error: RomancyError | None = None
        self._keeper = keeper

    def write(self, data: bytes, /) -> None:
        if self.of.over:
            raise UsageError(f"stream {self.name!r}: activity {self.of.source} wrote to it after its attempt had ended")
        self._keeper.add(self, data)

    def void(self) -> None:
        """Write that nothing counts which the source has written so far."""
        self._keeper.add(self, None)

    async def flushed(self) -> None:
        while self.waits or self.rows:
            await self._keeper.next_write()
        if self.error is not None:
            raise self.error

    def row(self, values: list[bytes]) -> StreamRow:
        """The next row, of these values."""
        of, begins, self.begun = self.of, not self.begun, True
        raws = tuple(map(Raw, values))
        return StreamRow(self.name, of.source, of.attempt, of.writer, of.live.head, raws, begins)


class _Taken(NamedTuple):
    """A row that is being written."""

    line: NewLine
    row: StreamRow
    writing: _Writing
    size: int
    """How many bytes its attempt gave."""


class StreamKeeper:
    """What attempts of one worker write to streams."""

    def __init__(
        self,
        store: Store,
        clock: DatabaseClock,
        incarnation: Incarnation,
        written: Callable[[NewLine, StreamRow, int, int], None],
    ) -> None:
        """`written`: called with each row that was written, its number, and that of the one before it."""
        self.incarnation = incarnation
        self._has_written = written
        self._store, self._clock = store, clock
        self._mark, self._count = here().token(), 0
        self._lock = threading.Lock()
        self._waiting: deque[_Writing] = deque()
        self._size = 0
        """How many bytes wait, those that are being written included."""
        self._taken: list[_Taken] = []
        """What is being written."""
        self._is_cut = False
        """Whether more waited when these were taken."""
        self._again = False
        """Whether some of these may have been written. They are sent again as they are."""
        self._task: asyncio.Task[None] | None = None
        self._told = False
        self._hurry = asyncio.Event()
        self._awaited: list[asyncio.Future[None]] = []
        self._rooms: WeakValueDictionary[tuple[str, int], _Room] = WeakValueDictionary()
        self.unended: dict[tuple[str, int, str], set[str]] = {}
        """The streams of attempts without an end in the log: of those that run, and of those that were dropped."""

    # ── what writes ─────────────────────────────────────────────────────────────────────────────────────────────

    def room(self, instance_id: str, life: int) -> _Room:
        """How much the streams of this instance hold."""
        with self._lock:
            return self._rooms.setdefault((instance_id, life), _Room())

    def writes(self, key: tuple[str, int, str], name: str) -> None:
        """Remember that an attempt writes to this stream. `key`: its instance, life and source."""
        with self._lock:
            while len(self.unended) > _REMEMBERED:
                del self.unended[next(iter(self.unended))]
            self.unended.setdefault(key, set()).add(name)

    def begun(self, key: tuple[str, int, str]) -> frozenset[str]:
        """The streams that attempts of this source have written to, whose ends are in no log."""
        return frozenset(self.unended.get(key, ()))

    def forget(self, key: tuple[str, int, str]) -> None:
        """The end of an attempt goes into the log."""
        with self._lock:
            self.unended.pop(key, None)

    def add(self, writing: _Writing, value: bytes | None) -> None:
        """Write this soon; None: a row without values."""
        with self._lock:
            if writing.error is not None:
                raise writing.error
            if value is not None:
                self._make_room(writing, len(value))
                writing.values.append(value)
            if not writing.waits:
                writing.waits = True
                self._waiting.append(writing)
            tell, self._told = not self._told, True
        if tell:
            try:
                writing.of.loop.call_soon_threadsafe(self._begin)
            except RuntimeError:
                pass  # the loop is closed, and so is the worker

    def _make_room(self, writing: _Writing, size: int) -> None:
        room = writing.of.room
        if room.stored + room.waiting + size > MOST_STORED:
            raise StreamFullError(
                f"stream {writing.name!r}: the streams of instance {writing.of.live.instance_id} hold "
                f"{room.stored + room.waiting:,} bytes, and {MOST_STORED:,} are allowed; write less, or in instances "
                "of their own"
            )
        if self._size + size > MOST_WAITING:
            raise StreamFullError(
                f"stream {writing.name!r}: {self._size:,} bytes of streams wait in this worker, because the database "
                "does not take them, or takes them too slowly; `await stream.flush()` now and then waits for it"
            )
        room.waiting += size
        self._size += size

    def drop(self, writings: Iterable[_Writing]) -> bool:
        """Forget what waits of these. True if some of it is being written already."""
        under_way = False
        with self._lock:
            for writing in writings:
                self._free(writing, sum(map(len, writing.values)))
                writing.values.clear()
                if writing.waits:
                    writing.waits = False
                    self._waiting.remove(writing)
                under_way = under_way or writing.rows > 0
        return under_way

    def _free(self, writing: _Writing, size: int) -> None:
        writing.of.room.waiting -= size
        self._size -= size

    # ── what is written ─────────────────────────────────────────────────────────────────────────────────────────

    async def next_write(self) -> None:
        """Write at once, and return when the next write has ended."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.append(waiter)
        self._hurry.set()
        self._begin()
        await waiter

    def close(self) -> None:
        """Write nothing more."""
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """Write until nothing waits."""
        pause = _GATHERING
        seconds = here().seconds
        try:
            while True:
                try:
                    async with asyncio.timeout(pause):
                        await self._hurry.wait()
                except TimeoutError:
                    pass
                self._hurry.clear()
                with self._lock:
                    self._told = True
                begun = seconds()
                if not await self._written():
                    await asyncio.sleep(_AGAIN)
                took = seconds() - begun
                pause = max(min(took, _GATHERING), _WRITE_EVERY - took)
                with self._lock:
                    if not self._waiting and not self._taken:
                        self._told, self._task = False, None
                        return
        finally:
            self._task = None
            self._tell()

    async def _written(self) -> bool:
        """Write what waits. False: something is left, to be tried again later."""
        while self._take():
            lines = [one.line for one in self._taken]
            try:
                refused, sizes, places = await self._store.services.journal.write(lines)
            except StorageUnavailableError:
                self._again = True
                return False
            except asyncio.CancelledError:
                self._again = True
                raise
            except RomancyError as error:
                self._done({line.mark: error for line in lines}, {})
            else:
                lost = StorageUnavailableError("its worker has lost the instance, so its streams take nothing more")
                taken = self._taken
                self._done({line.mark: lost for line in refused}, sizes)
                for line, row, _, _ in taken:
                    if line.mark in places:
                        self._has_written(line, row, *places[line.mark])
            self._tell()
            if not self._is_cut:
                break
        return True

    def _take(self) -> bool:
        """Take the next lines. True if there are any."""
        if self._again:
            return True
        size = 0
        with self._lock:
            while self._waiting and len(self._taken) < LINES_AT_ONCE and size < _BYTES_AT_ONCE:
                writing = self._waiting.popleft()
                some, values = 0, writing.values
                count = 0
                while count < len(values) and some < _LONG_ROW:
                    some += len(values[count])
                    count += 1
                row, writing.values = writing.row(values[:count]), values[count:]
                if writing.values:
                    self._waiting.appendleft(writing)
                else:
                    writing.waits = False
                writing.rows += 1
                size += some
                self._count += 1
                live = writing.of.live
                mark = f"{self._mark}-{self._count}"
                line = NewLine(live.instance_id, live.life, mark, self._clock.now(), row.stored(), writing.of.writer)
                self._taken.append(_Taken(line, row, writing, some))
            self._is_cut = bool(self._waiting)
        return bool(self._taken)

    def _done(self, failed: dict[str, RomancyError], sizes: dict[str, int]) -> None:
        with self._lock:
            for line, _, writing, size in self._taken:
                writing.rows -= 1
                self._free(writing, size)
                writing.of.room.stored = sizes.get(line.instance_id, writing.of.room.stored)
                if line.mark in failed:
                    writing.error = failed[line.mark]
            self._taken, self._again = [], False

    def _tell(self) -> None:
        awaited, self._awaited = self._awaited, []
        for waiter in awaited:
            if not waiter.done():
                waiter.set_result(None)
