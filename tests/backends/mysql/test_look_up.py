"""Searches whose rows are looked at one by one: by indexes or in the order of the table, they find the same pages."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from romancy.status import Status
from romancy.storage.query import Position, build_query, gte, lt, missing, ne, one_of, project_with_index
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import start
from romancy_conformance.contract.interleaving import listen
from romancy_mysql import _look_up
from romancy_mysql._interpreter import MySQLInterpreter
from romancy_mysql._selects import scan

if TYPE_CHECKING:
    from romancy.storage.query import Query
    from romancy.storage.records import Append
    from romancy.storage.sqlkit.statements import Ask, Operation
    from romancy_mysql._connection import Wire
    from romancy_mysql._store import MySQLStore

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]

_COUNT = 60
_EACH = 5
"""Instances that are started at one time."""
_STATUSES = (Status.COMPLETED, Status.WAITING, Status.FAILED)
_FAR = 10**9
"""No table has so many rows, so that all are many in comparison."""
_EXCHANGE = (
    b"update romancy_instances set status = if(status = 'failed', 'waiting', 'failed') where status <> 'completed'"
)
_MORE = b"""insert into romancy_instances
    (instance_id, life, created_at, updated_at, workflow_name, status, code, input)
select concat(i.instance_id, j.instance_id), 1, j.created_at, j.created_at, 'more', 'completed', 'c1', ''
from romancy_instances i join (select instance_id, created_at from romancy_instances limit 10) j"""

QUERIES = {
    "every one": build_query({"kind": "x"}),
    "some": build_query({"total": gte(20)}),
    "few, and old": build_query({"total": lt(7)}),
    "another": build_query({"customer": ne("c-1")}),
    "one of": build_query({"kind": one_of("x", None)}),
    "none": build_query({"total": -1}),
    "without": build_query({"nowhere": missing()}),
    "two conditions": build_query({"total": gte(20), "kind": "x"}),
    "a workflow": build_query({"total": gte(20)}, workflow_name="pay"),
    "two workflows": build_query({"total": gte(20)}, workflow_name="p"),
    "a workflow and a status": build_query(workflow_name="pay", status="failed"),
    "two statuses": build_query({"total": gte(20)}, status=["failed", "waiting"]),
    "a part of the id": build_query({"total": gte(20)}, instance_id="-1"),
    "a path that some have declared": build_query({"customer": "c-1"}),
    "ended": build_query({"total": gte(20)}, ended_since=1),
    "ended, of a workflow": build_query(ended_since=1, ended_until=2**60, workflow_name="PAY"),
    "and of two workflows": build_query({"customer": "c-1"}, workflow_name="p"),
    "children": build_query({"total": gte(20)}, parent="p-1"),
    "of the highest level": build_query({"total": gte(20)}, top_level=True, status="failed"),
    "the oldest": build_query({"total": gte(20)}, oldest_first=True),
    "the oldest of two statuses": build_query({"total": gte(20)}, status=["failed", "waiting"], oldest_first=True),
    "the oldest of two workflows": build_query({"total": gte(20)}, workflow_name="p", oldest_first=True),
    "the oldest with a value": build_query({"customer": "c-1"}, oldest_first=True),
    "the oldest children": build_query({"total": gte(20)}, parent="p-1", oldest_first=True),
}


def _instance(number: int) -> Append:
    declared = ["customer"] if number % 2 else []
    raw = b'{"customer":"c-%d","total":%d,"kind":"x"}' % (number % 7, number)
    projection, index = project_with_index(raw, declared)
    name = ("pay", "ship", "post")[number % 3]
    return start(
        workflow_name=name, instance_id=f"order-{number * 7919 % 1000}-{number}", input=raw, projection=projection,
        index=index, status=_STATUSES[number % 4 % 3], parent=f"p-{number % 2}" if number % 3 else None,
    )  # fmt: skip


@pytest.fixture
async def filled(store: MySQLStore) -> MySQLStore:
    """A store with some instances, a few at each time."""
    for first in range(0, _COUNT, _EACH):
        items = [_instance(number) for number in range(first, first + _EACH)]
        assert {Outcome.ACCEPTED} == set(await store.commit(items))
    return store


async def _pages(store: MySQLStore, query: Query) -> list[list[str]]:
    """The ids of all pages."""
    pages: list[list[str]] = []
    after = query.after
    while True:
        page = await store.services.reading.find(replace(query, after=after))
        pages.append([row.instance_id for row in page.rows])
        if page.next_token is None:
            return pages
        last = page.rows[-1]
        assert page.next_token == query.token_after(last.created_at, last.instance_id)
        after = Position(last.created_at, last.instance_id)


async def test_a_scan_finds_what_the_indexes_find(filled: MySQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the first instance of an index looked at before the scan, with some of them, and between two times."""
    at = [row.created_at for row in (await filled.services.reading.find(build_query(limit=_COUNT))).rows]
    queries: dict[str, Query] = {}
    for name, query in QUERIES.items():
        queries[name] = replace(query, limit=1000)
        queries[f"{name}, in pages"] = replace(query, limit=7)
        part = replace(query, since=at[-15], after=Position(at[10], "order-5"), limit=3)
        if query.oldest_first:
            part = replace(query, until=at[10], after=Position(at[-15], "order-5"), limit=3)
        queries[f"{name}, between two times"] = part
    by_index = {name: await _pages(filled, query) for name, query in queries.items()}
    scans = _scans(monkeypatch)

    for near in ((_FAR, _FAR), (16, 8), (8, 4)):
        _as_if_large(monkeypatch, near=near, far=_FAR)
        assert {name: await _pages(filled, query) for name, query in queries.items()} == by_index

    assert len(scans) > len(queries)


