"""Lists by parent and by ids, in both orders, and counts: any question has the answer of a reference in Python."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from romancy.errors import QueryError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.query import MAX_IDS, build_query, project_with_index
from romancy.storage.records import Outcome, PruneRequest
from romancy.storage.slices import find_in_slices
from romancy.storage.sqlkit import searches
from romancy_conformance.contract.building import append, change, created, start, unique

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, InstanceRow
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio

STATUSES = (Status.COMPLETED, Status.WAITING, Status.FAILED, Status.CANCELLED, Status.RUNNING)
COUNT = 30
FOREST = [None, "p", None, "P", "p", "é", "p"]
"""The parents of successive instances: two differ in case alone."""


def instance(number: int, flow: str, parent: str | None) -> Append:
    """One of a few instances, of two workflows, some with a declared path."""
    raw = b'{"v":%d}' % (number % 3)
    projection, index = project_with_index(raw, ["v"] if number % 2 else [])
    return start(
        unique(f"o{number}"), workflow_name=f"{flow}-{'ab'[number % 2]}", parent=parent, input=raw,
        projection=projection, index=index, status=STATUSES[number % len(STATUSES)], delay=10**12,
    )  # fmt: skip


async def filled(store: Store, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[InstanceRow]]:
    """Write instances, five at each time; return the part of all names, and the rows by time and id.

    This process's clock stands still for each five, for stores that take the time here.
    """
    flow = unique("flow")
    items = [
        instance(number, flow, None if parent is None else f"{flow}/{parent}")
        for number, parent in ((number, FOREST[number % len(FOREST)]) for number in range(COUNT))
    ]
    for first in range(0, COUNT, 5):
        still = time.time_ns()
        with monkeypatch.context() as clock:
            clock.setattr(time, "time_ns", lambda still=still: still)
            clock.setattr(time, "time", lambda still=still: still / 1_000_000_000)
            assert {Outcome.ACCEPTED} == set(await store.commit(items[first : first + 5]))
    rows = (await store.services.reading.find(build_query(workflow_name=flow))).rows
    assert COUNT == len(rows)
    return flow, sorted(rows, key=lambda row: (row.created_at, row.instance_id.encode()))


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


def fits(row: InstanceRow, wanted: dict[str, Any]) -> bool:
    """Return whether the reference finds the row."""
    by_end = "ended_since" in wanted or "ended_until" in wanted
    return (
        wanted.get("workflow_name", "") in row.workflow_name
        and row.workflow_name == wanted.get("named", row.workflow_name)
        and row.status in wanted.get("status", Status)
        and wanted.get("instance_id", "") in row.instance_id
        and row.parent == wanted.get("parent", row.parent)
        and (row.parent is None or not wanted.get("top_level"))
        and row.instance_id in wanted.get("ids", [row.instance_id])
        and wanted.get("since", 0) <= row.created_at < wanted.get("until", 2**62)
        and (not by_end or row.status in TERMINAL_STATUSES)
        and wanted.get("ended_since", 0) <= row.updated_at
        and (row.updated_at < wanted["ended_until"] if "ended_until" in wanted else True)
        and ("filters" not in wanted or row.input == b'{"v":%d}' % wanted["filters"]["v"])
    )


def expected(rows: Sequence[InstanceRow], wanted: dict[str, Any]) -> list[str]:
    """Return the ids that the reference finds, in order."""
    ids = [row.instance_id for row in rows if fits(row, wanted)]
    return ids if wanted.get("oldest_first") else ids[::-1]


def numbers(rows: Sequence[InstanceRow], wanted: dict[str, Any]) -> dict[tuple[str, Status], int]:
    """Return the counts of the reference."""
    counts: dict[tuple[str, Status], int] = {}
    for row in rows:
        if fits(row, wanted):
            counts[row.workflow_name, row.status] = counts.get((row.workflow_name, row.status), 0) + 1
    return counts


async def test_any_question_has_the_answer_of_the_reference(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part of a query with any others, in both orders, in pages of any size; and its count."""
    flow, rows = await filled(store, monkeypatch)
    times = sorted({row.created_at for row in rows})
    moments = [times[0] - 1, *times, times[-1] + 1]
    ids = [row.instance_id for row in rows]
    parts: dict[str, st.SearchStrategy[Any]] = {
        "workflow_name": st.sampled_from([flow, f"{flow}-a", f"{flow}-c"]),
        "named": st.sampled_from([f"{flow}-a", flow]),
        "status": st.lists(st.sampled_from(STATUSES), min_size=1, max_size=3, unique=True),
        "instance_id": st.sampled_from([ids[7], "1", "nothing"]),
        "parent": st.sampled_from([f"{flow}/{parent}" for parent in ("p", "P", "é", "none")]),
        "top_level": st.just(True),  # noqa: FBT003 - a value
        "ids": st.lists(st.sampled_from([*ids, "none"]), max_size=12),
        "filters": st.sampled_from([{"v": 1}, {"v": 7}]),
        "since": st.sampled_from(moments), "until": st.sampled_from(moments),
        "ended_since": st.sampled_from(moments), "ended_until": st.sampled_from(moments),
    }  # fmt: skip
    queries = st.sets(st.sampled_from(list(parts)), max_size=5).flatmap(
        lambda names: st.fixed_dictionaries({name: parts[name] for name in sorted(names)})
    )
    tried: list[tuple[dict[str, Any], int, int]] = []

    @settings(max_examples=120, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(queries, st.integers(1, 9), st.sampled_from([0, 500]))
    def collect(query: dict[str, Any], limit: int, few: int) -> None:
        if not {"workflow_name", "named", "parent", "ids"} & query.keys():
            query["workflow_name"] = flow
        if "parent" in query:
            query.pop("top_level", None)
        if "named" in query:
            query.pop("workflow_name", None)
        tried.append((query, limit, few))

    collect()
    wrong: list[object] = []
    for query, limit, few in tried:
        monkeypatch.setattr(searches, "FEW", few)
        for oldest_first in (False, True):
            asked = {**query, "oldest_first": oldest_first}
            answer = await found(store, limit, **asked)
            if answer != expected(rows, asked):
                wrong.append((asked, limit, few, answer, expected(rows, asked)))
        counts = await store.services.reading.count(build_query(**query))
        if counts != numbers(rows, query):
            wrong.append((query, counts, numbers(rows, query)))
    assert [] == wrong


BOUNDS = ("since", "until", "ended_since", "ended_until")


@pytest.mark.parametrize("oldest_first", [False, True], ids=["newest first", "oldest first"])
async def test_a_page_token_and_bounds_never_replace_each_other(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, oldest_first: bool
) -> None:
    """A page has the rows behind the place of its token that are within the bounds of its own call, and no others.

    The bounds may be wider or narrower than those of the call that gave the token, or lie on its other side.
    """
    flow, rows = await filled(store, monkeypatch)
    times = sorted({row.created_at for row in rows})
    moments = [times[0] - 1, *times, times[-1] + 1]
    moment = st.sampled_from(moments)
    bounds = st.dictionaries(st.sampled_from(BOUNDS), moment, max_size=1)
    edge = "since" if oldest_first else "until"  # where pages begin, as a token says too
    others = st.fixed_dictionaries({edge: moment}, optional={name: moment for name in BOUNDS if name != edge})
    statuses: list[dict[str, Any]] = [{}, {"status": [Status.COMPLETED, Status.RUNNING]}]
    tried: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], int, int]] = []

    @settings(max_examples=80, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from(statuses), bounds, others, st.integers(1, 9), st.sampled_from([0, 500]))
    def collect(same: dict[str, Any], first: dict[str, Any], then: dict[str, Any], limit: int, few: int) -> None:
        tried.append(({**same, "workflow_name": flow, "oldest_first": oldest_first}, first, then, limit, few))

    collect()
    wrong: list[object] = []
    for same, first, then, limit, few in tried:
        monkeypatch.setattr(searches, "FEW", few)
        page = await store.services.reading.find(build_query(**same, **first, limit=limit))
        if page.next_token is None:
            continue
        order = [row.instance_id for row in rows]
        place = order.index(page.rows[-1].instance_id)
        behind = set(order[place + 1 :] if oldest_first else order[:place])
        wanted = [one for one in expected(rows, {**same, **then}) if one in behind]
        query = build_query(**same, **then, page_token=page.next_token)
        rest = await store.services.reading.find(query)
        answers = [[row.instance_id for row in rest.rows]]
        answers += [[row.instance_id for row in (await find_in_slices(store, query, within=60, first=3)).rows]]
        if answers != [wanted, wanted]:
            wrong.append((same, first, then, limit, few, answers, wanted))
    assert [] == wrong


