"""A child whose parent's life is gone belongs to nobody: it makes way for a child of a new life once it has ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, Status, WorkflowCancelledError, WorkflowContext, WorkflowFailedError, workflow
from romancy_conformance.behaviour.cast import returns, waits, waits_for_its_child
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

SOON = 20.0


@workflow
async def child(ctx: WorkflowContext, x: int) -> int:
    if x < 0:
        raise ValueError(f"refused {x}")
    grown: int = await returns.options(instance_id=f"{ctx.instance_id}-g")(x)
    return grown


@workflow
async def parent(ctx: WorkflowContext, x: int) -> int:
    return await child.options(instance_id=f"{ctx.instance_id}-c")(x)


@workflow
async def other_child(ctx: WorkflowContext, x: int) -> int:
    return -x


@workflow
async def parent_of_another(ctx: WorkflowContext, x: int) -> int:
    return await other_child.options(instance_id=f"{ctx.instance_id}-c")(x)


@workflow
async def leaves_it_open(ctx: WorkflowContext) -> str:
    """A completed parent leaves its children alone."""
    await ctx.start(waits.options(instance_id=f"{ctx.instance_id}-c"), "say")
    return "left"


@workflow
async def of_the_shop(ctx: WorkflowContext, x: int) -> int:
    """Its child's id is not derived from its own."""
    return await child.options(instance_id="till")(x)


@workflow
async def again_and_again(ctx: WorkflowContext, left: int) -> int:
    await returns.options(instance_id=f"{ctx.instance_id}-{left}")(left)
    return again_and_again.recur(left - 1) if left else 0


async def purges(app: Romancy, x: int) -> int:
    assert await app.purge("p") == 1
    return await app.run(parent.options(instance_id="p"), x)


async def replaces(app: Romancy, x: int) -> int:
    return await app.run(parent.options(instance_id="p"), x, if_exists="restart_ended")


async def replaces_by_signal(app: Romancy, x: int) -> int:
    call = parent.options(instance_id="p").bind(x)
    return await (await app.signal_with_start(call, "hello", if_exists="restart_ended")).result()


@pytest.mark.parametrize("again", [purges, replaces, replaces_by_signal], ids=lambda function: function.__name__)
async def test_a_parent_runs_again_under_its_id(app: Romancy, again: Callable[[Romancy, int], Awaitable[int]]) -> None:
    """Each life has its own child and its own grandchild."""
    assert await app.run(parent.options(instance_id="p"), 1) == 1
    for x in (2, 3):
        async with asyncio.timeout(SOON):
            assert await again(app, x) == x

        assert await app.handle("p-c", child).result() == x
        assert await app.handle("p-c-g", returns).result() == x


async def test_a_failed_child_makes_way_too(app: Romancy) -> None:
    with pytest.raises(WorkflowFailedError, match="refused -1"):
        await app.run(parent.options(instance_id="p"), -1)

    assert await app.run(parent.options(instance_id="p"), 2, if_exists="restart_failed") == 2


async def test_a_cancelled_child_makes_way_too(app: Romancy) -> None:
    handle = await app.start(waits_for_its_child.options(instance_id="p"), "p-c", "say")
    await status_is(app, "p-c", Status.WAITING)
    await app.cancel("p")
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=SOON)
    await status_is(app, "p-c", Status.CANCELLED)

    again = await app.start(waits_for_its_child.options(instance_id="p"), "p-c", "say", if_exists="restart_ended")
    await status_is(app, "p-c", Status.WAITING)
    await app.signal("p-c", "say", "here")
    assert await again.result(timeout=SOON) == "here"


async def test_a_child_that_is_open_stays_and_a_retry_replaces_it_once_it_has_ended(app: Romancy) -> None:
    assert await app.run(leaves_it_open.options(instance_id="p")) == "left"
    await status_is(app, "p-c", Status.WAITING)
    assert await app.purge("p") == 1

    again = await app.start(waits_for_its_child.options(instance_id="p"), "p-c", "say")
    with pytest.raises(WorkflowFailedError, match="exists already, the child of a former life of 'p', and is waiting"):
        await again.result(timeout=SOON)
    await app.signal("p-c", "say", "to the former life")
    assert await app.handle("p-c", waits).result(timeout=SOON) == "to the former life"
    await app.retry("p")
    await status_is(app, "p-c", Status.WAITING)
    await app.signal("p-c", "say", "to the new life")

    assert await again.result(timeout=SOON) == "to the new life"


async def test_a_child_of_another_workflow_stays(app: Romancy) -> None:
    assert await app.run(parent.options(instance_id="p"), 1) == 1
    await app.purge("p")

    with pytest.raises(WorkflowFailedError, match="an instance 'p-c' exists already, of child"):
        await app.run(parent_of_another.options(instance_id="p"), 1)
    assert await app.handle("p-c", child).result() == 1


