"""Reads the log lines that were kept of an instance."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

from romancy.engine import read_with_start
from romancy.errors import InstanceNotFoundError, QueryError, StorageUnavailableError
from romancy.kept_logs import LogPage, level_of, line_of
from romancy.retry import whole_number
from romancy.status import TERMINAL_STATUSES
from romancy.storage.journal import LINES_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.kept_logs import LogLine
    from romancy.storage.protocol import Store

__all__ = ["lines_of", "newest_lines", "page_of"]

_CURSOR: Final = re.compile(r"([0-9a-f]{1,16})-([0-9]{1,18})", re.ASCII)
_QUICKEST: Final = 0.2
_SLOWEST: Final = 2.0
_SLOWER: Final = 1.5
_LAST_LINES: Final = 1.0
"""Seconds after the end of an instance, in which its worker writes what is left."""


async def page_of(
    store: Store, instance_id: str, after: str | None = None, *, level: str | int | None = None, limit: int = 200
) -> LogPage:
    """The next lines behind a cursor, without those below the level.

    Raises QueryError if the cursor is malformed.
    """
    least = 0 if level is None else level_of(level)
    kept = await store.services.journal.lines(instance_id, after=_place(after), limit=whole_number(limit, "limit"))
    lines = [line_of(one) for one in kept]
    return LogPage([one for one in lines if one.level_number >= least], lines[-1].cursor if lines else None)


async def newest_lines(store: Store, instance_id: str, *, limit: int = 200) -> list[LogLine]:
    """The newest lines, the oldest of them first."""
    return [line_of(one) for one in await store.services.journal.newest(instance_id, limit=limit)]


async def lines_of(
    store: Store, instance_id: str, after: str | None = None, *, follow: bool = False, level: str | int | None = None
) -> AsyncGenerator[LogLine]:
    """The lines behind a cursor; with `follow`, also future ones, until the instance has ended.

    Raises InstanceNotFoundError. While the database is away, a follower waits.
    """
    _place(after)
    least = 0 if level is None else level_of(level)
    found = await read_with_start(store, instance_id)
    if found is None:
        raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
    pause, over = _QUICKEST, False
    while True:
        try:
            page = await page_of(store, instance_id, after, level=least, limit=LINES_AT_ONCE)
            for line in page.lines:
                yield line
            if page.next_cursor is not None:
                after = page.next_cursor
                pause = _QUICKEST
                continue
            if not follow or over:
                return
            found = await store.read(instance_id, limit=0)
            over = found is None or found.instance.status in TERMINAL_STATUSES
        except StorageUnavailableError:
            if not follow:
                raise
            pause = _SLOWEST
        await asyncio.sleep(_LAST_LINES if over else pause)
        pause = min(pause * _SLOWER, _SLOWEST)


def _place(cursor: str | None) -> tuple[int, int]:
    if cursor is None:
        return 0, 0
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise QueryError("the cursor is malformed; use the cursor of a line, unchanged")
    return int(found[1], 16), int(found[2])
