"""Finding: the same answer as the reference, on every database, with an index or without, page after page."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from romancy.errors import QueryError
from romancy.status import Status
from romancy.storage.query import (
    build_query,
    compile_filters,
    gt,
    holds,
    is_null,
    matches,
    missing,
    ne,
    one_of,
    path_key,
    project_with_index,
)
from romancy.storage.records import Outcome, PruneRequest
from romancy_conformance.contract.building import append, change, created, start, unique
from romancy_conformance.contract.interleaving import leave, listen
from romancy_conformance.query_corpus import CASES, DOCUMENTS
from romancy_conformance.query_strategies import filters_for, raw_documents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from hypothesis.strategies import DrawFn

    from romancy.storage.protocol import Store
    from romancy.storage.query import FilterValue
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]
    Filters = Mapping[str, FilterValue]

pytestmark = pytest.mark.anyio

MOVING = [Status.WAITING, Status.RUNNING]
INDEXES: list[list[tuple[str, ...]]] = [[()], [("v", "other", "a.b"), (), ("v",)]]
"""The paths that the instances of a database have declared, one set after the other."""


def searchable(raw: bytes, index: Sequence[str] = (), bare: str | None = None, **fields: Any) -> Append:
    """An instance with this document as its input."""
    projection, values = project_with_index(raw, index, bare)
    return start(input=raw, projection=projection, index=values, **fields)


async def fill(
    store: Store, documents: Sequence[bytes], index: Sequence[tuple[str, ...]], bare: str | None = None
) -> tuple[str, list[Append]]:
    """Write one instance for each document, under a workflow name used only here."""
    name = unique("flow")
    items = [
        searchable(raw, index[number % len(index)], bare, workflow_name=name, instance_id=unique(f"d{number}"))
        for number, raw in enumerate(documents)
    ]
    for first in range(0, len(items), 50):
        assert set(await store.commit(items[first : first + 50])) == {Outcome.ACCEPTED}
    return name, items


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


def wanted(items: Sequence[Append], filters: Filters) -> set[str]:
    """Return the results of the reference."""
    return {item.instance_id for item in items if matches(created(item).input, filters)}


@pytest.mark.parametrize(
    "index",
    [pytest.param(INDEXES[0], id="no index", marks=pytest.mark.dealt), pytest.param(INDEXES[1], id="several sets")],
)
async def test_every_filter_of_the_truth_table_finds_what_the_reference_finds(
    store: Store, index: list[tuple[str, ...]]
) -> None:
    """The compiled form stands for the reference: for these filters and documents it answers the same, and faster."""
    name, items = await fill(store, DOCUMENTS, index)
    wrong: list[tuple[str, set[str]]] = []
    for case in CASES:
        answer = set(await found(store, filters=case.filters, workflow_name=name))
        question = compile_filters(case.filters)
        expected = {item.instance_id for item in items if holds(created(item).projection, question)}
        if answer != expected:
            wrong.append((case.name, answer ^ expected))

    assert wrong == []


@pytest.mark.parametrize("index", INDEXES, ids=["no index", "several sets"])
@pytest.mark.dealt
async def test_a_path_may_leave_out_the_bare_parameter(store: Store, index: list[tuple[str, ...]]) -> None:
    """Each document is the bare parameter `given`. Those with a further parameter `v` hide the member of that name.

    As above, the compiled form stands for the reference.
    """
    documents = [b'{"given":%b%b}' % (raw, further) for raw in DOCUMENTS for further in (b"", b',"v":{"w":"x"}')]
    name, items = await fill(store, documents, index, "given")
    wrong: list[tuple[str, set[str]]] = []
    for case in CASES:
        answer = set(await found(store, filters=case.filters, workflow_name=name))
        question = compile_filters(case.filters)
        expected = {item.instance_id for item in items if holds(created(item).projection, question)}
        if answer != expected:
            wrong.append((case.name, answer ^ expected))

    assert wrong == []


async def test_instances_of_one_time_come_once_each_whatever_the_size_of_a_page(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages continue behind a time and an id. This process's clock stands still, for stores that take the time here."""
    name = unique("flow")
    items = [searchable(b'{"v":1}', [("v",), ()][n % 2], workflow_name=name) for n in range(24)]
    still = time.time_ns()
    with monkeypatch.context() as clock:
        clock.setattr(time, "time_ns", lambda: still)
        clock.setattr(time, "time", lambda: still / 1_000_000_000)
        for first in range(0, len(items), 8):
            assert {Outcome.ACCEPTED} == set(await store.commit(items[first : first + 8]))

    rows = (await store.services.reading.find(build_query(workflow_name=name))).rows
    if len({row.created_at for row in rows}) == len(items):
        pytest.skip("capability: the store gives each instance a time of its own")

    in_order = sorted(rows, key=lambda row: (row.created_at, row.instance_id.encode()), reverse=True)
    assert [row.instance_id for row in in_order] == [row.instance_id for row in rows]
    for more in ({}, {"status": ["pending"]}, {"filters": {"v": 1}}):
        for limit in (1, 2, 3, 7, 23):
            asked: dict[str, Any] = {"workflow_name": name, **more}
            assert [row.instance_id for row in rows] == await found(store, limit, **asked), (more, limit)


