"""Finding by the time of the end: ended instances alone, by bounds that nothing after the end moves."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.query import build_query, project_with_index
from romancy.storage.records import Delivered, PruneRequest
from romancy.storage.sqlkit import searches
from romancy_conformance.contract.building import append, change, delivery, start, unique

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, InstanceRow
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio

ENDS = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
COUNT = 14
OPEN = 3


async def found(store: Store, limit: int = 1000, **query: Any) -> list[str]:
    """Return the ids of all results of a query, page by page."""
    ids: list[str] = []
    token: str | None = None
    while True:
        page = await store.services.reading.find(build_query(limit=limit, page_token=token, **query))
        assert len(page.rows) <= limit
        ids += [row.instance_id for row in page.rows]
        token = page.next_token
        if token is None:
            return ids


async def filled(actor: Actor) -> list[InstanceRow]:
    """Write instances that end in another order than that of their starts, and open ones; return all, newest first.

    One ends in its first commit. One failed, was reopened and failed again.
    """
    projection, values = project_with_index(b'{"v":1}', ["v"])
    begun = [
        await actor.begin(projection=projection, index=[(), values][number % 2], input=b'{"v":1}')
        for number in range(COUNT + OPEN)
    ]
    reopened, *rest = begun[:COUNT]
    await actor.write(append(reopened, 2, change=change(Status.FAILED)))
    random.Random(7).shuffle(rest)
    for number, one in enumerate(rest):
        await actor.write(append(one, 2, change=change(ENDS[number % 3])))
        if number == COUNT // 2:
            await actor.write(append(reopened, 3, change=change(Status.RUNNING, reopens=True)))
            await actor.write(append(reopened, 4, change=change(Status.FAILED)))
    (name,) = actor.workflows
    at_once = start(workflow_name=name, status=Status.COMPLETED, projection=projection, input=b'{"v":1}', delay=None)
    await actor.write(at_once)
    return (await actor.store.services.reading.find(build_query(workflow_name=name))).rows


@pytest.mark.parametrize("few", [0, 500], ids=["many before", "few before"])
async def test_the_time_of_the_end_bounds_what_is_found(
    actor: Actor, store: Store, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """From `ended_since` on and before `ended_until`, on every way to the rows and page by page. None that is open."""
    monkeypatch.setattr(searches, "FEW", few)
    rows = await filled(actor)
    (name,) = actor.workflows
    ended = [row for row in rows if row.status in TERMINAL_STATUSES]
    moments = sorted(row.updated_at for row in ended)
    assert COUNT + 1 == len(ended)
    bounds = [None, 0, moments[0], moments[4], moments[4] + 1, moments[-1] + 1]

    wrong: list[object] = []
    ways: list[dict[str, Any]] = [
        {"workflow_name": name}, {"workflow_name": name, "status": ENDS}, {"workflow_name": name, "filters": {"v": 1}},
        {"workflow_name": name, "status": ["failed", "running"]}, {"workflow_name": name, "status": "running"},
        {"instance_id": ended[3].instance_id}, {"workflow_name": name, "since": ended[9].created_at},
        {"workflow_name": name, "until": ended[4].created_at},
    ]  # fmt: skip
    for since, until in itertools.product(bounds, bounds):
        if since is None and until is None:
            continue
        for way, limit in itertools.product(ways, (2, 1000)):
            expected = [row.instance_id for row in ended if fits(row, since, until, way)]
            answer = await found(store, limit, ended_since=since, ended_until=until, **way)
            if answer != expected:
                wrong.append((since, until, way, limit, answer, expected))
    assert [] == wrong


def fits(row: InstanceRow, since: int | None, until: int | None, way: dict[str, Any]) -> bool:
    """Return whether the reference finds the row."""
    statuses = way.get("status", ENDS)
    return (
        (since is None or row.updated_at >= since)
        and (until is None or row.updated_at < until)
        and row.status in ([statuses] if isinstance(statuses, str) else statuses)
        and way.get("instance_id", "") in row.instance_id
        and row.created_at >= way.get("since", 0)
        and ("until" not in way or row.created_at < way["until"])
    )


async def test_what_comes_after_the_end_does_not_move_its_time(hire: Hire, store: Store) -> None:
    """Messages, claims with sweeps, a takeover of the worker that ended it, pruning of others and of former runs."""
    first, second = await hire(), await hire()
    (name,) = first.workflows
    ends: list[Append] = []
    for status in ENDS:
        one = await first.begin()
        await first.write(append(one, 2, change=change(Status.RUNNING, run_from=2, input=b"1")))
        assert [Delivered.ACCEPTED] == await store.deliver([delivery(one)])
        await first.write(append(one, 3, change=change(status, seen=1)))
        ends.append(one)
    left = await first.begin()
    before = (await store.services.reading.find(build_query(workflow_name=name, ended_since=0))).rows
    assert {one.instance_id for one in ends} == {row.instance_id for row in before}

    assert [Delivered.CLOSED] * 3 == await store.deliver([delivery(one) for one in ends])
    await store.services.router.dispatch()
    assert (left.instance_id,) == await second.take_over(first)
    await second.claim(sweep=True)
    await store.services.upkeep.prune(PruneRequest(instance_ids=(unique(),), ended_before=1))

    assert before == (await store.services.reading.find(build_query(workflow_name=name, ended_since=0))).rows
    last = max(row.updated_at for row in before)
    assert [] == await found(store, workflow_name=name, ended_since=last + 1)
    assert 3 == len(await found(store, workflow_name=name, ended_until=last + 1))


async def test_pages_by_the_end_show_once_what_ends_meanwhile(
    actor: Actor, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of those that were started since then is followed by those that were started before."""
    monkeypatch.setattr(searches, "FEW", 0)
    (name,) = actor.workflows
    old = [await actor.begin() for _ in range(6)]
    edge = (await store.services.reading.find(build_query(workflow_name=name, limit=1))).rows[0].created_at + 1
    young = [await actor.begin() for _ in range(6)]
    for one in (*old[:4], *young[:4]):
        await actor.write(append(one, 2, change=change(Status.COMPLETED)))

    seen: list[str] = []
    token: str | None = None
    ending = [*old[4:], *young[4:]]
    while True:
        page = await store.services.reading.find(
            build_query(workflow_name=name, ended_since=edge, limit=3, page_token=token)
        )
        seen += [row.instance_id for row in page.rows]
        token = page.next_token
        if token is None:
            break
        if ending:
            await actor.write(append(ending.pop(0), 2, change=change(Status.FAILED)))

    assert len(seen) == len(set(seen))
    assert {one.instance_id for one in (*old[:4], *young[:4])} <= set(seen)
