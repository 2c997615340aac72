"""The lines of an instance, read page by page as they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy.engine import beneath_codecs
from romancy.moving.format import Part, commits, head_of, kept_lines, line_of, messages
from romancy.status import TERMINAL_STATUSES
from romancy.storage.routing import is_lane
from romancy.storage.services import Service

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["ChangedError", "lines_of_instance"]

_ROOM: Final = 1024 * 1024
"""About the most bytes of one line, unless a page of the database has more."""
_PAGE: Final = 1000
"""Commits in one read."""
_AT_ONCE: Final = 500
"""Log lines, or lines of streams, in one read."""


class ChangedError(Exception):
    """The instance has changed since its row was read, or has gone."""


async def lines_of_instance(store: Store, row: InstanceRow) -> AsyncIterator[bytes]:
    """The lines of this instance. Raises ChangedError, maybe after some, if it is no longer as this row says."""
    taking = _Taking(beneath_codecs(store), row)
    first, waiting = True, taking.nothing
    async for part in taking.pages():
        if not _size(waiting) or _size(waiting) + _size(part) <= _ROOM:
            waiting = _joined(waiting, part)
            continue
        waiting = replace(waiting, more=True)
        yield line_of(head_of(taking.row, waiting) if first else waiting)
        first, waiting = False, part
    yield line_of(head_of(taking.row, waiting) if first else waiting)


def _size(part: Part) -> int:
    return sum(len(one.body) for some in (part.log, part.logged, part.streamed, part.mail) for one in some)


def _joined(one: Part, other: Part) -> Part:
    return replace(
        one, log=one.log + other.log, logged=one.logged + other.logged, streamed=one.streamed + other.streamed,
        mail=one.mail + other.mail,
    )  # fmt: skip


class _Taking:
    """Reads one instance. The store is the one beneath the codecs."""

    def __init__(self, store: Store, row: InstanceRow) -> None:
        self._store = store
        self.row = row
        """Once its log was read: as it is stored, also if it was given as codecs open it."""
        self._ended = row.status in TERMINAL_STATUSES
        self.nothing = Part(instance_id=row.instance_id, life=row.life, log=[])

    async def pages(self) -> AsyncGenerator[Part]:
        """What is stored of it: the log, what is kept beside it, and what lies in its inbox."""
        async for part in self._log():
            yield part
        if Service.JOURNAL in self._store.services.offered:
            async for part in self._journal():
                yield part
        if not self._ended and Service.LOOKUPS in self._store.services.offered:
            async for part in self._inbox():
                yield part
        if not self._ended:
            self._check(await self._as_it_is())

    async def _log(self) -> AsyncGenerator[Part]:
        after, more = 0, True
        while more:
            page = await self._store.read(self.row.instance_id, after=after, limit=_PAGE)
            self._check(None if page is None else page.instance)
            if page is None or not page.rows:
                return
            self.row = page.instance
            yield replace(self.nothing, log=commits(page.rows))
            after, more = page.rows[-1].seq, page.more

    async def _journal(self) -> AsyncGenerator[Part]:
        journal, instance_id, life = self._store.services.journal, self.row.instance_id, self.row.life
        behind = (0, 0)
        while page := await journal.lines(instance_id, after=behind, limit=_AT_ONCE):
            yield replace(self.nothing, logged=kept_lines(one for one in page if one.life == life))
            if len(page) < _AT_ONCE:
                break
            behind = (page[-1].life, page[-1].number)
        after = 0
        while page := await journal.written(instance_id, life, after=after, limit=_AT_ONCE):
            yield replace(self.nothing, streamed=kept_lines(page))
            if len(page) < _AT_ONCE:
                break
            after = page[-1].number

    async def _inbox(self) -> AsyncGenerator[Part]:
        """Without places under limits that it was given and has not taken: its demands come again, and are met anew."""
        behind = (self.row.instance_id, "")
        while page := await self._store.services.lookups.lying(self.row.instance_id, after=behind):
            yield replace(self.nothing, mail=messages(one for one in page if not is_lane(one.row.address or "")))
            behind = (page[-1].instance_id, page[-1].row.delivery_id)

    async def _as_it_is(self) -> InstanceRow | None:
        found = await self._store.read(self.row.instance_id, limit=0)
        return None if found is None else found.instance

    def _check(self, now: InstanceRow | None) -> None:
        """Raise ChangedError unless it rests as it did."""
        row = self.row
        if now is None or (now.life, now.updated_at, now.owner, now.signals) != (
            row.life, row.updated_at, row.owner, row.signals,
        ):  # fmt: skip
            raise ChangedError(row.instance_id)
