"""Calls that act on many without a condition: they act on everything only if they say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import Status, UsageError, WorkflowContext, workflow
from romancy.query import InstanceFilter
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from romancy import Romancy

pytestmark = pytest.mark.anyio

VERBS = ("cancel", "terminate", "retry", "resume", "pause", "unpause", "purge")
NOTHING: dict[str, Mapping[str, Any]] = {
    "nothing": {},
    "a name that is None": {"workflow_name": None},
    "no status": {"status": None, "top_level": False, "ids": None},
}


@workflow
async def spared(ctx: WorkflowContext) -> str:
    return (await ctx.wait_event("go", model=str)).data


@workflow
async def spared_done(ctx: WorkflowContext) -> int:
    return 1


async def some(app: Romancy) -> dict[str, Status]:
    """Instances on which each of the calls could act."""
    for name in ("waits", "held"):
        await app.start(spared.options(instance_id=name))
        await status_is(app, name, Status.WAITING)
    await app.pause("held")
    await status_is(app, "held", Status.PAUSED)
    await app.run(spared_done.options(instance_id="done"))
    return await statuses(app)


async def statuses(app: Romancy) -> dict[str, Status]:
    return {one.instance_id: one.status async for one in app.iter_instances()}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_call_without_a_condition_does_nothing_and_says_why(app: Romancy, verb: str) -> None:
    before = await some(app)
    act: Callable[..., Awaitable[list[str]]] = getattr(app, f"{verb}_many")
    for given in NOTHING.values():
        for dry_run in (True, False):
            with pytest.raises(UsageError, match=rf"^{verb}_many: no condition is given, .*everything=True"):
                await act(**given, dry_run=dry_run)
    nothing: tuple[Any, ...] = ({}, InstanceFilter())
    for where in nothing:
        with pytest.raises(UsageError, match=f"^{verb}_many: no condition"):
            await act(where)
    something: tuple[dict[str, Any], ...] = ({"workflow_name": "spared"}, {"ids": []}, {"status": "waiting"})
    for given in something:
        with pytest.raises(UsageError, match=f"^{verb}_many: everything=True and a condition exclude each other"):
            await act(everything=True, **given)

    assert before == await statuses(app)


async def test_everything_is_everything(app: Romancy) -> None:
    await some(app)

    assert await app.pause_many(everything=True, dry_run=True) == ["waits"]
    assert await app.unpause_many(everything=True) == ["held"]
    await status_is(app, "held", Status.WAITING)
    assert sorted(await app.terminate_many(everything=True)) == ["held", "waits"]
    assert sorted(await app.purge_many(InstanceFilter(), everything=True)) == ["done", "held", "waits"]
    assert await statuses(app) == {}
