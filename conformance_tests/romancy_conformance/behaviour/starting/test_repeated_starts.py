"""A start of an id that exists runs no line of the workflow's code."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    InstanceConflictError,
    Romancy,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.errors import StorageUnavailableError
from romancy.starting import submissions
from romancy.status import Status
from romancy.storage.any_store import taken_ids_of
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy.storage.protocol import Store

    Open = Callable[..., Awaitable[Romancy]]

pytestmark = pytest.mark.anyio

lines: Counter[str] = Counter()
"""How often each instance's code was run for the first time, as it says itself."""


@pytest.fixture(autouse=True)
def _no_lines() -> None:
    lines.clear()


@activity
async def work() -> str:
    return "done"


@workflow
async def says(ctx: WorkflowContext, number: int = 0) -> str:
    if not ctx.is_replaying:
        lines[ctx.instance_id] += 1
    return await work()


@workflow
async def says_and_waits(ctx: WorkflowContext) -> str:
    if not ctx.is_replaying:
        lines[ctx.instance_id] += 1
    return str((await ctx.wait_event("go")).data)


@workflow
async def says_and_fails(ctx: WorkflowContext) -> str:
    if not ctx.is_replaying:
        lines[ctx.instance_id] += 1
    raise ValueError("no")


async def test_an_ended_one_is_returned_and_runs_nothing(app: Romancy) -> None:
    for _ in range(3):
        assert "done" == await app.run(says.options(instance_id="one"))

    assert {"one": 1} == lines
    with pytest.raises(InstanceConflictError):
        await app.start(says.options(instance_id="one"), 7)
    with pytest.raises(InstanceConflictError):
        await app.start(says.options(instance_id="one"), if_exists="refuse")
    assert {"one": 1} == lines


async def test_an_open_one_is_returned_and_runs_nothing(app: Romancy, open_app: Open) -> None:
    """Whoever holds it: this worker, nobody, or another worker."""
    other = await open_app()
    handle = await app.start(says_and_waits.options(instance_id="one"))
    await status_is(app, "one", Status.WAITING)
    lines.clear()
    await app.start(says_and_waits.options(instance_id="one"))
    await other.start(says_and_waits.options(instance_id="one"))
    await asyncio.gather(*(one.start(says_and_waits.options(instance_id="one")) for one in (app, other)))

    assert {} == lines
    await handle.signal("go", 5)
    assert "5" == await handle.result(timeout=60)


async def test_many_run_only_those_that_are_new(app: Romancy) -> None:
    ids = [f"é-{number}" for number in range(30)]
    await app.start_many([says.options(instance_id=one).bind() for one in ids[::3]])

    handles = await app.start_many([says.options(instance_id=one).bind() for one in ids])

    assert ["done"] * 30 == [await handle.result(timeout=60) for handle in handles]
    assert dict.fromkeys(ids, 1) == lines


async def test_many_with_conflicts_name_them_all_and_run_the_others(app: Romancy) -> None:
    await app.run(says.options(instance_id="taken"), 1)

    with pytest.raises(InstanceConflictError) as caught:
        await app.start_many([says.options(instance_id=one).bind(2) for one in ("new", "taken")])

    assert (["taken"], ["new"]) == (list(caught.value.conflicts), list(caught.value.started))
    assert "done" == await app.handle("new").result(timeout=60)
    assert {"taken": 1, "new": 1} == lines


@pytest.mark.parametrize("how", ["restart_ended", "restart_failed"])
async def test_one_that_replaces_an_ended_one_runs_once_more(app: Romancy, how: Any) -> None:
    call = says_and_fails.options(instance_id="one")
    for _ in range(2):
        with pytest.raises(WorkflowFailedError):
            await (await app.start(call, if_exists=how)).result(timeout=60)

    assert {"one": 2} == lines


async def test_of_many_at_once_in_one_process_one_runs(app: Romancy) -> None:
    handles = await asyncio.gather(*(app.start(says.options(instance_id="one")) for _ in range(20)))

    assert {"done"} == {await handle.result(timeout=60) for handle in handles}
    assert {"one": 1} == lines


@pytest.mark.parametrize("times", [1, 3])
async def test_a_start_that_is_overtaken_while_it_asks_runs_nothing(
    app: Romancy, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """The database answers it before the other start is written, and it hears that after the other has ended."""
    answered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(store: Store, ids: Sequence[str]) -> set[str]:
        found = await taken_ids_of(store, ids)
        answered.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(submissions, "taken_ids_of", slow)
    overtaken = [asyncio.create_task(app.run(says.options(instance_id="one"))) for _ in range(times)]
    await answered.wait()
    monkeypatch.undo()
    assert "done" == await app.run(says.options(instance_id="one"))
    go_on.set()

    assert ["done"] * times == await asyncio.gather(*overtaken)
    assert {"one": 1} == lines


async def test_a_purged_id_is_new_again(app: Romancy) -> None:
    await app.run(says.options(instance_id="one"))
    assert await app.purge("one")

    assert "done" == await app.run(says.options(instance_id="one"))
    assert {"one": 2} == lines


async def test_only_chosen_ids_are_asked_for(app: Romancy, open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """One statement for all of them. A client runs no code, so it asks nothing."""
    asked: list[Sequence[str]] = []

    async def noted(store: Store, ids: Sequence[str]) -> set[str]:
        asked.append(list(ids))
        return await taken_ids_of(store, ids)

    monkeypatch.setattr(submissions, "taken_ids_of", noted)
    client = await open_app(worker=False)

    await app.run(says)
    await app.start_many([says.bind(), says.bind()])
    await client.start(says.options(instance_id="of a client"))
    await app.start(says.options(instance_id="later", delay=3600))
    assert [] == asked

    await app.start_many([says.options(instance_id="a").bind(), says.bind(), says.options(instance_id="b").bind()])
    assert [["a", "b"]] == asked


async def test_a_database_that_does_not_answer_leaves_the_start_to_be_written(
    app: Romancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start waits for the database as any other, and runs nothing before it is written."""
    await app.run(says.options(instance_id="one"))

    async def away(_store: Store, _ids: Sequence[str]) -> set[str]:
        raise StorageUnavailableError("away")

    monkeypatch.setattr(submissions, "taken_ids_of", away)

    assert "done" == await app.run(says.options(instance_id="one"))
    assert "done" == await app.run(says.options(instance_id="two"))
    assert {"one": 1, "two": 1} == lines