@pytest.mark.parametrize("oldest_first", [False, True], ids=["newest first", "oldest first"])
async def test_lists_of_each_kind_are_in_order_whatever_the_size_of_a_page(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, oldest_first: bool
) -> None:
    """Also where several instances have the same time: pages continue behind a time and an id."""
    flow, rows = await filled(store, monkeypatch)
    ids = [row.instance_id for row in rows]
    ways: list[dict[str, Any]] = [
        {"workflow_name": flow}, {"workflow_name": flow, "status": ["waiting", "failed"]},
        {"workflow_name": flow, "status": "completed"}, {"named": f"{flow}-a"}, {"parent": f"{flow}/p"},
        {"workflow_name": flow, "top_level": True}, {"ids": ids[3:17]}, {"filters": {"v": 1}, "workflow_name": flow},
        {"workflow_name": flow, "since": rows[6].created_at, "until": rows[21].created_at},
        {"parent": f"{flow}/p", "status": ["failed", "completed"], "filters": {"v": 1}},
        {"ids": ids[::2], "parent": f"{flow}/p"}, {"ids": ids[::2], "top_level": True},
    ]  # fmt: skip
    for way in ways:
        asked = {**way, "oldest_first": oldest_first}
        asked_statuses = [way["status"]] if isinstance(way.get("status"), str) else way.get("status", Status)
        wanted = expected(rows, {**asked, "status": asked_statuses})
        assert wanted, way
        for limit in (1, 2, 3, 7, 1000):
            assert wanted == await found(store, limit, **asked), (way, limit)


