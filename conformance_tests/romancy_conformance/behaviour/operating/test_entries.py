"""Reading logs from where one stopped: nothing is left out and nothing comes twice, whatever happens in between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    InstanceNotFoundError,
    LogEntry,
    QueryError,
    Romancy,
    Status,
    UsageError,
    WorkflowContext,
    activity,
    workflow,
)
from romancy.core import WorkflowContinued
from romancy.storage.backends import create_store
from romancy.storage.records import PruneRequest
from romancy_conformance.behaviour.cast import adds_up, adds_up_abreast, waits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


@activity
async def step(number: int) -> int:
    return number


@workflow
async def labelled(ctx: WorkflowContext, count: int, label: str) -> int:
    return sum([await step(number) for number in range(count)])


@workflow
async def in_rounds(ctx: WorkflowContext, left: int) -> str:
    await step(left)
    if left:
        in_rounds.recur(left - 1)
    return "done"


@activity
async def passes_on(text: str) -> str:
    return text


@workflow
async def in_bulk(ctx: WorkflowContext, count: int) -> int:
    text = "x" * 1_900_000
    for _ in range(count):
        text = await passes_on(text)
    return len(text)


async def all_of(entries: AsyncIterator[LogEntry]) -> list[LogEntry]:
    """Return everything an iterator yields."""
    return [entry async for entry in entries]


def names(entries: list[LogEntry]) -> list[str]:
    """Return the kinds of the entries' events."""
    return [type(entry.event).__name__ for entry in entries]


async def test_entries_are_the_history_with_a_cursor_each(app: Romancy) -> None:
    handle = await app.start(adds_up_abreast, 5)
    await handle.result(timeout=60)

    entries = await all_of(handle.entries())

    assert [entry.event for entry in entries] == await handle.history()
    assert {(entry.instance_id, entry.workflow_name) for entry in entries} == {(handle.instance_id, "adds_up_abreast")}
    assert len({entry.cursor for entry in entries}) == len(entries)
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)


async def test_whoever_goes_on_behind_any_cursor_misses_nothing(app: Romancy) -> None:
    """Cursors in the middle of a commit, at its end, and at the end of the log."""
    handle = await app.start(adds_up_abreast, 4)
    await handle.result(timeout=60)
    entries = await all_of(handle.entries())

    for number, entry in enumerate(entries):
        assert await all_of(handle.entries(after=entry.cursor)) == entries[number + 1 :]


async def test_following_until_the_end(app: Romancy) -> None:
    handle = await app.start(waits)
    seen: list[LogEntry] = []

    async def follow() -> None:
        seen.extend([entry async for entry in handle.entries(follow=True)])

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(follow())
        while await handle.status() is not Status.WAITING:  # noqa: ASYNC110 - asked of the database
            await asyncio.sleep(0.01)
        await handle.signal("go")

    assert [entry.event for entry in seen] == await handle.history()
    assert names(seen)[-1] == "WorkflowCompleted"


async def test_following_from_the_end_of_what_has_ended(app: Romancy) -> None:
    handle = await app.start(adds_up, 2)
    await handle.result(timeout=60)
    last = (await all_of(handle.entries()))[-1]

    async with asyncio.timeout(60):
        assert await all_of(handle.entries(after=last.cursor, follow=True)) == []


async def test_following_a_long_log_while_it_is_written(app: Romancy, open_app: Open) -> None:
    """Another process than the writer reads in pieces; each reader continues where the former stopped."""
    reader = await open_app(worker=False)
    handle = await app.start(adds_up, 120)
    seen: list[LogEntry] = []
    cursor: str | None = None
    async with asyncio.timeout(60):
        while not seen or names(seen)[-1] != "WorkflowCompleted":
            async for entry in reader.entries_of(handle.instance_id, after=cursor):
                seen.append(entry)
                cursor = entry.cursor
                if len(seen) % 7 == 0:
                    break
            await asyncio.sleep(0.001)

    assert [entry.event for entry in seen] == await handle.history()


async def test_large_commits_one_behind_another(app: Romancy) -> None:
    """A page of rows ends behind some megabytes. A result and the next argument in one commit fill most of it."""
    handle = await app.start(in_bulk, 4)
    await handle.result(timeout=60)

    async with asyncio.timeout(20):
        entries = await all_of(handle.entries())

    assert [entry.event for entry in entries] == await handle.history()