@pytest.mark.parametrize("index", INDEXES, ids=["no index", "several sets"])
async def test_times_bound_what_is_found(store: Store, index: list[tuple[str, ...]]) -> None:
    """From `since` on and before `until`, on every way to the rows and page by page."""
    name = unique("flow")
    for number in range(8):
        item = searchable(b'{"v":1}', index[number % len(index)], workflow_name=name, instance_id=unique(f"t{number}"))
        assert [Outcome.ACCEPTED] == await store.commit([item])
    rows = (await store.services.reading.find(build_query(workflow_name=name))).rows
    since, until = rows[5].created_at, rows[2].created_at

    for more in ({}, {"status": ["pending", "waiting"]}, {"filters": {"v": 1}}):
        asked: dict[str, Any] = {"workflow_name": name, **more}
        assert [row.instance_id for row in rows if since <= row.created_at < until] == await found(
            store, since=since, until=until, limit=2, **asked
        ), more
        assert [row.instance_id for row in rows if row.created_at >= until] == await found(
            store, since=until, **asked
        ), more
        assert [row.instance_id for row in rows if row.created_at < since] == await found(
            store, until=since, limit=1, **asked
        ), more
        assert [] == await found(store, since=until, until=until, **asked), more


@st.composite
def _collections(draw: DrawFn) -> tuple[list[bytes], dict[str, FilterValue], list[tuple[str, ...]]]:
    documents = draw(st.lists(raw_documents, min_size=1, max_size=8))
    filters = draw(filters_for(draw(st.sampled_from(documents))))
    declared = st.lists(st.sampled_from([*filters, "v"]), max_size=2, unique_by=path_key).map(tuple)
    return documents, filters, draw(st.lists(declared, min_size=1, max_size=3))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(collection=_collections())
async def test_any_filter_finds_what_the_reference_finds(store: Store, collection: Any) -> None:
    documents, filters, index = collection
    name, items = await fill(store, documents, index)

    assert set(await found(store, filters=filters, workflow_name=name)) == wanted(items, filters)
    assert set(await found(store, filters=filters, workflow_name=name, limit=2)) == wanted(items, filters)


async def test_newest_first_and_by_id_where_the_time_is_the_same(store: Store) -> None:
    ids = [unique() for _ in range(3)]
    name = unique("flow")
    base = ids[0]
    batch = [start(f"{base}{end}", workflow_name=name) for end in ("a", "B", "é", "😀", "z", "￿", "-", "Z")]
    await store.commit([start(ids[1], workflow_name=name)])
    await store.commit(batch)
    await store.commit([start(ids[2], workflow_name=name)])

    rows = (await store.services.reading.find(build_query(workflow_name=name))).rows

    places = [(row.created_at, row.instance_id.encode()) for row in rows]
    assert places == sorted(places, reverse=True)
    assert (rows[0].instance_id, rows[-1].instance_id) == (ids[2], ids[1])


