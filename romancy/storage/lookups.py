"""The service for lookups: single statements that answer for many ids, or look at a bounded part of a table.

They write and lock nothing. Without this service, `any_store.py` reads each instance by itself, searches have no slices
(`slices.py`), and messages in inboxes cannot be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.failures import Grouped
    from romancy.storage.query import Position
    from romancy.storage.records import InboxRow, InstanceRow, LogRow
    from romancy.storage.routing import Interest, Owner

__all__ = ["MOST_BYTES", "PAGE", "Asked", "Lookups", "Lying", "Place", "Standing", "last_of"]

PAGE: Final = 500
MOST_BYTES: Final = 4 * 1024 * 1024
"""A page of messages ends with the message that reaches this size."""
_HIGHEST: Final = "\U0010ffff" * 63
"""No id of an instance sorts above it."""


class Lying(NamedTuple):
    """A message, and the instance in whose inbox it lies."""

    instance_id: str
    row: InboxRow
    spread: str | None = None
    """Of a taken message: how it was posted, so that it can go back."""
    projection: bytes | None = None
    """The same: its data, as conditions read it."""


class Standing(NamedTuple):
    """A demand, or a place, of an instance."""

    owner: Owner
    terms: bytes | None
    at: int
    workflow_name: str
    status: str


class Place(NamedTuple):
    """The place of a question among all: at an address, the oldest first."""

    address: str
    at: int = -1
    owner: str = ""
    interest_id: str = ""


class Asked(NamedTuple):
    """An open question of an instance that has not ended, and its place."""

    place: Place
    where: bytes
    workflow_name: str


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

    async def places_of(self, instance_ids: Sequence[str], /) -> list[tuple[Owner, Interest]]:
        """The demands and the places under limits that these instances have, of all their lives."""
        ...

    async def lanes(self, low: str, high: str, limit: int, /) -> list[tuple[str, int, int]]:
        """Addresses from `low` to `high`, each with how many interests there are and since when, the most first."""
        ...

    async def front(self, address: str, limit: int, /) -> list[Standing]:
        """The first demands at a lane, or the first places at the address that belongs to it, in their order."""
        ...

    async def line(self, owner: Owner, demand_id: str, /) -> int:
        """How many demands stand before this one at its lane."""
        ...

    async def questions(self, after: Place, below: str, limit: int, /) -> list[Asked]:
        """Open questions behind a place, at addresses before `below`, in their order.

        It takes two statements if the address of the place has fewer.
        """
        ...

    async def questions_of(self, instance_id: str, first: str, last: str, limit: int, /) -> list[Asked]:
        """Open questions of an instance, by the ids of their interests, from the first to the last one."""
        ...

    async def failures(self, most: int, /) -> list[Grouped]:
        """The groups of the newest `most` failures, the one with the newest first.

        It is one statement, which reads that many entries of an index, and two rows for each group.
        """
        ...

    async def groups_of(self, instance_ids: Sequence[str], /) -> list[tuple[str, str]]:
        """The groups of failures that these instances are in: pairs of an instance and a group."""
        ...

    async def undeclared(self, key: str) -> list[str]:
        """The workflows that have instances for which the path with this key was not declared."""
        ...


def last_of(instance_id: str | None) -> str:
    """The highest instance id to read."""
    return _HIGHEST if instance_id is None else instance_id
