"""The archive of an app: a folder of JSON Lines of the instances that were removed, and how it is read.

The lines are those of an export (`romancy.moving.format`). Each worker appends to files of its own.

Lines are on the disk before their instances are removed. After a crash in between, an instance is written twice, and
what is at the end of a file may be torn: the reader drops both.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from romancy.moving.reading import parcels_of
from romancy.moving.taking import ChangedError, lines_of_instance

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from romancy.moving.format import KeptInstance
    from romancy.moving.reading import Parcel
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["archived_as", "found_in", "lines_of", "write_lines"]


async def lines_of(store: Store, rows: Sequence[InstanceRow]) -> dict[str, bytes]:
    """The lines for these ended instances, by id. One that has changed since, or has gone, is left out."""
    lines: dict[str, bytes] = {}
    for row in rows:
        try:
            lines[row.instance_id] = b"".join([line async for line in lines_of_instance(store, row)])
        except ChangedError:
            continue
    return lines


def write_lines(folder: Path, writer: str, lines: Sequence[bytes]) -> None:
    """Append the lines to today's file of this writer. They are on the disk when this returns."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y-%m-%d}-{writer}.jsonl"
    with path.open("ab") as file:
        before = file.tell()
        try:
            for line in lines:
                file.write(line)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), before)
            raise
    if hasattr(os, "O_DIRECTORY"):  # Windows cannot open a folder, and writes its entries by itself
        entries = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(entries)
        finally:
            os.close(entries)


def found_in(folder: Path, instance_id: str) -> list[Parcel]:
    """All that the archive has of an id, the oldest first, each once: of one that was restored, what came last.

    Raises HistoryCorruptError for a line that is damaged, and HistoryVersionError for one of a newer Romancy.
    """
    found: dict[tuple[int, int], Parcel] = {}
    name = msgspec.json.encode(instance_id)
    for path in sorted(folder.glob("*.jsonl")):
        for one in parcels_of(path, instance_id, name):
            key = one.head.life, one.last[0]
            if key not in found or found[key].head.updated_at <= one.head.updated_at:
                found[key] = one
    return sorted(found.values(), key=lambda one: one.head.updated_at)


def archived_as(folder: Path, instance_id: str) -> list[KeptInstance]:
    """The same, each with all that was kept of it."""
    return [_whole(one) for one in found_in(folder, instance_id)]


def _whole(one: Parcel) -> KeptInstance:
    parts = list(one.parts())
    return replace(
        one.head,
        log=[commit for part in parts for commit in part.log],
        logged=[line for part in parts for line in part.logged],
        streamed=[line for part in parts for line in part.streamed],
        more=False,
    )
