"""With 20,000 instances each call still looks at no more rows than it needs: every one of them has its index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import Status
from romancy.storage.any_store import last_commits_of, taken_ids_of
from romancy.storage.backends import create_store
from romancy.storage.query import Position, build_query, gte, one_of, project_with_index
from romancy.storage.records import PruneRequest
from romancy.storage.services import Service
from romancy.storage.slices import find_in_slices
from romancy_conformance.contract.building import Actor, append, change, delivery, start, step
from romancy_conformance.contract.plans import watch_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from romancy.storage.figures import Figures
    from romancy.storage.protocol import Store
    from romancy.storage.query import Query
    from romancy.storage.records import Append, InstanceRow
    from romancy_conformance.contract.plans import Watch

pytestmark = [pytest.mark.anyio, pytest.mark.dealt("sqlite", "postgres"), pytest.mark.timeout(600)]

COUNT = 20_000
ENOUGH = 1500
"""Rows that a call may read: some pages of fifty, in an index and in the table, for twenty workflows."""
SWEEP = 11_000
"""Rows for the slow sweep, which may read all mail and all instances that workers own."""
FORMER = 8_000
INPUT = b'"' + bytes(range(35, 91)) * 25 + b'"'
"""Large enough that fetching a row is expensive: the cost of a page then depends on the plan."""
CUSTOMERS = 5_000
WORKFLOWS = [f"flow-{number:02}" for number in range(20)]
FLOWS = "flow-1"
"""Part of the names of ten workflows, so that searches need not read instances without a declared path."""
STATUSES = (Status.COMPLETED,) * 14 + (Status.WAITING,) * 3 + (Status.PENDING,) * 2 + (Status.FAILED,)
HOUR = 3_600_000_000


def instance(number: int) -> Append:
    """One of many instances: twenty workflows, four statuses, four instances for each customer."""
    status = STATUSES[number % 23 % len(STATUSES)]
    projection, index = project_with_index(
        b'{"customer":{"id":"c-%d"},"total":%d}' % (number % CUSTOMERS, number), ["customer.id"]
    )
    return start(
        workflow_name=WORKFLOWS[number % len(WORKFLOWS)], status=status, projection=projection, index=index,
        delay=HOUR if status is Status.PENDING else None, parent=f"p-{number % 500}" if number % 4 == 0 else None,
    )  # fmt: skip


def former(number: int) -> Append:
    """One of the oldest instances: with an end that none has had since, or of a workflow that is no longer started.

    Such rows are common enough that a planner expects them among the newest, where there are none.
    """
    projection, index = project_with_index(
        b'{"customer":{"id":"f-%d"},"total":%d}' % (number, -number - 2), ["customer.id"]
    )
    status, name = (Status.CANCELLED, WORKFLOWS[number % 20]) if number % 2 else (Status.COMPLETED, "former")
    return start(
        workflow_name=name, status=status, projection=projection, index=index, delay=None, input=INPUT,
        parent="old" if number % 3 == 0 else None,
    )  # fmt: skip


def undeclared(number: int) -> Append:
    """An instance of a workflow that has never declared a path. Searches for other workflows need not read it."""
    projection, _ = project_with_index(b'{"customer":{"id":"c-%d"}}' % (number % CUSTOMERS), [])
    return start(workflow_name="plain", status=Status.COMPLETED, projection=projection, delay=None)


def owned(worker: Actor, number: int) -> Append:
    """An instance that a worker owns."""
    (name,) = worker.workflows
    projection, index = project_with_index(b'{"customer":{"id":"i-%d"}}' % number, ["customer.id"])
    return start(
        workflow_name=name, owner=worker.token, status=Status.RUNNING, projection=projection, index=index
    )  # fmt: skip


async def fill(store: Store, items: list[Append]) -> None:
    """Commit the items in batches."""
    for first in range(0, len(items), 1000):
        assert {"accepted"} == set(await store.commit(items[first : first + 1000]))


async def post(store: Store, items: list[Append]) -> None:
    """Send a message to each instance, which no worker reads."""
    for first in range(0, len(items), 1000):
        assert {"accepted"} == set(await store.deliver([delivery(one) for one in items[first : first + 1000]]))


@pytest.fixture
def watch(storage_url: str) -> Watch:
    return watch_for(storage_url)


@pytest.fixture
async def full(storage_url: str, watch: Watch) -> AsyncIterator[Store]:
    """A watched store with 20,000 instances, and as many messages as must be noticed by a worker that reads none."""
    with watch.on():
        store = create_store(storage_url)
        await store.open()
        await watch.leave_uncounted()
        idle = await Actor(store, workflows={"idle": "c1"}).register()
        addressed = [owned(idle, number) for number in range(2 * ENOUGH)]
        await fill(store, addressed)
        await post(store, addressed)
        await fill(store, [former(number) for number in range(FORMER)])
        await fill(store, [undeclared(number) for number in range(2 * ENOUGH)])
        await fill(store, [instance(number) for number in range(COUNT)])
        await fill(store, [instance(COUNT + number) for number in range(100)])
        yield store
        await store.close()


@pytest.fixture
async def worker(full: Store) -> Actor:
    return await Actor(full, workflows=dict.fromkeys(WORKFLOWS, "c1")).register()


Calls = dict[str, "Callable[[], Awaitable[object]]"]


def deep(query: Query, row: InstanceRow) -> Query:
    """Return the same query, to continue after this row."""
    token = query.token_after(row.created_at, row.instance_id)
    return build_query(
        status=query.statuses or None, parent=query.parent, oldest_first=query.oldest_first, page_token=token
    )


async def middle(store: Store) -> InstanceRow:
    """Return a row in the middle of all pages."""
    (row,) = (await store.services.reading.find(build_query({"total": COUNT // 2}))).rows
    return row


async def searches(store: Store) -> Calls:
    """Return searches that have an index to use."""
    row = await middle(store)
    plain, completed = build_query(), build_query(status="completed")
    last = (await store.services.reading.find(build_query(status="completed", limit=1))).rows[0].updated_at
    queries = {
        "newest": plain,
        "by status": completed,
        "by a status that none has": build_query(status="stuck"),
        "by a status of long ago": build_query(status="cancelled"),
        "by a workflow of long ago": build_query(workflow_name="former"),
        "by two statuses": build_query(status=["waiting", "failed"]),
        "by workflow": build_query(workflow_name=WORKFLOWS[7]),
        "by a part of the name": build_query(workflow_name="5"),
        "by workflow and status": build_query(workflow_name=WORKFLOWS[7], status="pending"),
        "a page deep in the list": deep(plain, row),
        "a page deep in a status": deep(completed, row),
        "ended since a time": build_query(ended_since=row.updated_at),
        "ended before a time": build_query(ended_until=row.updated_at),
        "ended in a span, of a workflow": build_query(
            ended_since=last, ended_until=last + 1, workflow_name=WORKFLOWS[7], status="failed"
        ),
        "ended since then, begun before": build_query(ended_since=last + 1, status="cancelled"),
        "ended since then, begun before, of a workflow": build_query(ended_since=last, workflow_name="former"),
        "nothing ended since": build_query(ended_since=last + 1),
        "indexed": build_query({"customer.id": "c-77"}, workflow_name=FLOWS),
        "indexed, of a workflow": build_query({"customer.id": "c-77"}, workflow_name=WORKFLOWS[17]),
        "indexed, and more": build_query({"customer.id": "c-77", "total": gte(5000)}, workflow_name=FLOWS),
        "indexed, several": build_query({"customer.id": one_of("c-77", "c-78", "c-79")}, workflow_name=FLOWS),
        "indexed, nothing there": build_query({"customer.id": "nobody"}, workflow_name=FLOWS),
    }
    queries |= families(row, last)
    return {f"find {what}": lambda query=query: store.services.reading.find(query) for what, query in queries.items()}  # type: ignore[misc]


def families(row: InstanceRow, last: int) -> dict[str, Query]:
    """Return searches by parent and by ids, and those of the oldest first, which read an index backwards."""
    oldest: dict[str, Any] = {"oldest_first": True}
    children = build_query(parent="old")
    ids = [f"nobody-{number}" for number in range(300)]
    return {
        "by parent": build_query(parent="p-4"),
        "by a parent of long ago": children,
        "by parent, workflow and status": build_query(parent="old", workflow_name="former", status="completed"),
        "by parent and a declared path": build_query({"customer.id": "c-4"}, parent="p-4"),
        "by a parent and its ends": build_query(parent="p-4", ended_since=last),
        "a page deep among children": deep(children, row),
        "by ids": build_query(ids=[*ids, row.instance_id]),
        "by ids, in a status": build_query(ids=[*ids, row.instance_id], status="completed", workflow_name=FLOWS),
        "of the highest level": build_query(top_level=True),
        "oldest": build_query(**oldest),
        "oldest by status": build_query(status="pending", **oldest),
        "oldest by two statuses": build_query(status=["waiting", "pending"], **oldest),
        "oldest by workflow": build_query(workflow_name=WORKFLOWS[7], **oldest),
        "oldest by a part of the name": build_query(workflow_name="5", **oldest),
        "oldest children": build_query(parent="p-4", **oldest),
        "oldest since a time": build_query(since=row.created_at, **oldest),
        "oldest of a deep page": deep(build_query(status="completed", **oldest), row),
        "oldest that ended since then": build_query(ended_since=last + 1, **oldest),
        "oldest, indexed": build_query({"customer.id": "c-77"}, workflow_name=FLOWS, **oldest),
    }


def counts(store: Store, row: InstanceRow, last: int) -> Calls:
    """Return counts that have an index to use, and match few."""
    queries = {
        "children": build_query(parent="p-4"),
        "children in a status": build_query(parent="p-4", status="completed", workflow_name="flow"),
        "ids": build_query(ids=[row.instance_id, "nobody"]),
        "a status that none has": build_query(status="stuck"),
        "an indexed value": build_query({"customer.id": "c-77"}, workflow_name=FLOWS),
        "what ended since": build_query(ended_since=last + 1),
    }
    return {f"count {what}": lambda query=query: store.services.reading.count(query) for what, query in queries.items()}  # type: ignore[misc]


async def duties(store: Store, worker: Actor) -> Calls:
    """Return the regular calls of a worker."""
    mine = [await worker.begin() for _ in range(2)]
    busy = await Actor(store, workflows={"busy": "c1"}).register()
    await fill(store, [owned(busy, number) for number in range(2 * ENOUGH)])
    row = await middle(store)
    return {
        "read an instance": lambda: store.read(row.instance_id, limit=0),
        "claim, nothing due": worker.claim,
        "claim, ten due": lambda: worker.claim(limit=10),
        "claim, many owned": busy.claim,
        "claim with a sweep": lambda: worker.claim(sweep=True),
        "heartbeat": lambda: store.heartbeat(worker.worker),
        "append": lambda: worker.write(step(mine[0], 2)),
        "append with a change": lambda: worker.write(append(mine[0], 3, change=change())),
        "append with a delivery": lambda: worker.write(append(mine[0], 4, deliveries=(delivery(mine[1]),))),
        "start": lambda: worker.write(start(owner=worker.token, status=Status.RUNNING)),
        "deliver": lambda: store.deliver([delivery(mine[0])]),
        "claim, mail": worker.claim,
        "prune, nothing old": lambda: store.services.upkeep.prune(PruneRequest(ended_before=1)),
        "wait": lambda: store.wait_for_work(0.01),
    }


def looks(store: Store, row: InstanceRow, ended: list[InstanceRow]) -> Calls:
    """Return the calls of displays such as the dashboard. Counts are read up to a number from an index."""
    calls: Calls = {
        "find since a time": lambda: store.services.reading.find(build_query(since=row.created_at, status="cancelled")),
        "find until a time": lambda: store.services.reading.find(
            build_query(until=row.created_at, workflow_name=WORKFLOWS[7])
        ),
        "count the outbox": lambda: store.services.outbox.counts(most=20),
        "ask for fifty ids": lambda: taken_ids_of(store, [one.instance_id for one in ended]),
        "read how fifty ended": lambda: last_commits_of(store, ended),
        "list what nobody took": lambda: store.services.router.kept(limit=20),
        "count the workers": store.services.reading.census,
    }
    if Service.FIGURES in store.services.offered:
        calls |= _figures(store.services.figures, row)
    if Service.LOOKUPS in store.services.offered:
        calls |= _lookups(store, row)
    return calls


def _figures(figures: Figures, row: InstanceRow) -> Calls:
    # No instance was started then: a batch has one time, and a slice looks twice at all that share its own.
    between = Position(row.created_at - 1, row.instance_id)
    return {
        "count open instances": lambda: figures.open_work(most=20, now=0),
        "count the instances": lambda: figures.tally(most=20),
        "count the newest": lambda: figures.newest(100, since=row.created_at, width=HOUR),
        "count over time": lambda: figures.trend(since=row.created_at, width=HOUR, most=20),
        "count begins and ends": lambda: figures.pace(since=0, width=HOUR, most=20),
        "count what workers have": lambda: figures.loads(["nobody"], most=20),
        "count a slice": lambda: figures.tally_slice(after=between, count=200, width=HOUR),
    }


def _lookups(store: Store, row: InstanceRow) -> Calls:
    lookups, last = store.services.lookups, Position(row.created_at, row.instance_id)
    query = build_query({"total": -1})
    named = build_query(status="completed", workflow_name=WORKFLOWS[7], instance_id="nobody")
    return {
        "read an inbox": lambda: lookups.lying(row.instance_id, after=(row.instance_id, ""), limit=20),
        "read all inboxes": lambda: lookups.lying(after=(row.instance_id, ""), limit=20),
        "find the end of a slice": lambda: lookups.place_behind(last, 200),
        "ask for undeclared paths": lambda: lookups.undeclared("customer.id"),
        "search a slice": lambda: find_in_slices(store, query, within=0, first=200),
        "search a slice of a workflow": lambda: find_in_slices(store, named, within=0, first=200),
    }


async def excesses(store: Store, worker: Actor, watch: Watch) -> dict[str, str]:
    """Return the calls that read more rows than they need, and their cost."""
    ended = (await store.services.reading.find(build_query(status="completed"))).rows
    row, last = await middle(store), ended[0].updated_at
    calls = await searches(store) | await duties(store, worker) | looks(store, row, ended) | counts(store, row, last)
    await store.wait_for_work(0.01)
    found: dict[str, str] = {}
    for what, call in calls.items():
        if "ten due" in what:
            await fill(store, [start(workflow_name=WORKFLOWS[3]) for _ in range(10)])
        cost = await watch.cost(store, call())
        if cost.rows > (SWEEP if "sweep" in what else ENOUGH * watch.ahead):
            found[what] = f"{cost.rows} rows\n{cost.plan}"
    return found


async def test_no_call_looks_at_more_rows_than_it_needs(full: Store, worker: Actor, watch: Watch) -> None:
    """Before and after the database has statistics. A search without an index shows that the test can fail."""
    found = {f"as filled, {what}": cost for what, cost in (await excesses(full, worker, watch)).items()}
    await watch.analyze(full)
    found |= {f"analyzed, {what}": cost for what, cost in (await excesses(full, worker, watch)).items()}
    unindexed = await watch.cost(full, full.services.reading.find(build_query({"total": -1})))

    assert not found, "\n\n".join(f"{what}: {cost}" for what, cost in found.items())
    assert unindexed.rows > 4 * ENOUGH, unindexed.plan
