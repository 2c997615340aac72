"""One filter for every call: lists, counts, logs, checks and actions on many find the same instances by it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from romancy import QueryError, Romancy, UsageError, WorkflowContext, workflow
from romancy.query import InstanceFilter, gte
from romancy.status import Status
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

pytestmark = pytest.mark.anyio


@workflow
async def part(ctx: WorkflowContext, number: int) -> None:
    await ctx.wait_event("never")


@workflow
async def whole(ctx: WorkflowContext, parts: int) -> None:
    for number in range(parts):
        await ctx.start(part.options(instance_id=f"{ctx.instance_id}/{number}"), number)


@workflow
async def part_of_none(ctx: WorkflowContext, number: int) -> None:
    await ctx.wait_event("never")


@pytest.fixture
async def grown(storage_url: str) -> AsyncGenerator[Romancy]:
    """Two parents of three children each that wait, and one without a parent that does so."""
    async with Romancy(storage_url, workflows=[part, whole, part_of_none]) as app:
        for name in ("w", "v"):
            await app.run(whole.options(instance_id=name, headers={"tenant": name}), 3)
        await app.start(part_of_none.options(instance_id="alone", headers={"tenant": "w"}), 2)
        for one in ("w/0", "w/1", "w/2", "v/0", "v/1", "v/2", "alone"):
            await status_is(app, one, Status.WAITING)
        yield app


async def test_every_call_takes_a_filter(grown: Romancy) -> None:
    chosen = InstanceFilter({"number": gte(1)}, parent="w")

    expected = ["w/1", "w/2"]
    assert expected == sorted(one.instance_id for one in (await grown.list_instances(chosen)).instances)
    assert expected == sorted(one.instance_id for one in (await grown.find_instances(chosen)).instances)
    assert expected == sorted([one.instance_id async for one in grown.iter_instances(chosen, oldest_first=True)])
    assert expected == sorted({one.instance_id async for one in grown.entries(chosen)})
    assert (2, 2) == (await grown.count(chosen), (await grown.check(chosen)).checked)
    for act in (grown.cancel_many, grown.terminate_many):
        assert expected == sorted(await act(chosen, dry_run=True))
    for acts_on_none in (grown.retry_many, grown.resume_many, grown.purge_many):
        assert [] == await acts_on_none(chosen, dry_run=True)


async def test_keywords_beside_a_filter_restrict_it_further(grown: Romancy) -> None:
    chosen = InstanceFilter({"number": gte(1)}, status="waiting")

    assert 5 == await grown.count(chosen)
    assert 2 == await grown.count(chosen, parent="w")
    assert ["alone"] == await grown.cancel_many(chosen, headers={"tenant": "w"}, dry_run=True)
    with pytest.raises(QueryError, match="status: the InstanceFilter has it already"):
        await grown.count(chosen, status="failed")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"parent": "w"}, ["w/0", "w/1", "w/2"]),
        ({"ids": ["w/1", "v/2", "nobody"]}, ["v/2", "w/1"]),
        ({"ids": []}, []),
        ({"top_level": True}, ["alone"]),
        ({"workflow_name": "part", "parent": "v"}, ["v/0", "v/1", "v/2"]),
        ({"workflow_name": "par"}, []),
    ],
)
async def test_many_are_chosen_by_parent_and_whole_ids(grown: Romancy, given: dict[str, Any], found: list[str]) -> None:
    assert found == sorted(await grown.terminate_many(**given, dry_run=True))
    assert len(found) == (await grown.check(**given)).checked
    assert found == sorted(await grown.terminate_many(**given))

    left = {one.instance_id async for one in grown.iter_instances(status="waiting")}
    assert left == {"w/0", "w/1", "w/2", "v/0", "v/1", "v/2", "alone"} - set(found)
    assert found == sorted(await grown.purge_many(**given, status="cancelled"))


async def test_what_acts_refuses_parts_of_ids_and_other_statuses(grown: Romancy) -> None:
    """Also in a filter that lists take. Nothing is asked of the database."""
    acts: list[Callable[..., Awaitable[Any]]] = [
        grown.cancel_many, grown.terminate_many, grown.retry_many, grown.resume_many, grown.purge_many, grown.check,
    ]  # fmt: skip
    for call in acts:
        with pytest.raises(QueryError, match="instance_id: is a part of an id"):
            await call(instance_id="w/1")
        with pytest.raises(QueryError, match="instance_id: is a part of an id"):
            await call(InstanceFilter(instance_id=""))
        with pytest.raises(TypeError, match="unexpected keyword argument 'oldest_first'"):
            await call(oldest_first=True)
    stuck = InstanceFilter(status="stuck")
    for call, said in ((grown.retry_many, "failed or were cancelled"), (grown.purge_many, "have ended")):
        with pytest.raises(UsageError, match=f"{said}, not stuck ones"):
            await call(stuck)
    with pytest.raises(UsageError, match="stuck instances, not failed ones"):
        await grown.resume_many(replace(stuck, status="failed"))
    with pytest.raises(UsageError, match="only open instances are checked, not completed ones"):
        await grown.check(status="completed")


async def test_a_filter_keeps_what_an_iterator_gave(grown: Romancy) -> None:
    """Each page has the same filter, and so has a list that is asked again."""
    chosen = InstanceFilter(status=iter(["waiting"]), ids=["w/1", "w", "v"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - Iterable is enough

    for _ in range(2):
        assert ["w/1"] == [one.instance_id for one in (await grown.list_instances(chosen)).instances]
    waiting: Any = (status for status in ["waiting"])
    assert 7 == len([one async for one in grown.iter_instances(status=waiting)])


async def test_entries_of_some_instances_go_on_behind_cursors(grown: Romancy) -> None:
    cursors: dict[str, str] = {}
    async for entry in grown.entries(parent="w"):
        cursors[entry.instance_id] = entry.cursor
    assert {"w/0", "w/1", "w/2"} == cursors.keys()

    await grown.terminate_many(ids=["w/1", "v/1"])

    more = {one.instance_id async for one in grown.entries(InstanceFilter(parent="w"), after=cursors)}
    assert {"w/1"} == more


async def test_another_app_without_a_worker_takes_a_filter(storage_url: str, grown: Romancy) -> None:
    async with Romancy(storage_url, workflows=[part, whole], worker=False) as other:
        assert ["v/0"] == await other.cancel_many(InstanceFilter({"number": 0}, parent="v"))
    await status_is(grown, "v/0", Status.CANCELLED)
