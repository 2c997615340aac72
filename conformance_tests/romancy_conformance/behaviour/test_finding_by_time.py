"""Finding instances by the time of their start: through the app, on the command line, and with wrong times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from romancy import QueryError, Romancy, WorkflowContext, workflow

if TYPE_CHECKING:
    from romancy import Instance

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


@pytest.mark.parametrize("name", ["started_after", "started_before"])
async def test_a_time_that_could_be_any_is_refused(app: Romancy, name: str) -> None:
    wrong: list[tuple[Any, str]] = [(datetime(2026, 3, 1), "no time zone"), ("2026-03-01", "not str"), (0, "not int")]  # noqa: DTZ001 - the mistake itself
    for value, complaint in wrong:
        with pytest.raises(QueryError, match=f"{name}: .*{complaint}"):
            await app.list_instances(**{name: value})