async def test_a_child_of_a_parent_that_is_there_stays(app: Romancy) -> None:
    assert await app.run(of_the_shop.options(instance_id="one"), 1) == 1
    with pytest.raises(WorkflowFailedError, match="an instance 'till' exists already"):
        await app.run(of_the_shop.options(instance_id="two"), 2)
    assert await app.handle("till", child).result() == 1

    await app.purge("one")

    assert await app.run(of_the_shop.options(instance_id="three"), 3) == 3


async def test_what_nobody_started_as_a_child_stays(app: Romancy) -> None:
    assert await app.run(child.options(instance_id="till"), 1) == 1

    with pytest.raises(WorkflowFailedError, match="an instance 'till' exists already"):
        await app.run(of_the_shop.options(instance_id="one"), 2)


async def test_of_many_parents_at_once_one_replaces_the_child(app: Romancy) -> None:
    assert await app.run(of_the_shop.options(instance_id="gone"), 1) == 1
    await app.purge("gone")

    handles = [await app.start(of_the_shop.options(instance_id=f"p{number}"), number) for number in range(8)]
    async with asyncio.timeout(SOON):
        ends = await asyncio.gather(*(handle.result() for handle in handles), return_exceptions=True)

    (winner,) = [end for end in ends if isinstance(end, int)]
    assert await app.handle("till", child).result() == winner


async def ids(app: Romancy) -> set[str]:
    return {one.instance_id async for one in app.iter_instances()}


async def test_a_purge_takes_ended_children_along(app: Romancy) -> None:
    for name in ("p", "q"):
        assert await app.run(parent.options(instance_id=name), 1) == 1

    gone = await app.purge("p", children=True)

    assert (gone, gone.open) == (3, ())
    assert await ids(app) == {"q", "q-c", "q-c-g"}
    assert await app.purge("q") == 1
    assert await ids(app) == {"q-c", "q-c-g"}
    assert await app.purge("q-c", children=True) == 2


async def test_a_purge_says_which_children_are_open(app: Romancy) -> None:
    assert await app.run(leaves_it_open.options(instance_id="p")) == "left"
    await status_is(app, "p-c", Status.WAITING)

    gone = await app.purge("p", "nobody", children=True)

    assert (gone, gone.open) == (1, ("p-c",))
    assert await ids(app) == {"p-c"}
    assert await app.purge("p-c", children=True) == 0


async def test_a_purge_of_an_open_parent_removes_nothing(app: Romancy) -> None:
    @workflow
    async def waits(ctx: WorkflowContext) -> None:
        await parent.options(instance_id="p")(1)
        await ctx.wait_event("go")

    async with Romancy(app.url, workflows=[waits, parent, child, returns]) as other:
        await other.start(waits.options(instance_id="w"))
        await status_is(other, "w", Status.WAITING)
        await until(lambda: _has_ended(other, "p"))

        assert await app.purge("w", children=True) == 0
        assert await ids(app) == {"w", "p", "p-c", "p-c-g"}


async def _has_ended(app: Romancy, instance_id: str) -> bool:
    found = await app.get_instance(instance_id)
    return found is not None and found.status is Status.COMPLETED


async def test_a_purge_leaves_what_has_a_childs_id_and_is_anothers(app: Romancy) -> None:
    assert await app.run(of_the_shop.options(instance_id="one"), 1) == 1
    with pytest.raises(WorkflowFailedError, match="exists already"):
        await app.run(of_the_shop.options(instance_id="two"), 2)

    assert await app.purge("two", children=True) == 1
    assert await ids(app) == {"one", "till", "till-g"}


async def test_a_purge_takes_the_children_of_former_runs(app: Romancy) -> None:
    assert await app.run(again_and_again.options(instance_id="p"), 3) == 0
    assert len(await ids(app)) == 5

    assert await app.purge("p", children=True) == 5
    assert await ids(app) == set()


async def test_many_purges_with_their_children(app: Romancy, store: Store) -> None:
    for name in ("p", "q"):
        assert await app.run(parent.options(instance_id=name), 1) == 1
    assert await app.run(leaves_it_open.options(instance_id="o")) == "left"

    assert set(await app.purge_many(workflow_name="parent", children=True)) == {"p", "q"}
    assert await ids(app) == {"o", "o-c"}
    assert await app.run(parent.options(instance_id="p"), 1) == 1
    assert set(await app.purge_many(everything=True, children=True)) == {"p", "p-c", "p-c-g", "o"}
    assert await ids(app) == {"o-c"}