async def test_a_page_that_the_newest_fill_needs_no_scan(filled: MySQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    scans = _scans(monkeypatch)
    _as_if_large(monkeypatch, near=(4, 4), far=_FAR)

    page = await filled.services.reading.find(build_query({"kind": "x"}, limit=10))

    assert (len(page.rows), scans) == (10, [])


async def test_an_index_that_leads_to_few_is_followed_to_its_end(
    filled: MySQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a third of all instances. If a third is many, the table is read in its own order."""
    scans = _scans(monkeypatch)
    query = build_query({"total": -1}, workflow_name="pay")

    _as_if_large(monkeypatch, near=(12, 12), far=2)
    assert (await filled.services.reading.find(query)).rows == []
    assert scans == []

    _as_if_large(monkeypatch, near=(12, 12), far=6)
    assert (await filled.services.reading.find(query)).rows == []
    (plan,) = scans
    assert "by_name" not in plan


async def test_what_moves_between_two_statuses_is_found_once(
    filled: MySQLStore, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the search of the newest and the scan of the rest, all instances exchange their statuses."""
    query = build_query({"total": gte(0)}, status=["failed", "waiting"], limit=_COUNT)
    before = [row.instance_id for row in (await filled.services.reading.find(query)).rows]
    scans = _scans(monkeypatch)
    _as_if_large(monkeypatch, near=(8, 8), far=_FAR)
    sent: list[str] = []

    async def exchange(statement: str, /) -> None:
        sent.append(statement)
        if sent[-2:] == ["end_moment", "find_place"]:
            await wire.run(_EXCHANGE, "test")

    listen(filled, exchange)
    after = [row.instance_id for row in (await filled.services.reading.find(query)).rows]

    assert after == before
    assert (sent.count("end_moment"), len(scans)) == (1, 1)


async def test_the_size_of_the_table_is_not_that_of_yesterday(filled: MySQLStore, wire: Wire) -> None:
    """MySQL keeps the size that it has once been asked for, unless the connection wants a fresh one."""
    interpreter = MySQLInterpreter(filled.database, lambda _: None)
    sizes = [await interpreter.read(partial(_look_up.about_how_many, filled.database))]
    await wire.run(_MORE, "test")
    sizes.append(await interpreter.read(partial(_look_up.about_how_many, filled.database)))

    assert sizes[0] < 4 * _COUNT < 8 * _COUNT < sizes[1]


def _scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The scans from now on, as SQL."""
    scans: list[str] = []

    def recorded(*arguments: Any) -> Ask:
        asked = scan(*arguments)
        assert asked.composed is not None
        scans.append(asked.composed.text.decode())
        return asked

    monkeypatch.setattr(_look_up, "scan", recorded)
    return scans


def _as_if_large(monkeypatch: pytest.MonkeyPatch, *, near: tuple[int, int], far: int) -> None:
    def size(_: object) -> Operation[int]:
        yield from ()
        return _COUNT

    monkeypatch.setattr(_look_up, "about_how_many", size)
    monkeypatch.setattr(_look_up, "SMALL", 0)
    monkeypatch.setattr(_look_up, "NEAR", near)
    monkeypatch.setattr(_look_up, "FAR", far)