async def test_runs_follow_each_other(app: Romancy) -> None:
    handle = await app.start(in_rounds, 3)
    assert await handle.result(timeout=60) == "done"
    entries = await all_of(handle.entries())

    assert names(entries).count("WorkflowStarted") == 4
    for number in range(0, len(entries), 3):
        assert await all_of(handle.entries(after=entries[number].cursor)) == entries[number + 1 :]


async def test_a_gap_is_told_and_not_passed_over(app: Romancy, storage_url: str) -> None:
    """Rows of finished runs may be pruned: a cursor far behind them is refused, one right before the rest is not."""
    handle = await app.start(in_rounds, 3)
    await handle.result(timeout=60)
    entries = await all_of(handle.entries())
    last = max(number for number, entry in enumerate(entries) if isinstance(entry.event, WorkflowContinued))
    store = create_store(storage_url)
    await store.open()
    await store.services.upkeep.prune(PruneRequest(ended_before=0))
    await store.close()

    left = await all_of(handle.entries())
    assert 0 < len(left) < len(entries)
    assert left == entries[-len(left) :]
    with pytest.raises(UsageError, match="pruned"):
        await all_of(handle.entries(after=entries[0].cursor))
    with pytest.raises(UsageError, match="pruned"):
        await all_of(app.entries(after={handle.instance_id: entries[0].cursor}))
    assert await all_of(handle.entries(after=entries[last].cursor)) == entries[last + 1 :]


async def test_a_cursor_of_a_former_life_begins_anew(app: Romancy) -> None:
    """A purged id that is used again names another instance: no entry of its log counts as read."""
    named = adds_up.options(instance_id="again")
    await (await app.start(named, 3)).result(timeout=60)
    cursor = (await all_of(app.entries_of("again")))[-1].cursor
    assert await app.purge("again") == 1
    with pytest.raises(InstanceNotFoundError):
        await all_of(app.entries_of("again", after=cursor))

    handle = await app.start(named, 1)
    await handle.result(timeout=60)
    assert [entry.event for entry in await all_of(handle.entries(after=cursor))] == await handle.history()


async def test_passes_over_all_instances(app: Romancy) -> None:
    """A reader that keeps one cursor for each instance reads every log once in several passes."""
    cursors: dict[str, str] = {}
    seen: dict[str, list[Any]] = {}

    async def one_pass() -> int:
        count = 0
        async for entry in app.entries(workflow_name="", after=dict(cursors)):
            seen.setdefault(entry.instance_id, []).append(entry.event)
            cursors[entry.instance_id] = entry.cursor
            count += 1
        return count

    waiting = await app.start(waits)
    handles = await app.start_many([adds_up.bind(number) for number in range(5)])
    await one_pass()
    for handle in handles:
        await handle.result(timeout=60)
    await one_pass()
    await waiting.signal("go")
    await waiting.result(timeout=60)
    await one_pass()

    assert await one_pass() == 0
    assert seen == {handle.instance_id: await handle.history() for handle in [waiting, *handles]}


async def test_passes_over_the_instances_that_fit(app: Romancy) -> None:
    for label in ("a", "b"):
        await app.run(labelled, 2, label)
    await app.run(adds_up, 2)

    entries = await all_of(app.entries({"label": "b"}, workflow_name="label", status="completed"))

    assert {entry.workflow_name for entry in entries} == {"labelled"}
    assert names(entries).count("ActivityCompleted") == 2


@pytest.mark.parametrize("cursor", ["", "x", "1-2", "1-2-3-4", "g-1-", "1-one-", "1--"])
async def test_a_malformed_cursor_is_refused(app: Romancy, cursor: str) -> None:
    with pytest.raises(QueryError, match="cursor"):
        await all_of(app.entries_of("any", after=cursor))
    with pytest.raises(QueryError, match="cursor"):
        await all_of(app.entries(after={"any": cursor}))


@pytest.mark.parametrize("cursors", ["1-2-", 5, [("any", "1-2-")]], ids=["cursor", "number", "pairs"])
async def test_cursors_of_no_instances_are_refused(app: Romancy, cursors: Any) -> None:
    with pytest.raises(QueryError, match=r"after: a mapping .*, not (str|int|list)"):
        await all_of(app.entries(after=cursors))


async def test_an_app_that_is_not_open(storage_url: str) -> None:
    app = Romancy(storage_url, workflows=[adds_up])
    with pytest.raises(UsageError, match="not open"):
        await all_of(app.entries_of("any"))
