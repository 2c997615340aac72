"""Lists by parent and by ids, in both orders, and counts: through the app, with children, codecs and retries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from romancy import Counts, QueryError, Romancy, WorkflowContext, WorkflowFailedError, ZlibCodec, workflow
from romancy.status import Status
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio


@workflow
async def leaf(ctx: WorkflowContext, number: int) -> int:
    if number == 1:
        await ctx.wait_event("never")
    return number


@workflow
async def trunk(ctx: WorkflowContext, count: int) -> None:
    """Start children, and wait for none."""
    for number in range(count):
        await ctx.start(leaf.options(instance_id=f"{ctx.instance_id}/{number}"), number)


@workflow
async def withers(ctx: WorkflowContext) -> None:
    await leaf.options(instance_id=f"{ctx.instance_id}/0")(0)
    raise ValueError("no")


@pytest.fixture(params=[False, True], ids=["plain", "with a codec"])
async def grown(storage_url: str, request: pytest.FixtureRequest) -> AsyncGenerator[Romancy]:
    """An app with two parents of three children each."""
    codecs = [ZlibCodec(threshold=0)] if request.param else []
    async with Romancy(storage_url, workflows=[leaf, trunk, withers], codecs=codecs) as app:
        for name in ("t", "T"):
            await app.run(trunk.options(instance_id=name), 3)
            for number in (0, 2):
                await app.handle(f"{name}/{number}").result()
            await status_is(app, f"{name}/1", Status.WAITING)
        yield app


async def found(app: Romancy, **asked: Any) -> list[str]:
    """Return the ids of a list, which an iteration and pages of one give too."""
    page = await app.list_instances(**asked)
    ids = [one.instance_id for one in page.instances]
    assert ids == [one.instance_id async for one in app.iter_instances(**asked)]
    singly: list[str] = []
    token: str | None = None
    while True:
        single = await app.find_instances({}, **asked, limit=1, page_token=token)
        singly += [one.instance_id for one in single.instances]
        token = single.next_page_token
        if token is None:
            break
    assert ids == singly
    unordered = {name: value for name, value in asked.items() if name != "oldest_first"}
    assert len(ids) == await app.count(**unordered)
    return ids


async def test_children_are_listed_by_the_whole_id_of_their_parent(grown: Romancy) -> None:
    assert ["t/0", "t/1", "t/2"] == sorted(await found(grown, parent="t"))
    assert ["T/1"] == await found(grown, parent="T", status="waiting")
    assert [] == await found(grown, parent="t/")
    assert {"t"} == {one.parent_id async for one in grown.iter_instances({"number": 2}, parent="t")}
    results = await grown.list_instances(parent="t", status="completed", with_results=True)
    assert [0, 2] == sorted(one.result for one in results.instances)


async def test_instances_without_a_parent_are_listed(grown: Romancy) -> None:
    assert ["T", "t"] == await found(grown, top_level=True)
    assert ["t", "T"] == await found(grown, top_level=True, oldest_first=True)
    assert [] == await found(grown, top_level=True, workflow_name="leaf")


async def test_instances_are_listed_by_their_whole_ids(grown: Romancy) -> None:
    assert ["T", "t"] == await found(grown, ids=["t", "T", "t", "none"])
    assert ["t", "T/1"] == await found(grown, ids={"T/1", "t"}, oldest_first=True)
    assert ["T/1"] == await found(grown, ids=["T/1", "t", "t/1"], parent="T")
    assert [] == await found(grown, ids=[])


async def test_the_oldest_come_first(grown: Romancy) -> None:
    every = await found(grown, oldest_first=True)

    assert every == (await found(grown))[::-1]
    middle = (await grown.get_instance(every[4])) or pytest.fail("it is gone")
    assert every[4:] == await found(grown, oldest_first=True, started_after=middle.created_at)
    assert every[:4] == await found(grown, oldest_first=True, started_before=middle.created_at)
    ended = await found(grown, oldest_first=True, ended_after=middle.created_at)
    assert ended == (await found(grown, ended_after=middle.created_at))[::-1]


async def test_a_count_is_a_number_with_parts(grown: Romancy) -> None:
    counts = await grown.count()

    assert (8, 8, "8") == (counts, int(counts), str(counts))
    assert {Status.WAITING: 2, Status.COMPLETED: 6} == counts.by_status
    assert {"leaf": 6, "trunk": 2} == counts.by_workflow
    assert {
        ("leaf", Status.COMPLETED): 4, ("leaf", Status.WAITING): 2, ("trunk", Status.COMPLETED): 2,
    } == counts.by_workflow_and_status  # fmt: skip
    assert 3 == await grown.count({"number": 2}, status="completed") + await grown.count({"number": 1}, parent="t")
    assert 6 == await grown.count(workflow_name="EA")  # a part of the name, as in lists
    nothing = await grown.count(workflow_name="nothing")
    assert (0, {}, {}) == (nothing, nothing.by_status, nothing.by_workflow)
    assert Counts() == nothing


async def test_a_retry_keeps_the_parent(grown: Romancy) -> None:
    with pytest.raises(WorkflowFailedError):
        await grown.run(withers.options(instance_id="w"))
    assert ["w/0"] == await found(grown, parent="w")
    await grown.retry("w")
    with pytest.raises(WorkflowFailedError):
        await grown.handle("w").result()

    assert ["w/0"] == await found(grown, parent="w")
    assert {Status.FAILED: 1} == (await grown.count(ids=["w"])).by_status


async def test_another_app_without_a_worker_finds_and_counts(storage_url: str, grown: Romancy) -> None:
    async with Romancy(storage_url, workflows=[leaf, trunk], worker=False) as other:
        assert 3 == await other.count(parent="t")
        assert ["t", "T"] == await found(other, top_level=True, oldest_first=True)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"parent": ""}, "parent: is empty"),
        ({"parent": "t", "top_level": True}, "give parent or top_level, not both"),
        ({"top_level": "yes"}, "top_level: must be True or False, not str"),
        ({"ids": "t"}, "ids: must be a list of ids, not str"),
        ({"ids": [f"i-{number}" for number in range(1001)]}, "ids: 1001 ids; give at most 1000 in a call"),
        ({"ids": ["t", ""]}, "ids: is empty"),
    ],
)
async def test_a_wrong_filter_is_refused_by_name(app: Romancy, asked: dict[str, Any], said: str) -> None:
    for call in (app.list_instances, app.count):
        with pytest.raises(QueryError, match=said):
            await call(**asked)
    with pytest.raises(QueryError, match="oldest_first: must be True or False"):
        await app.list_instances(oldest_first=cast("Any", "yes"))


async def test_a_token_of_the_other_direction_is_refused(grown: Romancy) -> None:
    page = await grown.list_instances(limit=1)
    with pytest.raises(QueryError, match="page_token: belongs to another query; pass the same filters and order"):
        await grown.list_instances(oldest_first=True, page_token=page.next_page_token)