async def test_the_parent_is_compared_byte_for_byte(store: Store) -> None:
    base = unique("p")
    parents = [f"{base}{end}" for end in ("", " ", "x", "X", "é", "e\u0301", "%", "_")]
    items = [start(parent=parent) for parent in parents]
    await store.commit(items)

    for parent, item in zip(parents, items, strict=True):
        assert [item.instance_id] == await found(store, parent=parent)
        assert {(created(item).workflow_name, Status.PENDING): 1} == await store.services.reading.count(
            build_query(parent=parent)
        )
    assert [] == await found(store, parent=unique("nobody"))


async def test_ids_are_whole_and_each_comes_once(store: Store) -> None:
    base = unique("Id")
    names = [f"{base}{end}" for end in ("", "a", "A", " ", "é", "%")]
    await store.commit([start(name) for name in names])

    assert set(names) == set(await found(store, ids=[*names, *names, f"{base}b", base.lower()]))
    assert [f"{base}A"] == await found(store, ids=[f"{base}A"])
    assert [] == await found(store, ids=[f"{base}b"])
    assert 6 == sum((await store.services.reading.count(build_query(ids=[*names, *names]))).values())


@pytest.mark.parametrize("oldest_first", [False, True], ids=["newest first", "oldest first"])
async def test_no_ids_find_nothing(store: Store, *, oldest_first: bool) -> None:
    await store.commit([start()])

    others: list[dict[str, Any]] = [{}, {"status": "pending"}, {"parent": "p"}, {"ended_since": 0}]
    for more in others:
        page = await store.services.reading.find(build_query(ids=[], oldest_first=oldest_first, **more))
        assert ([], None) == (page.rows, page.next_token)
        assert {} == await store.services.reading.count(build_query(ids=[], **more))


