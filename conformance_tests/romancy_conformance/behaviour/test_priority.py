"""A start with a higher priority is taken first, wherever it comes from, and keeps its priority."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    Limit,
    Romancy,
    TerminalError,
    UsageError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.core import PlaceAsked, WorkflowStarted
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy import Handle, Workflow

    Open = Callable[..., Awaitable[Romancy]]

pytestmark = pytest.mark.anyio

SOON = 30.0
PRIORITIES = (0, 3, -2, 9, 3, -9)
"""In the order of the starts."""
ORDER = ["3: 9", "1: 3", "4: 3", "0: 0", "2: -2", "5: -9"]
"""In which the workers take them: of one priority, the one that came first."""

begun: list[str] = []
"""The names of the instances whose body has begun, in this order."""


@pytest.fixture(autouse=True)
def _nobody_has_begun() -> None:
    begun.clear()


@workflow
async def named(ctx: WorkflowContext, name: str) -> str:
    begun.append(name)
    return name


@workflow
async def has_children(ctx: WorkflowContext) -> None:
    for number, priority in enumerate(PRIORITIES):
        await ctx.start(named.options(instance_id=f"child-{number}", priority=priority), f"{number}: {priority}")


broken: set[str] = set()


@activity
async def breaks(name: str) -> None:
    if name in broken:
        raise TerminalError("broken")


@workflow
async def fails_once(ctx: WorkflowContext, name: str) -> None:
    begun.append(name)
    await breaks(name)


@workflow
async def goes_on(ctx: WorkflowContext, left: int) -> int:
    if left:
        goes_on.recur(left - 1)
    return left


def names() -> list[str]:
    return [f"{number}: {priority}" for number, priority in enumerate(PRIORITIES)]


async def start_all(app: Romancy) -> list[Handle[Any]]:
    """Start one after the other, each with its priority."""
    return [
        await app.start(named.options(priority=priority), name)
        for name, priority in zip(names(), PRIORITIES, strict=True)
    ]


async def priority_of(handle: Handle[Any], app: Romancy) -> int:
    found = await app.get_instance(handle.instance_id)
    assert found is not None
    return found.priority


async def end_all(handles: Sequence[Handle[Any]]) -> None:
    for handle in handles:
        await handle.result(SOON)


async def test_one_worker_takes_the_highest_first(open_app: Open) -> None:
    client = await open_app(worker=False)
    handles = await start_all(client)

    await open_app(max_live=1)
    await end_all(handles)

    assert begun == ORDER


async def test_many_at_once(open_app: Open) -> None:
    client = await open_app(worker=False)
    calls = [named.options(priority=p).bind(name) for name, p in zip(names(), PRIORITIES, strict=True)]
    handles = await client.start_many(calls)

    await open_app(max_live=1)
    await end_all(handles)

    assert sorted(begun) == sorted(names())
    assert [int(name.partition(": ")[2]) for name in begun] == sorted(PRIORITIES, reverse=True)


async def test_a_worker_that_starts_them_itself_lets_the_others_go_first(open_app: Open) -> None:
    """A start with a priority goes into the line also where its starter could begin it at once."""
    app = await open_app()
    await app.start(named, "at once")
    handle = await app.start(named.options(priority=-1), "in line")

    await end_all([handle])

    assert await priority_of(handle, app) == -1
    assert begun == ["at once", "in line"]


async def test_children(open_app: Open, storage_url: str) -> None:
    client = await open_app(worker=False, workflows=[has_children, named])
    parent = await client.start(has_children)
    async with Romancy(storage_url, workflows=[has_children]):
        await parent.result(SOON)

    await open_app(max_live=1, workflows=[named])
    await end_all([client.handle(f"child-{number}") for number in range(len(PRIORITIES))])

    assert begun == ORDER


async def test_a_retry_keeps_it(open_app: Open, storage_url: str) -> None:
    broken.update(("low", "high"))
    client = await open_app(worker=False)
    low = await client.start(fails_once.options(priority=1), "low")
    high = await client.start(fails_once.options(priority=2), "high")
    async with Romancy(storage_url, workflows=[fails_once]):
        for handle in (low, high):
            with pytest.raises(WorkflowFailedError):
                await handle.result(SOON)
    broken.clear()
    begun.clear()

    for handle in (low, high):
        await client.retry(handle.instance_id)
    await open_app(max_live=1)
    await end_all([low, high])

    assert begun[0] == "high"
    assert [await priority_of(one, client) for one in (low, high)] == [1, 2]


async def test_the_next_run_keeps_it(app: Romancy) -> None:
    handle = await app.start(goes_on.options(priority=4), 3)
    await end_all([handle])

    assert await priority_of(handle, app) == 4
    runs = [event for event in await app.history(handle.instance_id) if isinstance(event, WorkflowStarted)]
    assert [(event.run, event.priority) for event in runs] == [(run, 4) for run in (1, 2, 3, 4)]


GO = EventType("go", str)
ONE = Limit("one at once", concurrency=1)
CALLS = Limit("one call at once", concurrency=1)


@activity
async def begins(name: str) -> None:
    """Note it here: a body may run up to its first wait before it hears that no place is free."""
    begun.append(name)


@workflow(limits=[ONE])
async def limited(ctx: WorkflowContext, name: str) -> str:
    await begins(name)
    await ctx.wait_event(GO)
    return name


@workflow
async def has_a_section(ctx: WorkflowContext, name: str) -> None:
    async with ctx.limit(CALLS):
        begun.append(name)
        await ctx.wait_event(GO)


async def stand_in_line(app: Romancy, wf: Workflow[[str], Any]) -> list[Handle[Any]]:
    """One is inside, and the others wait, in the order of their starts."""
    handles = [await app.start(wf, "first")]
    await until(lambda: begun == ["first"])
    for number, priority in enumerate(PRIORITIES):
        handle = await app.start(wf.options(priority=priority), f"{number}: {priority}")
        await until(partial(has_asked, handle))
        handles.append(handle)
    return handles


def so_many_have_begun(number: int) -> bool:
    return len(begun) == number


async def has_asked(handle: Handle[Any]) -> bool:
    return any(isinstance(event, PlaceAsked) for event in await handle.history())


@pytest.mark.parametrize("wf", [limited, has_a_section], ids=["whole", "section"])
async def test_the_highest_gets_the_next_free_place(app: Romancy, wf: Workflow[[str], Any]) -> None:
    first, *others = await stand_in_line(app, wf)
    by_name = {"first": first, **dict(zip(names(), others, strict=True))}

    for number in range(len(by_name)):
        await until(partial(so_many_have_begun, number + 1))
        await by_name[begun[-1]].signal(GO, "on")
        await by_name[begun[-1]].result(SOON)

    assert begun == ["first", *ORDER]


async def test_a_line_says_since_when_the_first_waits_and_how_many_are_before(app: Romancy) -> None:
    """The head start is no time in line."""
    first, *others = await stand_in_line(app, limited)
    found = await app.get_instance(first.instance_id)
    assert found is not None
    by_name = dict(zip(names(), others, strict=True))

    (lane,) = await app.limits()
    assert lane.waiting == len(others)
    assert lane.oldest is not None
    assert lane.oldest >= found.created_at

    for place, name in enumerate(ORDER):
        assert f": {place} before it in line" in " ".join(await app.explain(by_name[name].instance_id))


@pytest.mark.parametrize("wrong", [10, -10, 1.0, "1", True])
def test_what_is_no_priority_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(UsageError, match="the priority of the start of workflow named must be"):
        named.options(priority=wrong)


def test_it_can_be_changed_and_left() -> None:
    assert named.options(priority=3).options(priority=None).given.priority == 3
    assert named.options(priority=3).options(priority=0).given.priority == 0
    assert named.given.priority == 0


async def test_a_list_shows_it(app: Romancy) -> None:
    handle = await app.start(named.options(priority=-3), "shown")
    await end_all([handle])

    (found,) = (await app.list_instances(ids=[handle.instance_id])).instances

    assert found.priority == -3
