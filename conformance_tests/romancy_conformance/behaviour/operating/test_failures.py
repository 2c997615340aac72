"""Failures by their causes: grouped in the commit of the end, counted from what is there, and silenced."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    QueryError,
    RetryPolicy,
    Romancy,
    Status,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.query import InstanceFilter
from romancy.testing import TestApp, crash_at_every_commit
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.failing import fail
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy import FailureGroup, Handle
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

BROKEN: set[str] = set()
CAUSES = ("card {number} of 'Ann {number}' was declined", "no route to 192.0.2.{number}:443")


class DeclinedError(Exception):
    """What a test raises."""


@activity(retry=RetryPolicy(max_attempts=1))
async def failures_charge(number: int, cause: int) -> str:
    if not BROKEN:
        return "charged"
    raise DeclinedError(CAUSES[cause].format(number=number))


@workflow
async def failures_order(ctx: WorkflowContext, number: int, cause: int = 0) -> str:
    return await failures_charge(number, cause)


@workflow
async def failures_own(ctx: WorkflowContext, number: int) -> None:
    raise DeclinedError(f"order {number} has no items")


@workflow
async def failures_parent(ctx: WorkflowContext, number: int) -> str:
    return await failures_order(number)


@pytest.fixture(autouse=True)
def broken() -> set[str]:
    BROKEN.add("charge")
    return BROKEN


async def failed(app: Romancy, *calls: object) -> list[str]:
    """The ids of instances that have failed."""
    started: list[Handle[Any]] = await app.start_many(list(calls))  # type: ignore[arg-type]
    ids = [handle.instance_id for handle in started]
    for one in ids:
        await fail(app, one)
    return ids


async def groups(app: Romancy) -> list[FailureGroup]:
    return (await app.failures()).groups


async def test_many_failures_with_two_causes_are_two_groups(app: Romancy) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    assert (await app.failures()).groups == []
    await failed(app, *(failures_order.options(instance_id=f"o-{n}").bind(n, n % 2) for n in range(40)))
    found = await app.failures()
    assert (found.looked_at, found.more) == (40, False)
    assert sorted(one.number for one in found.groups) == [20, 20]
    assert {one.text for one in found.groups} == {"card … of … was declined", "no route to …"}
    for one in found.groups:
        assert (one.workflow_name, one.activity) == ("failures_order", "failures_charge")
        assert one.error_type.endswith("DeclinedError")
        assert before < one.since <= one.last_seen
        assert one.first_release == one.last_release != ""
        page = await app.list_instances(InstanceFilter(error=one.group, status="failed"))
        assert one.last_instance in [each.instance_id for each in page.instances]
        assert len(page.instances) == 20


async def test_a_filter_finds_a_group_or_a_part_of_the_error(app: Romancy) -> None:
    await failed(
        app, failures_order.options(instance_id="a").bind(1, 0), failures_order.options(instance_id="b").bind(2, 1)
    )
    by_text = {one.text: one.group for one in await groups(app)}
    declined, no_route = by_text["card … of … was declined"], by_text["no route to …"]

    async def ids(error: str) -> list[str]:
        page = await app.list_instances(InstanceFilter(error=error))
        assert len(page.instances) == await app.count(error=error)
        return [one.instance_id for one in page.instances]

    assert await ids(declined) == ["a"]
    assert await ids(no_route) == ["b"]
    assert await ids("192.0.2.2") == ["b"]
    assert await ids("was declined") == ["a"]
    assert await ids("WAS DECLINED") == []  # the case counts
    assert await ids("f-000000000000") == []
    assert await ids("%") == []
    assert (await app.list_instances(error=declined, status="completed")).instances == []
    assert await app.retry_many(error="192.0.2.2", dry_run=True) == ["b"]
    BROKEN.clear()
    assert await app.retry_many(error=declined) == ["a"]
    assert await app.handle("a").result(timeout=30) == "charged"
    assert [one.group for one in await groups(app)] == [no_route]
    assert await app.purge_many(error=no_route, status="failed") == ["b"]
    assert await groups(app) == []


async def test_a_second_failure_is_grouped_again_and_an_id_begins_anew(app: Romancy) -> None:
    await failed(app, failures_order.options(instance_id="again").bind(1, 0))
    (first,) = await groups(app)
    await app.retry("again")
    await fail(app, "again")
    (second,) = await groups(app)
    assert (second.group, second.number) == (first.group, 1)
    assert second.since >= first.since
    BROKEN.clear()
    await app.start_many([failures_order.options(instance_id="again").bind(1, 0)], if_exists="restart_ended")
    await app.handle("again").result(timeout=30)
    assert await groups(app) == []


async def test_a_child_and_its_parent_are_each_in_a_group_of_their_workflow(app: Romancy) -> None:
    await failed(app, failures_parent.options(instance_id="p").bind(7))
    found = {one.workflow_name: one for one in await groups(app)}
    assert set(found) == {"failures_order", "failures_parent"}
    assert found["failures_order"].text == found["failures_parent"].text == "card … of … was declined"
    assert [one.workflow_name for one in (await app.failures("failures_parent")).groups] == ["failures_parent"]
    BROKEN.clear()
    await app.retry("p")
    assert await app.handle("p").result(timeout=30) == "charged"
    assert await groups(app) == []


async def test_a_workflow_that_fails_by_itself_names_no_activity(app: Romancy) -> None:
    await failed(app, failures_own.bind(3), failures_own.bind(4))
    (one,) = await groups(app)
    assert (one.activity, one.text, one.number) == ("", "order … has no items", 2)


async def test_what_ends_otherwise_is_in_no_group(app: Romancy, open_app: Open) -> None:
    client = await open_app(worker=False)
    await client.start(failures_order.options(instance_id="never", delay=3600), 1)
    await client.cancel("never")
    await status_is(app, "never", Status.CANCELLED)
    assert (await app.failures()).looked_at == 0


async def test_a_group_is_silenced_until_it_is_not(app: Romancy) -> None:
    await failed(app, failures_own.bind(1))
    (one,) = await groups(app)
    await app.silence_failures(one.group, "known: #42")
    await app.silence_failures(one.group, "known: #43")
    assert await groups(app) == []
    (shown,) = (await app.failures(silenced=True)).groups
    assert (shown.group, shown.silenced, shown.reason) == (one.group, True, "known: #43")
    await failed(app, failures_own.bind(2))
    assert await groups(app) == []
    await app.unsilence_failures(one.group)
    await app.unsilence_failures(one.group)
    assert [each.number for each in await groups(app)] == [2]
    for wrong in ("", "f-1", "F-000000000000", "x"):
        with pytest.raises(QueryError, match="no group of failures"):
            await app.silence_failures(wrong)


async def test_the_group_survives_a_sweep(app: Romancy, open_app: Open) -> None:
    await failed(app, failures_own.bind(1))
    other = await open_app()
    store = other._access.opened()  # pyright: ignore[reportPrivateUsage] - a sweep is asked for by the store alone
    for _ in range(3):
        await store.services.router.dispatch()
    assert len(await groups(app)) == 1


async def test_values_that_a_codec_hides_are_neither_shown_nor_grouped_by(open_app: Open) -> None:
    app = await open_app(codecs=[Masking()])
    await failed(app, *(failures_order.options(instance_id=f"c-{n}").bind(n, n % 2) for n in range(4)))
    (one,) = await groups(app)
    assert (one.number, one.text, one.activity) == (4, "", "failures_charge")
    assert one.error_type.endswith("DeclinedError")


async def test_a_crash_at_any_commit_leaves_one_failure() -> None:
    counted: list[int] = []

    async def look(app: TestApp, handle: Handle[object]) -> None:
        with pytest.raises(WorkflowFailedError):
            await handle.result()
        counted.extend(one.number for one in (await app.failures()).groups)

    await crash_at_every_commit(failures_order.bind(1), drive=look)
    assert len(counted) > 3
    assert set(counted) == {1}