async def test_as_many_ids_as_are_allowed_are_looked_up(store: Store) -> None:
    base = unique("many")
    await store.commit([start(f"{base}-{number:04}") for number in range(0, MAX_IDS, 100)])

    ids = [f"{base}-{number:04}" for number in range(MAX_IDS)]
    assert [f"{base}-{number:04}" for number in range(0, MAX_IDS, 100)] == sorted(await found(store, 3, ids=ids))
    assert 10 == sum((await store.services.reading.count(build_query(ids=ids))).values())


async def test_a_token_of_the_other_direction_or_of_another_list_is_refused(store: Store) -> None:
    base = unique("t")
    await store.commit([start(f"{base}-{number}", parent=base) for number in range(4)])
    page = await store.services.reading.find(build_query(parent=base, limit=2, oldest_first=True))
    assert page.next_token is not None

    rest = await store.services.reading.find(build_query(parent=base, oldest_first=True, page_token=page.next_token))
    assert [f"{base}-2", f"{base}-3"] == [row.instance_id for row in rest.rows]
    others: list[dict[str, Any]] = [
        {"parent": base}, {"parent": f"{base}x", "oldest_first": True}, {"oldest_first": True},
        {"top_level": True, "oldest_first": True}, {"parent": base, "ids": [base], "oldest_first": True},
        {"parent": base, "ids": [], "oldest_first": True},
    ]  # fmt: skip
    for other in others:
        with pytest.raises(QueryError, match="page_token: belongs to another query"):
            build_query(page_token=page.next_token, **other)


async def test_pages_of_the_oldest_first_go_on_to_what_is_started_meanwhile(actor: Actor, store: Store) -> None:
    """What matches throughout comes once. What is started while the pages are read comes at their end."""
    (name,) = actor.workflows
    stay = [await actor.begin(parent="p") for _ in range(9)]
    go = [await actor.begin(parent="p") for _ in range(3)]
    seen: list[str] = []
    token: str | None = None
    while True:
        page = await store.services.reading.find(
            build_query(parent="p", workflow_name=name, oldest_first=True, limit=4, page_token=token)
        )
        seen += [row.instance_id for row in page.rows]
        token = page.next_token
        if token is None:
            break
        if go:
            await actor.write(append(go[0], 2, change=change(Status.COMPLETED)))
            await store.services.upkeep.prune(PruneRequest(instance_ids=(go.pop(0).instance_id,)))
            stay.append(await actor.begin(parent="p"))

    assert len(seen) == len(set(seen))
    assert [one.instance_id for one in stay] == [one for one in seen if one in {each.instance_id for each in stay}]


async def test_counts_follow_what_happens(hire: Hire, store: Store) -> None:
    """A status that changes, a takeover and a removal. Nothing is counted twice, and there are no zeros."""
    first, second = await hire(), await hire()
    (name,) = first.workflows
    begun = [await first.begin(parent="p") for _ in range(3)]
    query = build_query(workflow_name=name)
    assert {(name, Status.RUNNING): 3} == await store.services.reading.count(query)

    await first.write(append(begun[0], 2, change=change(Status.FAILED)))
    assert {(name, Status.RUNNING): 2, (name, Status.FAILED): 1} == await store.services.reading.count(query)
    assert {(name, Status.FAILED): 1} == await store.services.reading.count(
        build_query(workflow_name=name, ended_since=0)
    )

    await second.take_over(first)
    assert 3 == sum((await store.services.reading.count(query)).values())
    await store.services.upkeep.prune(PruneRequest(instance_ids=(begun[0].instance_id,)))
    assert {Status.FAILED} & {status for _, status in await store.services.reading.count(query)} == set()
    assert {} == await store.services.reading.count(build_query(workflow_name=unique("nothing")))


async def test_the_children_of_a_new_run_remain_those_of_their_parent(actor: Actor, store: Store) -> None:
    begun = await actor.begin(parent="p", projection=b'{"v":"s:x"}')
    again = change(Status.RUNNING, run_from=2, input=b'{"v":"y"}', projection=b'{"v":"s:y"}', index=())
    assert await actor.write(append(begun, 2, change=again)) is Outcome.ACCEPTED
    (name,) = actor.workflows

    assert [begun.instance_id] == await found(store, parent="p", workflow_name=name, filters={"v": "y"})
    assert [] == await found(store, top_level=True, workflow_name=name)
