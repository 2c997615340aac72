"""Reads logs: row by row, or as entries with a cursor each, for readers that must miss nothing.

A damaged log is never read past the damage: the missing part can neither be guessed nor left out.

One writer at a time writes a log, each commit behind the last. The entries after a cursor are therefore all that were
committed after it, without a gap, at the time of each read. There is no such order among instances.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from romancy._microseconds import moment_of
from romancy.core import Input, LogEvent, decode_commit
from romancy.errors import (
    HistoryCorruptError,
    HistoryVersionError,
    InstanceNotFoundError,
    QueryError,
    StorageUnavailableError,
    UsageError,
)
from romancy.status import TERMINAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from romancy.storage.protocol import Store
    from romancy.storage.records import History, InstanceRow, LogRow

__all__ = ["LogCursor", "LogEntry", "commit_of", "commits_of", "dated", "fields_of", "follow_log", "read_log"]

_TIMES: Final = frozenset({"at", "due", "next_at", "time"})
"""The fields of events that are times, in microseconds since the epoch."""
_PAGE: Final = 1000
_WHOLE: Final = -1
_QUICKEST, _SLOWEST, _SLOWER = 0.02, 0.5, 1.5


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One event of an instance's log. Pass `cursor` as `after=` to continue after it."""

    instance_id: str
    workflow_name: str
    at: datetime
    """When it was committed, by the database's clock; `event.at` is when it happened.

    A caller without a worker does not know the database's time, and commits an event without one. Here such an event
    has its commit's.
    """
    event: LogEvent
    cursor: str


class LogCursor(NamedTuple):
    """A place behind an event: the life of the id, the commit, and the event in the commit."""

    life: int
    seq: int
    event: int = _WHOLE

    @classmethod
    def parse(cls, cursor: str) -> Self:
        """Read a cursor. Raises QueryError if it is malformed."""
        try:
            life, seq, event = cursor.split("-")
            return cls(int(life, 16), int(seq), int(event) if event else _WHOLE)
        except (ValueError, AttributeError):
            raise QueryError("the cursor is malformed; use the cursor of an entry, unchanged") from None

    @classmethod
    def of_instances(cls, cursors: Mapping[str, str] | None) -> dict[str, Self]:
        """Read a cursor for each instance id. Raises QueryError if it is no such mapping."""
        if cursors is None:
            return {}
        if not isinstance(cursors, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped code calls this too
            raise QueryError(
                f"after: a mapping of instance ids to cursors is wanted, not {type(cursors).__name__}; "
                "for one instance there is app.entries_of(id, after=cursor)"
            )
        return {instance_id: cls.parse(cursor) for instance_id, cursor in cursors.items()}

    def __str__(self) -> str:
        return f"{self.life:x}-{self.seq}-{'' if self.event == _WHOLE else self.event}"

    def is_end_of(self, row: InstanceRow) -> bool:
        """Whether this instance has ended and nothing can follow this position."""
        whole = self.event == _WHOLE and self.seq >= row.last_seq
        return row.status in TERMINAL_STATUSES and self.life == row.life and whole


def commit_of(instance_id: str, seq: int, body: bytes) -> list[LogEvent]:
    """The events of one row. HistoryVersionError and HistoryCorruptError name the row that cannot be read."""
    try:
        commit = decode_commit(body)
    except (HistoryVersionError, HistoryCorruptError) as error:
        raise type(error)(f"instance {instance_id!r}, row {seq} of its log: {error}") from error
    if not commit:
        raise HistoryCorruptError(f"instance {instance_id!r}, row {seq} of its log: it holds no event")
    return commit


def dated(event: LogEvent, at: int) -> LogEvent:
    """The event, with the time of its commit if it was written without a time."""
    return replace(event, at=at) if isinstance(event, Input) and not event.at else event


def fields_of(event: LogEvent) -> dict[str, Raw]:
    """The fields of an event as stored JSON, `type` first; its times are texts in ISO 8601 instead of microseconds."""
    fields = msgspec.json.decode(msgspec.json.encode(event), type=dict[str, Raw])
    for name in _TIMES & fields.keys():
        value: object = getattr(event, name)
        if isinstance(value, int):
            fields[name] = Raw(msgspec.json.encode(_iso(value)))
    return fields


def _iso(microseconds: int) -> datetime | None:
    try:
        return moment_of(microseconds)
    except OverflowError:
        return None


def commits_of(page: History, after: int) -> Iterator[tuple[LogRow, list[LogEvent]]]:
    """The rows of a page that was read behind `after`, each with its events.

    Raises HistoryCorruptError if a row is missing or cannot be read, and HistoryVersionError if a row is newer than
    this library. Rows before the current run may be missing: they may have been pruned.
    """
    instance = page.instance
    for row in page.rows:
        due = max(after + 1, instance.run_from)
        if row.seq > due:
            raise _missing(instance.instance_id, due, row.seq - 1)
        yield row, commit_of(instance.instance_id, row.seq, row.body)
        after = row.seq
    if not page.more and after < instance.last_seq:
        raise _missing(instance.instance_id, max(after + 1, instance.run_from), instance.last_seq)


def _missing(instance_id: str, first: int, last: int) -> HistoryCorruptError:
    rows = f"row {first} is" if first == last else f"rows {first} to {last} are"
    return HistoryCorruptError(
        f"instance {instance_id!r}: {rows} missing from its log; bring back what was removed and resume it, "
        "or terminate it"
    )


async def read_log(store: Store, instance_id: str, after: LogCursor | None = None) -> AsyncIterator[LogEntry]:
    """The entries of the log behind the position, oldest first; all of them for a position in a former life of the id.

    Raises UsageError if a part of what followed the position has been pruned, and HistoryCorruptError if a row is
    missing or cannot be read.
    """
    while True:
        behind = 0 if after is None else after.seq if after.event == _WHOLE else after.seq - 1
        page = await store.read(instance_id, after=behind, limit=_PAGE)
        if page is None:
            raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
        row = page.instance
        if after is not None and after.life != row.life:
            after = None
            continue
        if after is not None and (page.rows[0].seq if page.rows else row.run_from) > after.seq + 1:
            raise UsageError(
                f"what followed this cursor of instance {instance_id!r} has been pruned with its run; "
                "begin with what is left: leave `after` out"
            )
        for commit, events in commits_of(page, behind):
            done = after.event if after is not None and after.seq == commit.seq else _WHOLE
            last = len(events) - 1
            for index, event in enumerate(events):
                if index > done:
                    after = LogCursor(row.life, commit.seq, _WHOLE if index == last else index)
                    at = moment_of(commit.at)
                    yield LogEntry(row.instance_id, row.workflow_name, at, dated(event, commit.at), str(after))
        if not page.more:
            return


async def follow_log(store: Store, instance_id: str, after: LogCursor | None = None) -> AsyncGenerator[LogEntry]:
    """As `read_log`, and then future entries, until the instance has ended. Waits while the database is away."""
    pause = _QUICKEST
    while True:
        try:
            async for entry in read_log(store, instance_id, after):
                pause = _QUICKEST
                after = LogCursor.parse(entry.cursor)
                yield entry
            found = await store.read(instance_id, limit=0)
            if found is not None and after is not None and after.is_end_of(found.instance):
                return
        except StorageUnavailableError:
            pause = _SLOWEST
        await asyncio.sleep(pause)
        pause = min(pause * _SLOWER, _SLOWEST)
