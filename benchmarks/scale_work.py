"""A million instances, and the calls that must be fast among them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from romancy.status import Status
from romancy.storage.query import build_query, project_with_index
from romancy.storage.records import Append, ClaimRequest, Outcome
from romancy.storage.records import Worker as WorkerRow
from romancy_conformance.contract.building import start

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.query import Query
    from romancy.storage.records import InstanceRow

__all__ = ["BACKLOG", "HOUR", "Call", "Population", "Worker", "fill"]

WORKFLOWS = tuple(f"flow-{number:02}" for number in range(20))
UNDECLARED = "import"
"""The workflow of the backlog, which declares no index."""
BACKLOG = 20
STATUSES = (Status.COMPLETED,) * 14 + (Status.WAITING,) * 3 + (Status.PENDING,) * 2 + (Status.FAILED,)
HOUR = 3_600_000_000
BATCH = 1000
AT_ONCE = 4
PER_CUSTOMER = 20


class Population:
    """The instances of a database. With `backlog` they are due, and of a workflow that declares no index."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.backlog = False
        self._first = size

    @property
    def customer(self) -> str:
        """Return a customer that has some instances."""
        return f"c-{self._first // PER_CUSTOMER // 2}"

    async def fill(self, store: Store) -> None:
        """Start them all."""
        await fill(store, self.size, self.instance)

    def instance(self, number: int) -> Append:
        """Return one instance."""
        status = Status.PENDING if self.backlog else STATUSES[number % 23 % len(STATUSES)]
        raw = b'{"customer":{"id":"c-%d"},"order":{"total":%d,"status":"paid"}}' % (number // PER_CUSTOMER, number)
        projection, index = project_with_index(raw, [] if self.backlog else ["customer.id"])
        name = UNDECLARED if self.backlog else WORKFLOWS[number % len(WORKFLOWS)]
        run = {} if status is Status.PENDING else {"status": status}
        return start(
            f"order-{secrets.token_hex(12)}", workflow_name=name, input=raw, projection=projection, index=index,
            delay=self._delay(status), **run,
        )  # fmt: skip

    def _delay(self, status: Status) -> int | None:
        if self.backlog:
            return 0
        return HOUR if status is Status.PENDING else None


async def fill(store: Store, size: int, instance: Callable[[int], Append]) -> None:
    """Start this number of instances, several batches at once."""
    batches = iter(range(0, size, BATCH))

    async def some() -> None:
        for first in batches:
            await commit(store, [instance(number) for number in range(first, min(first + BATCH, size))])

    await asyncio.gather(*[some() for _ in range(AT_ONCE)])


async def commit(store: Store, items: list[Append]) -> None:
    """Start these, and check that all were accepted."""
    if set(await store.commit(items)) != {Outcome.ACCEPTED}:
        raise RuntimeError("an instance was not accepted")


async def nothing() -> None:
    """No preparation."""


class Call(Struct):
    """A call to time, its preparation, and whether an index serves it well enough to have a target."""

    what: str
    make: Callable[[], Awaitable[object]]
    prepare: Callable[[], Awaitable[object]] = nothing
    indexed: bool = True


class Worker:
    """A registered worker that knows all workflows, and a row in the middle of all instances."""

    def __init__(self, store: Store, population: Population, row: InstanceRow) -> None:
        self._store = store
        self._population = population
        self._row = row
        self._token = f"bench-{secrets.token_hex(8)}"

    @classmethod
    async def on(cls, store: Store, population: Population) -> Worker:
        """Register, and find the row."""
        (row, *_) = (await store.services.reading.find(build_query({"customer.id": population.customer}))).rows
        self = cls(store, population, row)
        await store.heartbeat(WorkerRow(token=self._token, worker_id="bench", lease=600_000_000))
        return self

    def calls(self) -> list[Call]:
        """Return all calls on a full database."""
        listed, completed = build_query(), build_query(status="completed")
        deep, deep_completed = self._after(listed), self._after(completed, status="completed")
        by_customer = {"customer.id": self._population.customer}
        by_both = build_query(workflow_name=WORKFLOWS[7], status="failed")
        return [
            Call("claim, nothing due", lambda: self.claim(WORKFLOWS)),
            Call("claim, ten due", lambda: self.claim(WORKFLOWS), self._ten_due),
            Call("get by id", lambda: self._store.read(self._row.instance_id, limit=0)),
            self._search("list", listed),
            self._search("list by status", completed),
            self._search("list by a status nobody has", build_query(status="stuck")),
            self._search("list by workflow", build_query(workflow_name=WORKFLOWS[7])),
            self._search("list by workflow and status", by_both, indexed=False),
            self._search("list, a page deep in it", deep),
            self._search("list by status, a page deep in it", deep_completed),
            self._search("indexed find", build_query(by_customer)),
            self._search("indexed find, of a workflow", build_query(by_customer, workflow_name=WORKFLOWS[7])),
            self._search("indexed find, nobody", build_query({"customer.id": "nobody"})),
            self._search("unindexed find, nobody", build_query({"order.total": -1}), indexed=False),
        ]

    def backlog_calls(self) -> list[Call]:
        """Return the calls that differ when many instances are due and many have not declared the path."""
        by_customer = {"customer.id": "c-1"}
        named = build_query(by_customer, workflow_name=WORKFLOWS[1])
        return [
            Call("claim of ten from a backlog", lambda: self.claim((*WORKFLOWS, UNDECLARED))),
            self._search("indexed find, of a workflow, beside undeclared ones", named),
            self._search("indexed find, of all, beside undeclared ones", build_query(by_customer), indexed=False),
        ]

    async def claim(self, workflows: tuple[str, ...]) -> None:
        """Claim up to ten."""
        await self._store.claim(ClaimRequest(worker=self._token, codes=dict.fromkeys(workflows, "c1"), limit=10))

    async def _ten_due(self) -> None:
        fresh = [self._population.instance(number) for number in range(10)]
        await commit(self._store, [replace(one, status=Status.PENDING, delay=0) for one in fresh])

    def _after(self, query: Query, *, status: str | None = None) -> Query:
        token = query.token_after(self._row.created_at, self._row.instance_id)
        return build_query(status=status, page_token=token)

    def _search(self, what: str, query: Query, *, indexed: bool = True) -> Call:
        return Call(what, lambda: self._store.services.reading.find(query), indexed=indexed)
