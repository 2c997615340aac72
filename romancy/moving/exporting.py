"""Writes instances to a file. It only reads the database, and the file has its name once it is complete."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from romancy.engine import beneath_codecs
from romancy.errors import UsageError
from romancy.moving.format import VERSION, End, Export, line_of
from romancy.moving.resting import Living, several
from romancy.moving.taking import ChangedError, lines_of_instance
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.outbox import OutboxState
from romancy.storage.query import MAX_LIMIT, build_query
from romancy.storage.services import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import BinaryIO

    from romancy.query import InstanceFilter
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["Exported", "export"]

_AT_ONCE: Final = 10
"""So many instances are read at the same time."""
_OF_LIBRARY: Final = "romancy."
_OPEN: Final = tuple(one for one in Status if one not in TERMINAL_STATUSES)


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export has written, or would write."""

    instances: int
    open: int
    """How many of them have not ended."""
    left_out: int
    """Schedules, windows and other instances of the library, which the app that is deployed makes again."""


async def export(store: Store, path: Path, chosen: InstanceFilter, *, dry_run: bool = False) -> Exported:
    """Write these instances to a new file, the oldest first.

    Raises UsageError, and leaves no file, if one of them does not rest, has messages in the outbox that were not sent,
    or belongs together with an open one that was not chosen.
    """
    _check_free(path)
    plain = beneath_codecs(store)
    survey = _Survey(plain, await Living.of(plain), await _senders(plain), whole=chosen.is_empty)
    async for page in _pages(plain, chosen):
        survey.look(page)
    await survey.look_for_families()
    if survey.refused:
        raise UsageError(f"nothing was written: {several(survey.refused)}")
    if not dry_run:
        await _write(plain, path, chosen)
    return Exported(survey.instances, survey.open, survey.left_out)


def _check_free(path: Path) -> None:
    if path.exists():
        raise UsageError(f"{path} is there already; name another file, or remove this one")


async def _pages(store: Store, chosen: InstanceFilter) -> AsyncIterator[list[InstanceRow]]:
    """The instances in the order of their starts, so that a parent is before its children."""
    token: str | None = None
    while True:
        page = await store.services.reading.find(
            chosen.query(limit=MAX_LIMIT, page_token=token, oldest_first=True, to_act=True)
        )
        yield page.rows
        token = page.next_token
        if token is None:
            return


async def _senders(store: Store) -> dict[str, str]:
    """The instances with messages in the outbox that were not sent, each with one of these messages."""
    found: dict[str, str] = {}
    after = (0, "")
    while Service.OUTBOX in store.services.offered:
        page = await store.services.outbox.entries([OutboxState.PENDING], after=after, limit=MAX_LIMIT)
        if not page:
            break
        found |= {one.row.instance_id: one.row.outbox_id for one in page if one.row.instance_id is not None}
        after = (page[-1].at, page[-1].row.outbox_id)
    return found


class _Survey:
    """Looks whether all can be written, before anything is."""

    def __init__(self, store: Store, living: Living, senders: dict[str, str], *, whole: bool) -> None:
        self._store = store
        self._living = living
        self._senders = senders
        self._whole = whole
        self._families: dict[str, str | None] = {}
        """The open instances with their parents, where not all are chosen."""
        self.instances = self.open = self.left_out = 0
        self.refused: list[str] = []

    def look(self, rows: list[InstanceRow]) -> None:
        for row in rows:
            if row.workflow_name.startswith(_OF_LIBRARY):
                self.left_out += 1
                continue
            self.instances += 1
            self._look_at(row)

    def _look_at(self, row: InstanceRow) -> None:
        name = f"instance {row.instance_id!r}"
        if (message := self._senders.get(row.instance_id)) is not None:
            self.refused.append(
                f"{name}: its message {message} in the outbox was not sent; let a relay send it, or purge it, first"
            )
        if row.status in TERMINAL_STATUSES:
            return
        self.open += 1
        if (why := self._living.in_the_way(row.workflow_name, row.status, row.owner)) is not None:
            self.refused.append(f"{name}: {why}; stop the workers first, or pause it (`romancy pause`)")
        if not self._whole:
            self._families[row.instance_id] = row.parent

    async def look_for_families(self) -> None:
        """An open child and its open parent go together: the end of one is told to the other."""
        parents = sorted({one for one in self._families.values() if one is not None} - self._families.keys())
        for start in range(0, len(parents), MAX_LIMIT):
            some = parents[start : start + MAX_LIMIT]
            found = await self._store.services.reading.find(build_query(ids=some, status=_OPEN, limit=MAX_LIMIT))
            for row in found.rows:
                if not row.workflow_name.startswith(_OF_LIBRARY):
                    children = [one for one, parent in self._families.items() if parent == row.instance_id]
                    self.refused.append(
                        f"instance {children[0]!r}: its parent {row.instance_id!r} is open and was not chosen; choose "
                        "both or neither"
                    )
        for parent in self._families:
            await self._look_for_children(parent)

    async def _look_for_children(self, parent: str) -> None:
        token: str | None = None
        while True:
            page = await self._store.services.reading.find(
                build_query(parent=parent, status=_OPEN, limit=MAX_LIMIT, page_token=token)
            )
            for row in page.rows:
                if row.instance_id not in self._families:
                    self.refused.append(
                        f"instance {parent!r}: its child {row.instance_id!r} is open and was not chosen; choose both "
                        "or neither"
                    )
            token = page.next_token
            if token is None:
                return


async def _write(store: Store, path: Path, chosen: InstanceFilter) -> None:
    """Write the file under another name first, and give it its name when it is on the disk."""
    unfinished = path.with_name(f"{path.name}.part")
    file = _created(unfinished)
    try:
        await _write_to(file, store, chosen)
        file.flush()
        os.fsync(file.fileno())
    except BaseException:
        file.close()
        unfinished.unlink(missing_ok=True)
        raise
    file.close()
    _check_free(path)
    unfinished.replace(path)


def _created(path: Path) -> BinaryIO:
    """A file that only its owner reads."""
    return open(path, "wb", opener=partial(os.open, mode=0o600))


async def _write_to(file: BinaryIO, store: Store, chosen: InstanceFilter) -> None:
    now = (await store.services.reading.census()).now
    file.write(line_of(Export(version=VERSION, database=store.capabilities.name, at=now)))
    instances = lines = 0
    async for page in _pages(store, chosen):
        rows = [row for row in page if not row.workflow_name.startswith(_OF_LIBRARY)]
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            lines += await _write_some(file, store, some)
            instances += len(some)
    file.write(line_of(End(instances=instances, lines=lines)))


async def _write_some(file: BinaryIO, store: Store, rows: list[InstanceRow]) -> int:
    """Read the first lines of all at once, and the others as they are written. Returns how many lines there are."""
    lines = 0
    try:
        begun: list[Any] = [aiter(lines_of_instance(store, row)) for row in rows]
        firsts = await asyncio.gather(*map(anext, begun))
        for first, rest in zip(firsts, begun, strict=True):
            file.write(first)
            lines += 1
            async for line in rest:
                file.write(line)
                lines += 1
    except ChangedError as changed:
        raise UsageError(
            f"nothing was written: instance {changed.args[0]!r} changed while it was read; stop what sends to it or "
            "acts on it, and export again"
        ) from None
    return lines