async def test_parts_of_names_and_ids_are_found_whatever_the_case_of_ascii_letters(store: Store) -> None:
    """The case of A to Z does not count. Everything else is compared byte for byte: there are no wildcards."""
    base = unique("n")
    names = [
        f"{base}{rest}"
        for rest in (
            "order%", "order_x", "Order", "ORDERX", "orderé", "ordere\u0301", "ORDERÉ", "ord'er", "😀", "a b ", "a\\b",
            "straße", "STRASSE", "\u0131I", "K", "\u212a", "@[`{", "\x7f\x80",
        )
    ]  # fmt: skip
    items = [start(unique(f"{name}/Id"), workflow_name=name) for name in names]
    await store.commit(items)

    parts = [
        "order", "Order", "oRDER", "%", "_", "rder_", "RDER_", "é", "É", "e", "e\u0301", "E\u0301", "'", "😀", "b ",
        "b", "rderx", "", ".*", "\\", "A\\B", "ß", "ss", "SS", "\u0131", "i", "I", "K", "k", "\u212a", "@[", "`{",
        "\x7f", "\x80", "/ID",
    ]  # fmt: skip
    for part in parts:
        fitting = {item.instance_id for item in items if folded(f"{base}{part}") in folded(created(item).workflow_name)}
        by_name = [one for one in await found(store, workflow_name=base.upper() + part) if part or base in one]
        assert set(by_name) == fitting, part
        by_id = set(await found(store, instance_id=part or base, workflow_name=base))
        assert by_id == {item.instance_id for item in items if folded(part or base) in folded(item.instance_id)}, part
        if part and part != "/ID":
            inside = {
                item.instance_id for item in items if folded(part) in folded(created(item).workflow_name[len(base) :])
            }
            assert inside <= by_id


def folded(text: str) -> str:
    """Return the text with small letters for A to Z."""
    return "".join(chr(ord(one) + 32) if "A" <= one <= "Z" else one for one in text)


async def test_a_whole_name_is_compared_byte_for_byte(store: Store) -> None:
    """Whatever index gives the rows: by name, by status, by an indexed value, by the time of the end."""
    base = unique("n")
    names = [
        f"{base}{rest}" for rest in ("order", "Order", "order_", "reorder", "orderé", "ordere\u0301", "order ", "")
    ]
    items = [
        searchable(b'{"v":%d}' % (number % 2), index, workflow_name=name, status=Status.COMPLETED)
        for number, name in enumerate(names)
        for index in ((), ("v",))
    ]
    await store.commit(items)

    for name in [*names, f"{base}orde", f"{base}ORDER", f"{base}%", name_of_nothing()]:
        more: dict[str, Any]
        for more in ({}, {"status": ["completed"]}, {"filters": {"v": 0}}, {"ended_since": 0}):
            wanted = {
                item.instance_id
                for item in items
                if created(item).workflow_name == name and ("filters" not in more or created(item).input == b'{"v":0}')
            }
            found_ids, token = set[str](), None
            while True:
                page = await store.services.reading.find(build_query(named=name, limit=1, page_token=token, **more))
                found_ids |= {row.instance_id for row in page.rows}
                token = page.next_token
                if token is None:
                    break
            assert wanted == found_ids, (name, more)


async def test_a_whole_name_is_not_empty_and_continues_no_search_by_a_part(store: Store) -> None:
    name = unique("whole")
    await store.commit([start(workflow_name=name), start(workflow_name=name)])
    token = (await store.services.reading.find(build_query(workflow_name=name, limit=1))).next_token

    with pytest.raises(QueryError, match="page_token"):
        build_query(named=name, page_token=token)
    with pytest.raises(QueryError, match="workflow_name: is empty"):
        build_query(named="")


