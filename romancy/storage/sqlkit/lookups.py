"""Single statements that answer for many ids, or look at a bounded part of a table, in every SQL database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from romancy.storage.lookups import MOST_BYTES, PAGE, Lying, last_of
from romancy.storage.query import Position, path_key
from romancy.storage.records import InboxRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import InstanceRow, LogRow
    from romancy.storage.sqlkit.scripts import Run, Value
    from romancy.storage.sqlkit.searches import Stretch

__all__ = ["SqlLookups", "place", "place_of"]

_NEWEST: Final = 2**63 - 1


class SqlLookups(ABC):
    """Each call is one statement."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def taken_ids(self, instance_ids: Sequence[str], /) -> set[str]:
        return {row[0] for row in await self._run("taken_ids", {"ids": instance_ids})}

    @abstractmethod
    async def last_commits(self, instances: Sequence[InstanceRow], /) -> dict[str, LogRow]:
        """Each dialect has its own way to look up keys of three columns, one by one."""

    async def lying(
        self, instance_id: str | None = None, /, *, after: tuple[str, str] = ("", ""), limit: int = PAGE
    ) -> list[Lying]:
        values: dict[str, Value] = {
            "instance_id": after[0], "delivery_id": after[1], "last": last_of(instance_id), "limit": limit,
            "bytes": MOST_BYTES,
        }  # fmt: skip
        return [Lying(one, InboxRow(*row)) for one, *row in await self._run("lying", values)]

    async def place_behind(self, after: Position | None, count: int) -> Position | None:
        rows = await self._run("place_behind", {**place(after), "behind": count - 1})
        return Position(rows[0][0], rows[0][1]) if rows else None

    async def undeclared(self, key: str) -> list[str]:
        """There are few sets of paths, so all are read."""
        rows = await self._run("declared_sets", {})
        lacking = {name for name, paths in rows if key not in {path_key(path) for path in paths.split("\n") if path}}
        return sorted(filter(None, lacking))


def place_of(stretch: Stretch) -> dict[str, Value] | None:
    """The values of `place_behind` that tell whether a part of a search has more than `few` instances.

    None: it does not matter.
    """
    if stretch.few is None or (border := stretch.border) is None:
        return None
    return {**place(border), "behind": stretch.few}


def place(after: Position | None) -> dict[str, Value]:
    """The values of a place in the order of pages: the first one if there is none to come after."""
    at, instance_id = (_NEWEST, "") if after is None else (after.created_at, after.instance_id)
    return {"at": at, "instance_id": instance_id}
