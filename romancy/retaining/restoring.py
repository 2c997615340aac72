"""Brings instances back from an archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.errors import InstanceNotFoundError
from romancy.moving.importing import bring_in
from romancy.retaining.archive import found_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from romancy.moving.importing import Imported
    from romancy.moving.reading import Parcel
    from romancy.registry import Registry
    from romancy.retaining.places import Place
    from romancy.storage.protocol import Store

__all__ = ["NotArchivedError", "restore"]


class NotArchivedError(InstanceNotFoundError):
    """The archive has nothing under this id."""


async def restore(
    store: Store, registry: Registry, place: Place, instance_ids: Sequence[str], *, dry_run: bool = False
) -> Imported:
    """Bring back the last life of each of these ids. Their times of retention begin anew, or they would go at once.

    Raises NotArchivedError, and what `bring_in` raises, before anything is written.
    """
    found = [_last(place, one) for one in dict.fromkeys(instance_ids)]

    def read() -> Iterator[Parcel]:
        yield from found

    return await bring_in(store, registry, read, dry_run=dry_run, ended_now=True)


def _last(place: Place, instance_id: str) -> Parcel:
    found = found_in(place, instance_id)
    if not found:
        raise NotArchivedError(f"the archive {place} has no instance {instance_id!r}")
    return found[-1]