def name_of_nothing() -> str:
    return unique("nothing")


async def test_parts_in_another_case_are_the_same_search(store: Store) -> None:
    """A page token of one continues the other."""
    base = unique("Case")
    await store.commit([start(f"{base}-{number}", workflow_name=base) for number in range(4)])
    page = await store.services.reading.find(build_query(workflow_name=base.lower(), instance_id=base.upper(), limit=2))

    again = build_query(workflow_name=base.upper(), instance_id=base.lower(), page_token=page.next_token)
    assert 2 == len((await store.services.reading.find(again)).rows)


async def test_statuses_are_exact_and_combine_with_the_rest(actor: Actor, store: Store) -> None:
    name = next(iter(actor.workflows))
    begun: dict[Status, Append] = {}
    for status in (Status.COMPLETED, Status.FAILED, Status.WAITING, Status.RUNNING):
        begun[status] = await actor.begin(projection=b'{"v":"s:x"}')
        await actor.write(append(begun[status], 2, change=change(status)))

    for wish in (Status.FAILED, [Status.FAILED, Status.WAITING], "completed", [Status.CANCELLED]):
        statuses = {wish} if isinstance(wish, str) else set(wish)
        expected = {one.instance_id for status, one in begun.items() if status in statuses}
        assert set(await found(store, status=wish, workflow_name=name)) == expected
        assert set(await found(store, status=wish, workflow_name=name, limit=1)) == expected
        assert set(await found(store, status=wish, workflow_name=name, filters={"v": missing()})) == set()


async def test_rows_come_back_as_they_are(actor: Actor, store: Store) -> None:
    begun = await actor.begin(input=b'{"a":1}', parent="p")
    await actor.write(append(begun, 2, change=change(Status.FAILED, error="why")))

    (row,) = (await store.services.reading.find(build_query(instance_id=begun.instance_id))).rows

    history = await store.read(begun.instance_id, limit=0)
    assert history is not None
    assert row == history.instance


@pytest.mark.parametrize("filtered", ["all", "status", "filter", "indexed", "several"])
async def test_walking_shows_whatever_stays_exactly_once(actor: Actor, store: Store, filtered: str) -> None:
    """Rows are inserted, changed and pruned between two pages; a row that stays is neither missed nor shown twice."""
    name = next(iter(actor.workflows))
    index = ("v",) if filtered in {"indexed", "several"} else ()

    async def add(count: int, value: int = 1) -> list[Append]:
        raw = b'{"v":%d,"w":"x"}' % value
        items = [searchable(raw, index, workflow_name=name, status=Status.WAITING, delay=None) for _ in range(count)]
        await store.commit(items)
        return items

    query: dict[str, Any] = {"workflow_name": name}
    if filtered == "status":
        query["status"] = [Status.WAITING, Status.RUNNING]
    elif filtered == "several":
        query["filters"] = {"v": one_of(1, 2, 3), "w": ne("y")}
    elif filtered != "all":
        query["filters"] = {"v": 1}
    stay = [*await add(17), *await add(8, 1)]
    go = [await actor.begin(input=b'{"v":1}', projection=b'{"v":"n:1"}') for _ in range(6)]
    stay += await add(5)
    seen: list[str] = []
    token: str | None = None
    for number in range(100):
        page = await store.services.reading.find(build_query(limit=4, page_token=token, **query))
        seen += [row.instance_id for row in page.rows]
        token = page.next_token
        if token is None:
            break
        await add(2)
        if number < len(go):
            await actor.write(append(go[number], 2, change=change(Status.COMPLETED)))
            await store.services.upkeep.prune(PruneRequest(instance_ids=(go[number].instance_id,)))

    assert token is None
    assert sorted(set(seen)) == sorted(seen)
    assert {item.instance_id for item in stay} <= set(seen)


