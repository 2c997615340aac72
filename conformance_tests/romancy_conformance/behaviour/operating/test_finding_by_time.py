"""Finding instances by the times of their start and of their end: through the app, and with wrong times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    InstanceEndedError,
    QueryError,
    Romancy,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    workflow,
)
from romancy.rebuilding import rebuild
from romancy.serialization import Codecs
from romancy.status import TERMINAL_STATUSES
from romancy.storage.services import Service

if TYPE_CHECKING:
    from romancy import Instance
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

MOMENT = timedelta(microseconds=1)


@workflow
async def waits(ctx: WorkflowContext, number: int, item: str) -> None:
    await ctx.wait_event("never")


async def started(app: Romancy, count: int) -> list[Instance]:
    """Start so many, one after the other; return them, oldest first."""
    for number in range(count):
        await app.start(waits.options(instance_id=f"w-{number}"), number, "lamp")
    return (await app.list_instances()).instances[::-1]


def ids(instances: list[Instance]) -> list[str]:
    return [one.instance_id for one in instances]


async def test_instances_are_found_by_the_time_of_their_start(app: Romancy) -> None:
    """The first bound belongs to the range, the second does not."""
    rows = await started(app, 4)
    first, last = rows[1].created_at, rows[3].created_at

    both: dict[str, Any] = {"started_after": first, "started_before": last}
    elsewhere = first.astimezone(timezone(timedelta(hours=5, minutes=45)))

    assert ids([rows[2], rows[1]]) == ids((await app.list_instances(**both)).instances)
    assert ids([rows[2]]) == ids((await app.find_instances({"number": 2}, **both)).instances)
    assert ids([rows[2], rows[1]]) == [one.instance_id async for one in app.iter_instances(**both)]
    assert ids([rows[3], rows[2], rows[1]]) == ids((await app.list_instances(started_after=elsewhere)).instances)
    assert ids([rows[0]]) == ids((await app.list_instances(started_before=first)).instances)
    assert [] == (await app.list_instances(started_after=last + MOMENT)).instances
    assert [] == (await app.list_instances(started_after=last, started_before=first)).instances
    assert 4 == len((await app.list_instances(started_before=datetime.max.replace(tzinfo=UTC))).instances)


async def test_the_times_hold_on_every_page_and_may_change_between_them(app: Romancy) -> None:
    rows = await started(app, 5)
    first = await app.list_instances(started_before=rows[4].created_at, limit=2)

    second = await app.list_instances(
        started_after=rows[1].created_at, started_before=rows[4].created_at, limit=2, page_token=first.next_page_token
    )
    earlier = await app.list_instances(started_before=rows[1].created_at, page_token=first.next_page_token)

    assert ids([rows[3], rows[2]]) == ids(first.instances)
    assert (ids([rows[1]]), False) == (ids(second.instances), second.has_more)
    assert ids([rows[0]]) == ids(earlier.instances)


@workflow
async def ends(ctx: WorkflowContext, how: str) -> str:
    if how == "waits":
        await ctx.wait_event("never")
    if how == "fails":
        raise ValueError(how)
    return how


async def ended(app: Romancy) -> list[Instance]:
    """Let instances end in another order than that of their starts; return them by their ends, the first one first."""
    late, _, open_still = [await app.start(ends.options(instance_id=one), "waits") for one in ("late", "gone", "open")]
    with pytest.raises(WorkflowFailedError):
        await app.run(ends.options(instance_id="failed"), "fails")
    assert "returns" == await app.run(ends.options(instance_id="done"), "returns")
    await app.terminate("gone")
    await late.cancel()
    with pytest.raises(WorkflowCancelledError):
        await late.result()
    assert await open_still.status() not in TERMINAL_STATUSES
    rows = {one.instance_id: one for one in (await app.list_instances()).instances}
    return [rows[one] for one in ("failed", "done", "gone", "late")]


async def test_instances_are_found_by_the_time_of_their_end(app: Romancy) -> None:
    """The first bound belongs to the range, the second does not. Pages come by the start, as always."""
    rows = await ended(app)
    failed, done, gone, late = (one.updated_at for one in rows)
    elsewhere = done.astimezone(timezone(timedelta(hours=-3)))

    assert ["done", "failed", "gone", "late"] == ids((await app.list_instances(ended_after=failed)).instances)
    assert ["done", "gone"] == ids((await app.list_instances(ended_after=elsewhere, ended_before=late)).instances)
    assert ["failed"] == ids((await app.list_instances(ended_before=done)).instances)
    assert ["late"] == ids((await app.list_instances(ended_after=gone + MOMENT)).instances)
    assert ["late"] == ids((await app.find_instances({"how": "waits"}, ended_after=late)).instances)
    assert ["gone", "late"] == [one.instance_id async for one in app.iter_instances(ended_after=gone)]
    assert ["late"] == ids((await app.list_instances(ended_after=done, started_before=rows[2].created_at)).instances)
    assert [] == (await app.list_instances(ended_after=failed, status="waiting")).instances
    assert [] == (await app.list_instances(ended_after=late, ended_before=late)).instances
    assert 4 == len((await app.list_instances(ended_before=datetime.max.replace(tzinfo=UTC))).instances)


async def test_a_page_token_keeps_the_bounds_of_the_end(app: Romancy) -> None:
    rows = await ended(app)
    late = rows[3].updated_at
    first = await app.list_instances(ended_before=late, limit=1)

    assert (["done"], True) == (ids(first.instances), first.has_more)
    rest = await app.list_instances(ended_before=late, page_token=first.next_page_token)
    assert (["failed", "gone"], False) == (ids(rest.instances), rest.has_more)
    earlier = await app.list_instances(ended_before=rows[1].updated_at, page_token=first.next_page_token)
    assert ["failed"] == ids(earlier.instances)
    later = await app.list_instances(ended_after=rows[2].updated_at, page_token=first.next_page_token)
    assert ["gone", "late"] == ids(later.instances)


async def test_the_time_of_the_end_stays_after_it(app: Romancy, store: Store) -> None:
    """Signals, cancellations, purges of others and rebuilt rows do not move it. A retry ends again."""
    failed, done, gone, late = await ended(app)
    for one in (failed, done, gone, late):
        with pytest.raises(InstanceEndedError):
            await app.signal(one.instance_id, "never")
        assert not await app.cancel(one.instance_id)
    await app.send("nobody waits")
    await app.purge("done")
    if Service.REBUILDING in store.services.offered:
        await rebuild(store, app.workflows, Codecs())

    again = {one.instance_id: one.updated_at async for one in app.iter_instances(ended_after=failed.updated_at)}
    assert {one.instance_id: one.updated_at for one in (failed, gone, late)} == again
    await app.retry("failed")
    with pytest.raises(WorkflowFailedError):
        await app.handle("failed").result()
    assert ["failed"] == ids((await app.list_instances(ended_after=late.updated_at + MOMENT)).instances)


@pytest.mark.parametrize("name", ["started_after", "started_before", "ended_after", "ended_before"])
async def test_a_time_that_could_be_any_is_refused(app: Romancy, name: str) -> None:
    wrong: list[tuple[Any, str]] = [(datetime(2026, 3, 1), "no time zone"), ("2026-03-01", "not str"), (0, "not int")]  # noqa: DTZ001 - the mistake itself
    for value, complaint in wrong:
        with pytest.raises(QueryError, match=f"{name}: .*{complaint}"):
            await app.list_instances(**{name: value})
