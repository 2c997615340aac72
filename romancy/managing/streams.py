"""Reads the streams of instances: the rows of the journal, and the log, which says what becomes of them.

A row is void until the log has the end of its attempt. So the log is read first: whatever an end settles was in the
journal before. A row names the last commit that its writer knew, and is told behind it.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from romancy._microseconds import moment_of
from romancy.core import (
    TERMINAL,
    ActivityAttemptFailed,
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    CompensationAttemptFailed,
    CompensationCompleted,
    CompensationFailed,
    StreamWritten,
    WorkflowStarted,
)
from romancy.engine import history
from romancy.errors import CodecError, InstanceNotFoundError, QueryError, StorageUnavailableError, StreamGoneError
from romancy.log import commits_of
from romancy.managing.stream_tails import written_in
from romancy.serialization import plan_for
from romancy.status import TERMINAL_STATUSES
from romancy.stream import StreamItem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from romancy.core import LogEvent
    from romancy.managing.stream_tails import Tail, Written
    from romancy.storage.journal import KeptLine
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow, LogRow
    from romancy.stream import Stream
    from romancy.stream_rows import StreamRow

__all__ = ["items_of", "names_of"]

_OFFSET: Final = re.compile(r"([0-9a-f]{8})([od])([0-9a-f]{10})([0-9a-f]{6})([0-9a-f]{10})([0-9a-f]{6})([0-9a-f]{10})")
_ENDED: Final = 2**24 - 1
"""In the place of the number of events: behind the end."""
_AWAY: Final = 1.0
_FAILURES: Final = (ActivityAttemptFailed, ActivityFailed, CompensationAttemptFailed, CompensationFailed)


class _Place(NamedTuple):
    """How far a reader is, in the log and in the journal."""

    seq: int = 0
    events: int = 0
    """How many events of this commit were told."""
    number: int = 0
    told: int = 0
    """How many items of this row were told: first the discard that it may bring, then its values."""
    low: int = 1
    """The number of the first row that the log has not decided about."""


class _Open(NamedTuple):
    """What a source has written that is neither settled nor discarded."""

    number: int
    attempt: int
    writer: str
    values: list[tuple[Any, int]]
    """Of a reader of final data: what it holds back, and when it was written."""


class _Happened(NamedTuple):
    """An event of the log."""

    seq: int
    place: int
    writer: str
    at: int
    event: LogEvent


async def items_of(
    store: Store,
    instance_id: str,
    stream: Stream[Any],
    after: str | None = None,
    *,
    settled: bool = False,
    tail: Tail | None = None,
) -> AsyncGenerator[StreamItem[Any]]:
    """The items behind an offset; with a `tail` that it follows, also future ones, until the instance has ended.

    Raises InstanceNotFoundError, StreamGoneError for an offset whose items are no longer there, and QueryError for what
    is no offset. While the database is away, a follower waits.
    """
    reader = _Reader(store, instance_id, stream, after, settled=settled, tail=tail)
    while True:
        looks = 0 if tail is None else tail.looks
        try:
            async for item in reader.news():
                yield item
            if reader.has_ended or tail is None:
                return
        except StorageUnavailableError:
            if tail is None:
                raise
            await asyncio.sleep(_AWAY)
        else:
            await tail.next_look(looks)


async def names_of(store: Store, instance_id: str) -> list[str]:
    """The streams of an instance that were written to, by their names.

    Raises InstanceNotFoundError.
    """
    found = await store.read(instance_id, limit=0)
    if found is None:
        raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
    life = found.instance.life
    names = {each.row.stream async for each in written_in(store, instance_id, life, 0) if each.row is not None}
    names.discard("")  # of the row that is there in place of removed ones
    async for _, events in history(store, instance_id):
        names |= {event.name for event in events if isinstance(event, StreamWritten)}
    return sorted(names)


class _Reader:
    """One reader, and what it remembers between two looks."""

    def __init__(
        self,
        store: Store,
        instance_id: str,
        stream: Stream[Any],
        after: str | None,
        *,
        settled: bool,
        tail: Tail | None,
    ) -> None:
        self._store, self._instance_id, self._stream, self._settled = store, instance_id, stream, settled
        self._tail = tail
        self._begun, self._after = after is None, after
        found = _OFFSET.fullmatch(after) if isinstance(after, str) else None
        if after is not None and (found is None or (found[2] == "d") is not settled):
            kind = "a reader of final data" if settled else "a reader of all items"
            raise QueryError(f"this is no offset of {kind}; use the offset of an item, unchanged")
        self._place = _Place()
        self._until = _Place()
        """What the caller has got already."""
        if found is not None and not settled:
            self._until = _Place(*(int(found[part], 16) for part in range(3, 8)))
            self._place = _Place(self._until.seq, self._until.events, self._until.low - 1, 0, self._until.low)
        self._open: dict[str, _Open] = {}
        self._life: int | None = None
        self._name = ""
        self._first = 0
        """The first commit that the log still has, of a reader that begins there."""
        self._log: deque[_Happened] = deque()
        self._read = 0
        """The last commit that was read."""
        self.has_ended = False
        where = f"item of stream {stream.name!r}"
        self._decode = plan_for(stream.data, where).reader(where)

    async def news(self) -> AsyncGenerator[StreamItem[Any]]:
        """What is there now, behind all that was told. It was read for all who follow, or is read here."""
        tail, life = self._tail, self._life
        shared = tail is not None and life is not None and tail.covers(life, self._read, self._place.number)
        instance = self._read_with(tail) if tail is not None and shared else await self._read_log()
        async for line, row in self._rows(instance.life, shared=shared):
            if row.seen > self._read:
                return  # the log has gone on since it was read, and may have settled what this look has not seen
            for item in self._told(row.seen):
                yield item
            for item in self._row(line, row):
                yield item
        for item in self._told(self._read):
            yield item
        if instance.status in TERMINAL_STATUSES:
            for item in self._end(instance.updated_at):
                yield item
        if tail is not None and not shared:
            tail.has_read(instance, self._read, self._place.number)

    async def _rows(self, life: int, *, shared: bool) -> AsyncIterator[tuple[KeptLine, StreamRow]]:
        """The rows behind the last one. They were read no sooner than the log was."""
        after = self._place.number
        for each in self._tail.written_behind(after) if shared and self._tail else ():
            yield each.line, self._opened(each)
        if not shared:
            async for each in written_in(self._store, self._instance_id, life, after):
                yield each.line, self._opened(each)

    def _opened(self, written: Written) -> StreamRow:
        if written.row is None:
            raise CodecError(f"instance {self._instance_id!r}: its streams are sealed with codecs that are not at hand")
        if not written.row.stream and (self._after is not None or self._place.number):
            # whoever has read, and been told, what there was reads on behind this row
            raise _gone(self._instance_id, "was removed some time after the end of the instance (keep_streams=)")
        return written.row

    # ── the log ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _read_with(self, tail: Tail) -> InstanceRow:
        """Take what the last look of all has found in the log."""
        assert tail.instance is not None  # noqa: S101 - it covers this reader
        for row, events in tail.commits_behind(self._read):
            self._take(row, events)
        return tail.instance

    async def _read_log(self) -> InstanceRow:
        while True:
            after = self._read or max(0, self._place.seq - 1)
            page = await self._store.read(self._instance_id, after=after)
            if page is None:
                raise InstanceNotFoundError(f"there is no instance {self._instance_id!r}")
            self._enter(page.instance.life)
            if not self._read:
                first = page.rows[0].seq if page.rows else page.instance.run_from
                if not self._place.seq:
                    self._first = first
                elif first > self._place.seq:
                    raise _gone(self._instance_id, "was removed with a former run of the instance")
            for row, events in commits_of(page, after):
                self._take(row, events)
            if not page.more:
                self._read = max(self._read, after)
                return page.instance

    def _take(self, row: LogRow, events: list[LogEvent]) -> None:
        for index, event in enumerate(events):
            if row.seq > self._place.seq or index >= self._place.events:
                self._log.append(_Happened(row.seq, index, row.writer, row.at, event))
        self._read = row.seq

    def _enter(self, life: int) -> None:
        """Find out whether the offset is one of this stream."""
        if self._life == life:
            return
        if self._life is not None:
            raise _gone(self._instance_id, "belongs to a former life of its id")
        self._life = life
        self._name = f"{zlib.crc32(f'{self._instance_id} {life} {self._stream.name}'.encode()):08x}"
        if self._after is not None and not self._after.startswith(self._name):
            raise _gone(self._instance_id, "is of another stream, or of a former life of the id")

    def _told(self, seq: int) -> Iterator[StreamItem[Any]]:
        """What the log says, up to this commit."""
        while self._log and self._log[0].seq <= seq:
            happened = self._log.popleft()
            self._place = self._place._replace(seq=happened.seq, events=happened.place + 1)
            yield from self._decided(happened)

    def _decided(self, happened: _Happened) -> Iterator[StreamItem[Any]]:
        event, at = happened.event, happened.at
        if isinstance(event, (ActivityCompleted, ActivityCancelled, CompensationCompleted)):
            written = self._open.pop(event.id, None)
            if written is not None:
                token = happened.writer.rpartition(".")[0]
                ended = event.streamed if isinstance(event, ActivityCancelled) else event.attempt
                mine = (written.attempt, written.writer) == (ended, token)
                attempt = ended or written.attempt + 1
                yield from self._closed("settled" if mine else "discard", event.id, attempt, at, written)
        elif isinstance(event, _FAILURES):
            written = self._open.pop(event.id, None)
            if written is not None:
                yield from self._closed("discard", event.id, written.attempt + 1, at, written)
        elif isinstance(event, StreamWritten):
            if event.name == self._stream.name and not event.again:
                data = self._decode(event.data)
                yield from self._final("", 0, at, data, 1) if self._settled else (self._item("data", "", 0, at, data),)
        elif isinstance(event, (*TERMINAL, WorkflowStarted)):
            yield from self._over(happened)

    def _closed(
        self, kind: Literal["settled", "discard"], source: str, attempt: int, at: int, written: _Open
    ) -> Iterator[StreamItem[Any]]:
        if not self._settled:
            yield self._item(kind, source, attempt, at)
        elif kind == "settled":
            for count, (data, wrote) in enumerate(written.values, 1):
                yield from self._final(source, attempt, wrote, data, count)

    def _over(self, happened: _Happened) -> Iterator[StreamItem[Any]]:
        """A run is over: nothing settles any more what it has left open."""
        if self._open and not self._settled:
            self._open.clear()
            yield self._item("discard", "", 0, happened.at)
        self._open.clear()

    def _end(self, at: int) -> Iterator[StreamItem[Any]]:
        """The instance has ended, and all that it had was told."""
        self.has_ended = True
        if not self._settled and self._place.events != _ENDED:
            self._place = self._place._replace(events=_ENDED)
            yield self._item("end", "", 0, at)

    # ── the journal ─────────────────────────────────────────────────────────────────────────────────────────────

    def _row(self, line: KeptLine, row: StreamRow) -> Iterator[StreamItem[Any]]:
        """The items of a row. What the caller has got already is only remembered."""
        if row.stream != self._stream.name or row.seen < self._first - 1:
            self._place = self._place._replace(number=line.number, told=0)
            return
        until = self._until.told if line.number == self._until.number else 0
        silent = line.number < self._until.number
        self._place = self._place._replace(number=line.number, told=max(1, until))
        if row.begins:
            former = self._open.pop(row.source, None)
            if former is not None and not (self._settled or silent or until):
                yield self._item("discard", row.source, row.attempt, line.at, left=line.number)
        if not row.values:
            return
        written = self._open.get(row.source)
        if written is None:
            written = self._open[row.source] = _Open(line.number, row.attempt, row.writer, [])
        if silent:
            return
        if self._settled:
            written.values.extend((self._decode(value), line.at) for value in row.values)
        else:
            yield from self._items(line, row, max(0, until - 1))

    def _items(self, line: KeptLine, row: StreamRow, skipped: int) -> Iterator[StreamItem[Any]]:
        """The values of a row, without the first ones. Their offsets only differ in how many were told."""
        self._place = self._place._replace(told=len(row.values) + 1)
        before, behind = self._offset()
        source, attempt, at = row.source, row.attempt, moment_of(line.at)
        for told, value in enumerate(row.values[skipped:], skipped + 2):
            yield StreamItem(f"{before}{told:06x}{behind}", "data", self._decode(value), source, attempt, at)

    # ── items ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _item(
        self, kind: Any, source: str, attempt: int, at: int, data: Any = None, *, left: int | None = None
    ) -> StreamItem[Any]:
        """An item, with its offset. `left`: the row, if more of it is to be told."""
        _, told = self._furthest()
        before, behind = self._offset(left)
        return StreamItem(f"{before}{told:06x}{behind}", kind, data, source, attempt, moment_of(at))

    def _furthest(self) -> tuple[int, int]:
        """The last row that was told, and how many items of it: by this reader, or to its caller before."""
        return max(self._place[2:4], self._until[2:4])

    def _offset(self, left: int | None = None) -> tuple[str, str]:
        """What stands in the offset of an item before and behind the number of the row's items that were told."""
        seq, events, *_ = self._place
        number, _ = self._furthest()
        low = min([each.number for each in self._open.values()], default=number + 1)
        low = min(low, number + 1 if left is None else left)
        sort = "d" if self._settled else "o"
        return f"{self._name}{sort}{seq:010x}{events:06x}{number:010x}", f"{low:010x}"

    def _final(self, source: str, attempt: int, at: int, data: Any, count: int) -> Iterator[StreamItem[Any]]:
        """An item of a reader of final data. It reads everything again, and leaves out what the caller has."""
        seq, events, *_ = self._place
        offset = f"{self._name}d{seq:010x}{events:06x}{count:010x}{0:06x}{0:010x}"
        if self._after is None or offset > self._after:
            yield StreamItem(offset, "data", data, source, attempt, moment_of(at))


def _gone(instance_id: str, why: str) -> StreamGoneError:
    return StreamGoneError(
        f"instance {instance_id!r}: what this offset is behind {why}; read the stream from its beginning, without it"
    )