@pytest.mark.parametrize("asked", ["statuses of a workflow", "statuses", "statuses and a filter"])
async def test_walking_shows_once_what_moves_from_one_asked_status_to_another(
    store: Store, hire: Hire, asked: str
) -> None:
    """The instance always matches, although its status changes between two statements that build one page."""
    mover = await hire()
    (name,) = mover.workflows
    places, base = random.Random(asked), unique("walk")
    held: dict[str, Any] = {"workflow_name": name, "owner": mover.token}
    items = [
        searchable(b'{"v":1}', instance_id=f"{base}-{number}", status=MOVING[number % 2], **held)
        for number in range(24)
    ]
    assert set(await mover.store.commit(items, worker=mover.token)) == {Outcome.ACCEPTED}
    heads = dict.fromkeys(range(24), 1)

    async def move(count: int) -> None:
        for number in places.sample(sorted(heads), count):
            heads[number] += 1
            to = change(MOVING[(number + heads[number] - 1) % 2])
            assert await mover.write(append(items[number], heads[number], change=to)) is Outcome.ACCEPTED

    async def move_meanwhile(_: str, /) -> None:
        await move(2)

    query: dict[str, Any] = {"status": MOVING, "instance_id": base}
    if asked == "statuses of a workflow":
        query["workflow_name"] = name
    elif asked == "statuses and a filter":
        query["filters"] = {"v": 1}
    listen(store, move_meanwhile)
    seen: list[str] = []
    token: str | None = None
    for _ in range(6):
        page = await store.services.reading.find(build_query(limit=4, page_token=token, **query))
        seen += [row.instance_id for row in page.rows]
        token = page.next_token
        await move(3)
    leave(store)

    assert token is None
    assert sorted(seen) == sorted(item.instance_id for item in items)


async def test_a_page_that_ends_exactly_at_the_last_row_is_the_last(store: Store) -> None:
    name, _ = await fill(store, [b"1"] * 6, [()])

    first = await store.services.reading.find(build_query(workflow_name=name, limit=3))
    second = await store.services.reading.find(build_query(workflow_name=name, limit=3, page_token=first.next_token))

    assert (len(first.rows), len(second.rows), second.next_token) == (3, 3, None)


async def test_a_token_belongs_to_its_query(store: Store) -> None:
    name, _ = await fill(store, [b'{"v":1}'] * 3, [()])
    page = await store.services.reading.find(build_query({"v": 1}, workflow_name=name, limit=1))
    assert page.next_token is not None

    assert (
        len(
            (
                await store.services.reading.find(build_query({"v": 1}, workflow_name=name, page_token=page.next_token))
            ).rows
        )
        == 2
    )
    others: list[dict[str, FilterValue]] = [{"v": 2}, {"v": gt(1)}, {}, {"v": 1, "w": is_null()}]
    for other in others:
        with pytest.raises(QueryError, match="page_token"):
            build_query(other, workflow_name=name, page_token=page.next_token)
    for damaged in (page.next_token[:-2], page.next_token + "AA", page.next_token.swapcase(), "x"):
        with pytest.raises(QueryError, match="page_token"):
            build_query({"v": 1}, workflow_name=name, page_token=damaged)


HOSTILE = [
    "' or '1'='1",
    "'; drop table romancy_instances; --",
    '") or ("1"="1',
    "%s $1 ? :name %(x)s {0} {conditions}",
    "\\' or 1=1 -- ",
    "') union select * from romancy_workers --",
    "%",
    "_",
    "$[*]",
    "romancy_",
]


async def test_text_from_outside_is_data_wherever_it_stands(store: Store) -> None:
    name, items = await fill(store, [b'{"v":"x"}', b'{"v":1}'], [("v",), ()])

    for text in HOSTILE:
        quoted = '["' + text.replace("\\", "\\\\").replace('"', '\\"') + '"]'
        for filters in ({"v": text}, {quoted: "x"}, {f"v.{quoted}": "x"}, {"v": one_of(text, "y")}):
            assert await found(store, filters=filters, workflow_name=name) == [], text
        assert await found(store, workflow_name=f"{name}{text}") == []
        assert set(await found(store, instance_id=text)) & {item.instance_id for item in items} == set(), text
        assert set(await found(store, workflow_name=name)) == {item.instance_id for item in items}, text


