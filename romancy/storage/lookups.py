"""The room of lookups: single statements that answer for many ids, or look at a bounded part of a table.

They write and lock nothing. Without this room, `taken_ids_of` and `last_commits_of` read each instance by itself,
searches have no slices (`slices.py`), and messages in inboxes cannot be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from msgspec.structs import replace

from romancy.storage.rooms import Room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.query import Position
    from romancy.storage.records import InboxRow, InstanceRow, LogRow

__all__ = [
    "MOST_BYTES", "PAGE", "Lookups", "Lying", "first_commits_of", "last_commits_of", "last_of", "lying_in",
    "taken_ids_of",
]  # fmt: skip

PAGE: Final = 500
MOST_BYTES: Final = 4 * 1024 * 1024
"""A page of messages ends with the message that reaches this size."""
_HIGHEST: Final = "\U0010ffff" * 63
"""No id of an instance sorts above it."""


class Lying(NamedTuple):
    """A message, and the instance in whose inbox it lies."""

    instance_id: str
    row: InboxRow


class Lookups(Protocol):
    """Each call is one statement."""

    async def taken_ids(self, instance_ids: Sequence[str], /) -> set[str]:
        """Those of the ids under which there is an instance, open or ended, from the index of ids alone."""
        ...

    async def last_commits(self, instances: Sequence[InstanceRow], /) -> dict[str, LogRow]:
        """By instance id, the row of the log at `last_seq` of each of these instances, of the same life.

        Instances that were removed in the meantime are left out. Each row is found by its key.
        """
        ...

    async def lying(
        self, instance_id: str | None = None, /, *, after: tuple[str, str] = ("", ""), limit: int = PAGE
    ) -> list[Lying]:
        """Messages in the inbox of an instance, or in all, by instance and delivery id, behind a place.

        It reads no more rows than it returns. A page is cut where it has some megabytes.
        """
        ...

    async def place_behind(self, after: Position | None, count: int) -> Position | None:
        """The instance that many places behind this one, newest first, from an index alone. None: fewer follow."""
        ...

    async def undeclared(self, key: str) -> list[str]:
        """The workflows that have instances for which the path with this key was not declared."""
        ...


def last_of(instance_id: str | None) -> str:
    """The highest instance id to read."""
    return _HIGHEST if instance_id is None else instance_id


async def lying_in(store: Store, instance_id: str | None = None, *, most: int) -> AsyncIterator[Lying]:
    """The first `most` messages in the inbox of an instance, or in all, page by page. Nothing if it cannot be read."""
    if Room.LOOKUPS not in store.rooms.offered:
        return
    after = (instance_id or "", "")
    while most > 0:
        page = await store.rooms.lookups.lying(instance_id, after=after, limit=min(most, PAGE))
        for each in page:
            yield each
        if not page:
            return
        most -= len(page)
        after = (page[-1].instance_id, page[-1].row.delivery_id)


async def taken_ids_of(store: Store, instance_ids: Sequence[str]) -> set[str]:
    """As `Lookups.taken_ids`, from any store. Without ids, nothing is read."""
    if not instance_ids:
        return set()
    if Room.LOOKUPS in store.rooms.offered:
        return await store.rooms.lookups.taken_ids(instance_ids)
    return {one for one in instance_ids if await store.read(one, limit=0) is not None}


async def last_commits_of(store: Store, instances: Sequence[InstanceRow]) -> dict[str, LogRow]:
    """As `Lookups.last_commits`, from any store. Without instances, nothing is read."""
    if not instances:
        return {}
    if Room.LOOKUPS in store.rooms.offered:
        return await store.rooms.lookups.last_commits(instances)
    return await _one_by_one(store, instances)


async def first_commits_of(store: Store, instances: Sequence[InstanceRow]) -> dict[str, LogRow]:
    """By instance id, the commits with which the present runs of these instances began, in the same way."""
    return await last_commits_of(store, [replace(one, last_seq=one.run_from) for one in instances])


async def _one_by_one(store: Store, instances: Sequence[InstanceRow]) -> dict[str, LogRow]:
    found: dict[str, LogRow] = {}
    for one in instances:
        page = await store.read(one.instance_id, after=one.last_seq - 1, limit=1)
        if page is not None and page.instance.life == one.life and page.rows and page.rows[0].seq == one.last_seq:
            found[one.instance_id] = page.rows[0]
    return found
