"""The rooms of the in-memory store that only read, remove or join."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from romancy.errors import UsageError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.lookups import MOST_BYTES, PAGE, Lying, last_of
from romancy.storage.memory._database import Transaction
from romancy.storage.memory._find import count_rows, find_page
from romancy.storage.memory._posted import drop_interest, give_back_mail, interests_of
from romancy.storage.memory._sessions import MemorySession, UserRows, bump, refuse_stronger
from romancy.storage.memory._tally import load_rows, slice_rows, tally_rows, trend_rows
from romancy.storage.query import Position
from romancy.storage.records import Census
from romancy.storage.upkeep import Plan

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.memory._database import Database
    from romancy.storage.query import Query
    from romancy.storage.records import InstanceRow, LogRow, Page, Peer, PruneRequest
    from romancy.storage.tally import Slice, Tally, Trend
    from romancy.storage.upkeep import Setting

__all__ = ["MemoryFigures", "MemoryLookups", "MemoryReading", "MemorySessions", "MemoryUpkeep"]


class MemoryReading:
    def __init__(self, database: Database, begin: Callable[[], Transaction], peers: Callable[[], list[Peer]]) -> None:
        self.database = database
        self.begin = begin
        self.peers = peers

    async def find(self, query: Query, /) -> Page:
        return find_page((row for _, row in self.begin().scan("instances")), query)

    async def count(self, query: Query, /) -> dict[tuple[str, Status], int]:
        return count_rows((row for _, row in self.begin().scan("instances")), query)

    async def census(self) -> Census:
        return Census(now=self.database.now(), workers=self.peers())


class MemoryLookups:
    def __init__(self, begin: Callable[[], Transaction]) -> None:
        self.begin = begin

    async def lying(
        self, instance_id: str | None = None, /, *, after: tuple[str, str] = ("", ""), limit: int = PAGE
    ) -> list[Lying]:
        last = last_of(instance_id).encode()
        place = (after[0].encode(), after[1].encode())
        keys = {(key[0].encode(), key[1].encode()): mail for key, mail in self.begin().scan("inbox")}
        chosen = sorted(key for key in keys if key > place and key[0] <= last)[:limit]
        sizes = itertools.accumulate((len(keys[key].row.body) for key in chosen), initial=0)
        wanted = [key for key, size in zip(chosen, sizes, strict=False) if size < MOST_BYTES]
        return [Lying(key[0].decode(), keys[key].row) for key in wanted]

    async def taken_ids(self, instance_ids: Sequence[str], /) -> set[str]:
        return {key[0] for key, _ in self.begin().scan("instances")}.intersection(instance_ids)

    async def last_commits(self, instances: Sequence[InstanceRow], /) -> dict[str, LogRow]:
        tx = self.begin()
        found = {one.instance_id: tx.get("log", (one.instance_id, one.life, one.last_seq)) for one in instances}
        return {instance_id: row for instance_id, row in found.items() if row is not None}

    async def place_behind(self, after: Position | None, count: int) -> Position | None:
        places = sorted(
            ((row.created_at, row.instance_id.encode()) for _, row in self.begin().scan("instances")), reverse=True
        )
        if after is not None:
            places = [place for place in places if place < (after.created_at, after.instance_id.encode())]
        return Position(places[count - 1][0], places[count - 1][1].decode()) if len(places) >= count else None

    async def undeclared(self, key: str) -> list[str]:  # noqa: ARG002 - there is no index here
        return []


class MemoryFigures:
    def __init__(self, begin: Callable[[], Transaction]) -> None:
        self.begin = begin

    async def tally(self, *, most: int, newest: int) -> Tally:
        return tally_rows([row for _, row in self.begin().scan("instances")], most, newest)

    async def trend(self, *, since: int, width: int, most: int, newest: int) -> Trend:
        return trend_rows([row for _, row in self.begin().scan("instances")], since, width, most, newest)

    async def tally_slice(self, *, after: Position | None, count: int, width: int) -> Slice:
        return slice_rows([row for _, row in self.begin().scan("instances")], after, count, width)

    async def loads(self, workers: Sequence[str], /, *, most: int) -> dict[str, int]:
        return load_rows([row for _, row in self.begin().scan("instances")], workers, most)


class MemorySessions:
    def __init__(self, database: Database, begin: Callable[[], Transaction]) -> None:
        self.database = database
        self._begin = begin

    @asynccontextmanager
    async def begin(self, *, isolation: IsolationLevel | None = None) -> AsyncGenerator[MemorySession]:
        refuse_stronger(isolation)
        async with self._begin() as tx:
            session = MemorySession(tx, self.database)
            try:
                yield session
            finally:
                session.end()
        await bump(self.database, lambda: Transaction(self.database), session.delivered)

    @asynccontextmanager
    async def join(self, transaction: object, /) -> AsyncGenerator[MemorySession]:
        session = transaction.session if isinstance(transaction, UserRows) else transaction
        if not isinstance(session, MemorySession):
            raise UsageError(
                f"session= takes an activity's session of a memory store, not {type(transaction).__name__}"
            )
        yield session.joined(self.database)


class MemoryUpkeep:
    def __init__(self, begin: Callable[[], Transaction]) -> None:
        self.begin = begin

    async def plan(self) -> Plan:
        return Plan(steps=(), sql="")

    async def settings(self) -> list[Setting]:
        return []

    async def prune(self, request: PruneRequest, /) -> int:
        async with self.begin() as tx:
            doomed: list[str] = []
            for key, row in tx.scan("instances"):
                old = request.ended_before is not None and row.updated_at < request.ended_before
                named = row.instance_id in request.instance_ids and row.updated_at <= request.named_until
                ended = row.status in TERMINAL_STATUSES and row.status in request.statuses
                if ended and (old or named) and len(doomed) < request.limit and tx.try_lock("instances", key):
                    doomed.append(row.instance_id)
                    tx.put("instances", key, None)
            await self._prune_routing(tx, doomed)
            self._prune_rows(tx, doomed, request.dedupe_before)
            await tx.commit()
        return len(doomed)

    async def _prune_routing(self, tx: Transaction, doomed: list[str]) -> None:
        """Remove interests, which waits for dispatches under way, and then give back the mail that these delivered."""
        for key in [key for instance_id in doomed for key in interests_of(tx, instance_id)]:
            await drop_interest(tx, key)
        await tx.step("prune.mail")
        await give_back_mail(tx, [key for key, _ in tx.scan("inbox") if key[0] in doomed])

    def _prune_rows(self, tx: Transaction, doomed: list[str], dedupe_before: int | None) -> None:
        run_from = {row.instance_id: row.run_from for _, row in tx.scan("instances")}
        owners = {row.owner for _, row in tx.scan("instances")}
        gone = [("log", key) for key, _ in tx.scan("log") if key[0] in doomed or key[2] < run_from.get(key[0], 0)]
        gone += [("inbox", key) for key, _ in tx.scan("inbox") if key[0] in doomed]
        gone += [("workers", key) for key, row in tx.scan("workers") if row.dead and key[0] not in owners]
        if dedupe_before is not None:
            gone += [("seen", key) for key, at in tx.scan("seen") if at < dedupe_before]
        for table, key in gone:
            if tx.try_lock(table, key):
                tx.put(table, key, None)
