"""The headers of a start: read with its instance, listed, and searched, through every way in which a run begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from romancy import (
    CodecError,
    Codecs,
    QueryError,
    RetryPolicy,
    Status,
    UsageError,
    WorkflowContext,
    activity,
    workflow,
)
from romancy.errors import HistoryVersionError, WorkflowFailedError
from romancy.managing import lists
from romancy.query import contains, gte, is_null, missing, ne, one_of, startswith
from romancy.storage.any_store import first_commits_of
from romancy.storage.query import MAX_PROJECTION_BYTES
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy import Romancy
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow, LogRow
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ACME = {"tenant": "acme", "Zone": "eu west"}


@activity
async def note(text: str) -> str:
    return text


@workflow
async def headed(ctx: WorkflowContext, number: int, text: Any = "") -> int:
    return number


@workflow(index=["left"])
async def headed_rounds(ctx: WorkflowContext, left: int) -> dict[str, str]:
    await note("round")
    if left:
        headed_rounds.recur(left - 1)
    await ctx.wait_event("go on")
    return ctx.headers


@workflow
async def headed_parent(ctx: WorkflowContext) -> int:
    return await headed.options(instance_id="child", headers={"tenant": "of the child"})(7)


@activity(retry=RetryPolicy(max_attempts=1))
async def once(path: str) -> None:
    raise ValueError(path)


@workflow
async def headed_failing(ctx: WorkflowContext, number: int) -> None:
    await once("x")


async def found(app: Romancy, headers: dict[str, Any], where: dict[str, Any] | None = None, **more: Any) -> list[str]:
    page = await app.find_instances(where or {}, headers=headers, **more)
    return sorted(one.instance_id for one in page.instances)


async def filled(app: Romancy) -> None:
    await app.run(headed.options(instance_id="a", headers=ACME), 1)
    await app.run(headed.options(instance_id="b", headers={"tenant": "bolt", "traceparent": TRACE}), 2)
    await app.run(headed.options(instance_id="c"), 3)


async def headers_now(app: Romancy, instance_id: str) -> dict[str, str]:
    one = await app.get_instance(instance_id)
    assert one is not None
    return one.headers


async def test_an_instance_has_the_headers_of_its_start(app: Romancy) -> None:
    await filled(app)

    assert ACME == await headers_now(app, "a")
    assert {"tenant": "bolt", "traceparent": TRACE} == await headers_now(app, "b")
    assert {} == await headers_now(app, "c")
    waiting = await app.get_instance("a", waits=True)
    assert waiting is not None
    assert ACME == waiting.headers
    assert await app.get_instance("none") is None


async def test_lists_have_headers_if_they_are_asked_for(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(app)
    reads: list[list[str]] = []

    async def reading(store: Store, instances: Sequence[InstanceRow]) -> dict[str, LogRow]:
        reads.append([one.instance_id for one in instances])
        return await first_commits_of(store, instances)

    monkeypatch.setattr(lists, "first_commits_of", reading)
    plain = (await app.list_instances(with_results=True)).instances
    assert [] == reads
    for one in plain:
        with pytest.raises(UsageError, match="with_headers=True"):
            _ = one.headers
    listed = (await app.list_instances(with_headers=True, with_results=True)).instances
    assert [["c", "b", "a"]] == reads
    assert [({}, 3), ({"tenant": "bolt", "traceparent": TRACE}, 2), (ACME, 1)] == [
        (one.headers, one.result) for one in listed
    ]
    assert [ACME] == [one.headers async for one in app.iter_instances(headers=ACME, with_headers=True)]


async def test_what_is_removed_between_the_two_reads_is_left_out(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(app)

    async def reading(store: Store, instances: Sequence[InstanceRow]) -> dict[str, LogRow]:
        await app.purge("b")
        return await first_commits_of(store, instances)

    monkeypatch.setattr(lists, "first_commits_of", reading)
    assert ["c", "a"] == [one.instance_id for one in (await app.list_instances(with_headers=True)).instances]


async def test_headers_of_a_newer_version_break_no_list(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(app)

    async def reading(store: Store, instances: Sequence[InstanceRow]) -> dict[str, LogRow]:
        commits = await first_commits_of(store, instances)
        return {**commits, "a": replace(commits["a"], body=b'[{"type":"WorkflowStartedByMagic"}]')}

    monkeypatch.setattr(lists, "first_commits_of", reading)
    rows = {one.instance_id: one for one in (await app.list_instances(with_headers=True)).instances}
    assert rows["c"].headers == {}
    with pytest.raises(HistoryVersionError):
        _ = rows["a"].headers


async def test_instances_are_found_by_their_headers(app: Romancy) -> None:
    await filled(app)

    for headers, ids in (
        ({"tenant": "acme"}, ["a"]),
        ({"tenant": "Acme"}, []),
        ({"tenant": "acme", "Zone": "eu west"}, ["a"]),
        ({"tenant": "acme", "Zone": "us"}, []),
        ({"zone": "eu west"}, []),
        ({"tenant": one_of("acme", "bolt")}, ["a", "b"]),
        ({"tenant": ne("acme")}, ["b"]),
        ({"tenant": startswith("bo")}, ["b"]),
        ({"Zone": contains("u w")}, ["a"]),
        ({"tenant": gte("b")}, ["b"]),
        ({"number": "1"}, []),
        ({}, ["a", "b", "c"]),
    ):
        assert ids == await found(app, headers), headers
    assert ["a"] == await found(app, {"tenant": "acme"}, {"number": 1})
    assert [] == await found(app, {"tenant": "acme"}, {"number": 2})
    assert [] == await found(app, {}, {"tenant": "acme"})
    assert ["a"] == await found(app, {"tenant": "acme"}, status="completed", workflow_name="headed")
    assert ["a"] == [one.instance_id for one in (await app.list_instances(headers={"tenant": "acme"})).instances]
    assert 1 == await app.count(headers={"tenant": "acme"})


async def test_pages_of_a_search_by_headers_are_bound_to_it(app: Romancy) -> None:
    for number in range(3):
        await app.run(headed.options(instance_id=f"p{number}", headers={"tenant": "acme"}), number)
    first = await app.list_instances(headers={"tenant": "acme"}, limit=2)
    second = await app.list_instances(headers={"tenant": "acme"}, limit=2, page_token=first.next_page_token)
    assert ["p2", "p1", "p0"] == [one.instance_id for page in (first, second) for one in page.instances]
    with pytest.raises(QueryError, match="another query"):
        await app.list_instances(headers={"tenant": "bolt"}, page_token=first.next_page_token)


WRONG: list[tuple[Any, str]] = [
    ({"tenant": 5}, "header 'tenant': headers are texts"),
    ({"tenant": None}, "header 'tenant': say what the header holds"),
    ({"tenant": missing()}, "header 'tenant': say what the header holds"),
    ({"tenant": is_null()}, "header 'tenant': say what the header holds"),
    ({"tenant": one_of("a", None)}, "header 'tenant': say what the header holds"),
    ({"tenant": "\ud800"}, "header 'tenant': holds half of a surrogate pair"),
    ({"\ud800": "x"}, "name of a header: holds half of a surrogate pair"),
    ({5: "x"}, "a name must be a string, not int"),
    ({"traceparent": TRACE}, "headers of traces are not searched"),
    (["tenant"], "must map names to values, not list"),
    ({f"h{number}": "x" for number in range(65)}, "65 conditions in one query"),
]


@pytest.mark.parametrize(("headers", "message"), WRONG)
async def test_what_cannot_be_asked_of_headers_is_refused(app: Romancy, headers: Any, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        await app.find_instances({}, headers=headers)


async def test_all_that_acts_on_many_takes_headers(app: Romancy) -> None:
    for name, tenant in (("w1", "acme"), ("w2", "acme"), ("w3", "bolt")):
        await app.start(headed_rounds.options(instance_id=name, headers={"tenant": tenant}), 0)
        await status_is(app, name, Status.WAITING)
    for name, tenant in (("f1", "acme"), ("f2", "bolt")):
        with pytest.raises(WorkflowFailedError):
            await app.run(headed_failing.options(instance_id=name, headers={"tenant": tenant}), 1)
    acme: dict[str, Any] = {"tenant": "acme"}

    assert ["w3"] == await app.cancel_many(headers={"tenant": "bolt"})
    assert ["w1", "w2"] == sorted(await app.terminate_many(headers=acme, dry_run=True))
    assert ["f1"] == await app.retry_many(headers=acme, dry_run=True)
    assert [] == await app.resume_many(headers=acme)
    await status_is(app, "w3", Status.CANCELLED)
    assert ["w1", "w2"] == sorted(await app.terminate_many(headers=acme))
    assert ["f2", "w3"] == sorted(await app.purge_many(headers={"tenant": "bolt"}))
    assert ["f1", "w1", "w2"] == await found(app, {})


async def test_headers_outlive_runs_that_continue_as_new(app: Romancy) -> None:
    await app.start(headed_rounds.options(instance_id="r", headers=ACME), 3)
    await status_is(app, "r", Status.WAITING)

    assert ["r"] == await found(app, {"tenant": "acme"}, {"left": 0})
    assert ACME == await headers_now(app, "r")
    (one,) = (await app.list_instances(with_headers=True)).instances
    assert ACME == one.headers
    await app.signal("r", "go on")
    assert ACME == await app.handle("r").result()


async def test_headers_outlive_a_retry(app: Romancy) -> None:
    with pytest.raises(WorkflowFailedError):
        await app.run(headed_failing.options(instance_id="f", headers=ACME), 1)
    await app.retry("f")
    with pytest.raises(WorkflowFailedError):
        await app.handle("f").result()

    assert ["f"] == await found(app, {"tenant": "acme"})
    assert ACME == await headers_now(app, "f")


async def test_children_are_found_by_their_own_headers(app: Romancy) -> None:
    await app.run(headed_parent.options(instance_id="parent", headers=ACME))

    assert ["child"] == await found(app, {"tenant": "of the child"})
    assert ["parent"] == await found(app, {"tenant": "acme"})
    assert {"tenant": "of the child"} == await headers_now(app, "child")


async def test_a_delayed_start_without_a_worker_is_found(open_app: Open) -> None:
    outside = await open_app(worker=False)
    await outside.start(headed.options(instance_id="later", headers=ACME, delay=3600), 1)

    assert ["later"] == await found(outside, {"tenant": "acme"}, status="pending")
    assert ACME == await headers_now(outside, "later")


async def test_headers_leave_an_input_searchable_and_are_found_beside_one_that_is_not(app: Romancy) -> None:
    """Headers do not count towards the size of an input. An input beyond it still matches no filter."""
    many = {f"h{number}": "," * 500 for number in range(30)}
    near = "x" * 500
    await app.run(headed.options(instance_id="near", headers=many), 1, near)
    await app.run(headed.options(instance_id="large", headers={"tenant": "acme"}), 2, ["x"] * MAX_PROJECTION_BYTES)

    assert ["near"] == await found(app, {"h7": "," * 500}, {"text": near})
    assert ["large"] == await found(app, {"tenant": "acme"})
    for where in ({"number": 2}, {"nothing": missing()}, {"nothing": None}, {"nothing": one_of("x", None)}):
        assert "large" not in await found(app, {}, where), where
        assert [] == await found(app, {"tenant": "acme"}, where), where


async def test_sealed_headers_are_neither_searched_nor_in_the_clear(open_app: Open) -> None:
    sealing = await open_app(codecs=Codecs(Masking()))
    await sealing.run(headed.options(instance_id="sealed", headers=ACME), 7)
    plain = await open_app(worker=False)

    assert [] == await found(sealing, {"tenant": "acme"}) == await found(sealing, {"tenant": ne("x")})
    assert ACME == await headers_now(sealing, "sealed")
    one = await plain.get_instance("sealed")
    (listed,) = (await plain.list_instances(with_headers=True)).instances
    for read in (one, listed):
        assert read is not None
        assert "acme" not in repr(read)
        with pytest.raises(CodecError, match="start of instance sealed was written with the codec 'mask:1'"):
            _ = read.headers
