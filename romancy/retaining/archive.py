"""The archive of an app: JSON Lines of the instances that were removed, and how they are read.

The lines are those of an export (`romancy.moving.format`). Each worker writes to files of its own.

Lines are at their place before their instances are removed. After a crash in between, an instance is written twice, and
what is at the end of a file may be torn: the reader drops both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from romancy.moving.reading import parcels_of
from romancy.moving.taking import ChangedError, lines_of_instance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.moving.format import KeptInstance
    from romancy.moving.reading import Parcel
    from romancy.retaining.places import Place
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["archived_as", "found_in", "lines_of"]


async def lines_of(store: Store, rows: Sequence[InstanceRow]) -> dict[str, bytes]:
    """The lines for these ended instances, by id. One that has changed since, or has gone, is left out."""
    lines: dict[str, bytes] = {}
    for row in rows:
        try:
            lines[row.instance_id] = b"".join([line async for line in lines_of_instance(store, row)])
        except ChangedError:
            continue
    return lines


def found_in(place: Place, instance_id: str) -> list[Parcel]:
    """All that the archive has of an id, the oldest first, each once: of one that was restored, what came last.

    Raises HistoryCorruptError for a line that is damaged, and HistoryVersionError for one of a newer Romancy.
    """
    found: dict[tuple[int, int], Parcel] = {}
    name = msgspec.json.encode(instance_id)
    for path in place.files():
        for one in parcels_of(path, instance_id, name):
            key = one.head.life, one.last[0]
            if key not in found or found[key].head.updated_at <= one.head.updated_at:
                found[key] = one
    return sorted(found.values(), key=lambda one: one.head.updated_at)


def archived_as(place: Place, instance_id: str) -> list[KeptInstance]:
    """The same, each with all that was kept of it."""
    return [_whole(one) for one in found_in(place, instance_id)]


def _whole(one: Parcel) -> KeptInstance:
    parts = list(one.parts())
    return replace(
        one.head,
        log=[commit for part in parts for commit in part.log],
        logged=[line for part in parts for line in part.logged],
        streamed=[line for part in parts for line in part.streamed],
        more=False,
    )