async def test_the_input_of_a_new_run_takes_the_place_of_the_old_one(actor: Actor, store: Store) -> None:
    name = next(iter(actor.workflows))
    old, new = b'{"v":"old","w":1}', b'{"v":"new"}'
    for index in ((), ("v",), ("v", "w")):
        projection, values = project_with_index(old, index)
        begun = await actor.begin(input=old, projection=projection, index=values)
        projection, values = project_with_index(new, index)
        again = change(Status.RUNNING, run_from=2, input=new, projection=projection, index=values)
        assert await actor.write(append(begun, 2, change=again)) is Outcome.ACCEPTED

        of_this: dict[str, Any] = {"workflow_name": name, "instance_id": begun.instance_id}
        assert await found(store, filters={"v": "old"}, **of_this) == []
        assert await found(store, filters={"v": "new"}, **of_this) == [begun.instance_id]
        assert await found(store, filters={"w": 1}, **of_this) == []
        assert await found(store, filters={"w": missing()}, **of_this) == [begun.instance_id]


async def test_a_new_run_keeps_values_of_the_old_one_whatever_its_append_carries(actor: Actor, store: Store) -> None:
    """The same rows go and come in one transaction, and on some stores in one statement."""
    name = next(iter(actor.workflows))
    for children in ((), (start(),)):
        projection, values = project_with_index(b'{"v":"kept","w":1}', ("v", "w"))
        begun = await actor.begin(projection=projection, index=values)
        projection, values = project_with_index(b'{"v":"kept","w":2}', ("v", "w"))
        again = change(Status.RUNNING, run_from=2, input=b"{}", projection=projection, index=values)
        assert await actor.write(append(begun, 2, change=again, starts=children)) is Outcome.ACCEPTED
        assert await actor.write(append(begun, 3, change=replace(again, run_from=3))) is Outcome.ACCEPTED

        of_this: dict[str, Any] = {"workflow_name": name, "instance_id": begun.instance_id}
        assert await found(store, filters={"v": "kept"}, **of_this) == [begun.instance_id]
        assert await found(store, filters={"w": 2}, **of_this) == [begun.instance_id]
        assert await found(store, filters={"w": 1}, **of_this) == []


async def test_a_pruned_instance_is_not_found_by_its_index(actor: Actor, store: Store) -> None:
    name = next(iter(actor.workflows))
    projection, values = project_with_index(b'{"v":"x"}', ("v",))
    begun = await actor.begin(projection=projection, index=values)
    await actor.write(append(begun, 2, change=change(Status.COMPLETED)))
    assert await store.services.upkeep.prune(PruneRequest(instance_ids=(begun.instance_id,))) == 1
    reborn = await actor.begin(begun.instance_id)

    assert await found(store, filters={"v": "x"}, workflow_name=name) == []
    assert await found(store, workflow_name=name) == [reborn.instance_id]


async def test_an_index_declared_later_finds_the_older_ones_too(store: Store) -> None:
    name = unique("flow")
    older = searchable(b'{"customer":{"id":7}}', workflow_name=name)
    younger = searchable(b'{"customer":{"id":7}}', ("customer.id",), workflow_name=name)
    others = [searchable(b'{"customer":{"id":8}}', paths, workflow_name=name) for paths in ((), ("customer.id",))]
    await store.commit([older])
    await store.commit([younger, *others])

    for filters in ({"customer.id": 7}, {"customer.id": 7.0}, {'["customer"].id': one_of(7, 9)}):
        assert await found(store, filters=filters, workflow_name=name) == [younger.instance_id, older.instance_id]
