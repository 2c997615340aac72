"""Single statements that answer for many ids, or look at a bounded part of a table, in every SQL database."""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from romancy.storage.admission import FAILED_AHEAD, ahead_of
from romancy.storage.failures import Grouped
from romancy.storage.lookups import MOST_BYTES, PAGE, Asked, Lying, Place, Standing, last_of
from romancy.storage.query import Position
from romancy.storage.records import InboxRow, LogRow
from romancy.storage.routing import FAILED, Interest, InterestKind, Owner, is_lane, lines_of_lane
from romancy.storage.sqlkit.statements import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from romancy.storage.records import InstanceRow
    from romancy.storage.sqlkit.statements import Interpreter

__all__ = ["SqlLookups", "place"]

_NEWEST: Final = 2**63 - 1


def _lying(columns: Sequence[Any]) -> Lying:
    instance_id, *row, spread, projection = columns
    return Lying(
        instance_id, InboxRow(*row), spread, projection.encode() if isinstance(projection, str) else projection
    )


class SqlLookups:
    """As `Lookups` promises. `search` carries out what may be slow, where that has connections of its own.

    `stored` makes of the key of a path what the database compares.
    """

    def __init__(self, interpreter: Interpreter, search: Interpreter, stored: Callable[[str], str] = str) -> None:
        self._interpreter = interpreter
        self._search = search
        self._stored = stored

    async def taken_ids(self, instance_ids: Sequence[str], /) -> set[str]:
        answer = await self._interpreter.read(partial(ask, "taken_ids", ids=list(instance_ids)))
        return {row[0] for row in answer.rows}

    async def last_commits(self, instances: Sequence[InstanceRow], /) -> dict[str, LogRow]:
        keys = [(one.instance_id, one.life, one.last_seq) for one in instances]
        answer = await self._interpreter.read(partial(ask, "last_commits", keys=keys))
        return {row[0]: LogRow(*row[1:]) for row in answer.rows}

    async def lying(
        self, instance_id: str | None = None, /, *, after: tuple[str, str] = ("", ""), limit: int = PAGE
    ) -> list[Lying]:
        page = partial(
            ask, "lying", instance_id=after[0], delivery_id=after[1], last=last_of(instance_id), limit=limit,
            bytes=MOST_BYTES,
        )  # fmt: skip
        return [_lying(row) for row in (await self._interpreter.read(page)).rows]

    async def places_of(self, instance_ids: Sequence[str], /) -> list[tuple[Owner, Interest]]:
        answer = await self._interpreter.read(partial(ask, "places_of", ids=list(instance_ids)))
        return [
            (Owner(name, life), Interest(interest_id=one, address=address, kind=InterestKind(kind), where=where))
            for name, life, one, address, kind, where in answer.rows
        ]

    async def lanes(self, low: str, high: str, limit: int, /) -> list[tuple[str, int, int]]:
        crowded = partial(ask, "lanes", low=low, high=high, limit=limit)
        return [tuple(row) for row in (await self._search.read(crowded)).rows]

    async def front(self, address: str, limit: int, /) -> list[Standing]:
        first = partial(ask, "lane_front", address=address, limit=limit)
        rows = [tuple(row) for row in (await self._interpreter.read(first)).rows]
        if waits := is_lane(address):
            low, below = lines_of_lane(address)
            rows += [
                tuple(row)
                for row in (
                    await self._search.read(partial(ask, "lane_fronts", low=low, below=below, limit=limit))
                ).rows
            ]
            rows.sort(key=itemgetter(3))
        return [
            Standing(Owner(name, life), terms, at + (ahead_of(terms) if waits else 0), *more)
            for name, life, terms, at, *more in rows[:limit]
        ]

    async def line(self, owner: Owner, demand_id: str, /) -> int:
        mine = partial(ask, "line", owner=owner.name, life=owner.life, interest_id=demand_id)
        return int((await self._interpreter.read(mine)).rows[0][0])

    async def questions(self, after: Place, below: str, limit: int, /) -> list[Asked]:
        here = partial(ask, "questions_here", **after._asdict(), limit=limit)
        found = [_asked(row) for row in (await self._search.read(here)).rows]
        if len(found) < limit:
            behind = partial(ask, "questions_behind", address=after.address, below=below, limit=limit - len(found))
            found += [_asked(row) for row in (await self._search.read(behind)).rows]
        return found

    async def questions_of(self, instance_id: str, first: str, last: str, limit: int, /) -> list[Asked]:
        own = partial(ask, "questions_of", owner=instance_id, first=first, last=last, limit=limit)
        return [_asked(row) for row in (await self._interpreter.read(own)).rows]

    async def failures(self, most: int, /) -> list[Grouped]:
        answer = await self._search.read(partial(ask, "failures", address=FAILED, most=most))
        return [
            Grouped(group, number, since + FAILED_AHEAD, last + FAILED_AHEAD, owner, first, about)
            for group, number, since, last, owner, first, about in answer.rows
        ]

    async def groups_of(self, instance_ids: Sequence[str], /) -> list[tuple[str, str]]:
        answer = await self._interpreter.read(partial(ask, "groups_of", ids=list(instance_ids), address=FAILED))
        return [(owner, group) for owner, group in answer.rows]

    async def place_behind(self, after: Position | None, count: int) -> Position | None:
        rows = (await self._search.read(partial(ask, "place_behind", **place(after), behind=count - 1))).rows
        return Position(rows[0][0], rows[0][1]) if rows else None

    async def undeclared(self, key: str) -> list[str]:
        """There are few sets of paths, so all are read."""
        answer = await self._interpreter.read(partial(ask, "undeclared", path=self._stored(key)))
        return sorted(filter(None, (row[0] for row in answer.rows)))


def _asked(row: Sequence[Any]) -> Asked:
    address, at, owner, interest_id, where, workflow_name = row
    return Asked(Place(address, at, owner, interest_id), where, workflow_name)


def place(after: Position | None) -> dict[str, Any]:
    """The values of a place in the order of pages: the first one if there is none to come after."""
    at, instance_id = (_NEWEST, "") if after is None else (after.created_at, after.instance_id)
    return {"at": at, "instance_id": instance_id}
