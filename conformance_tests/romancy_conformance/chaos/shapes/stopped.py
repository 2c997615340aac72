"""Instances that are stopped at any moment amid quick activities: the log has what was done."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from romancy import RetryPolicy, TerminalError, WorkflowContext, activity, workflow
from romancy_conformance.chaos.shapes.acts import FORMS
from romancy_conformance.chaos.shapes.honesty import TERMINATED
from romancy_conformance.chaos.stage import stage

if TYPE_CHECKING:
    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Stopped"]


@activity(retry=RetryPolicy.none())
async def shape_breaks(seconds: float) -> None:
    await asyncio.sleep(seconds)
    raise TerminalError("as the shape says")


@workflow(version="1")
async def shape_puts(ctx: WorkflowContext, count: int, naps: bool, form: str) -> int:  # noqa: FBT001 - stored input
    total = 0
    for number in range(count):
        if naps and number % 2:
            await ctx.sleep(0.01)
        total += await FORMS[form](number)
    return total


@workflow(version="1")
async def shape_in_time(ctx: WorkflowContext, count: int, naps: bool, form: str, seconds: float) -> int:  # noqa: FBT001
    try:
        async with asyncio.timeout(seconds):
            return await shape_puts.options(instance_id=f"{ctx.instance_id}.c")(count, naps, form)
    except TimeoutError:
        return -1


@workflow(version="1")
async def shape_beside(ctx: WorkflowContext, count: int, naps: bool, form: str, seconds: float) -> int:  # noqa: FBT001
    """Its body, a child and an activity that fails, in a task group."""
    async with asyncio.TaskGroup() as group:
        group.create_task(shape_breaks(seconds))
        group.create_task(shape_puts.fn(ctx, count, naps, form))
        group.create_task(_call_child(ctx, count, naps, form))
    return 0


async def _call_child(ctx: WorkflowContext, count: int, naps: bool, form: str) -> int:  # noqa: FBT001
    return await shape_puts.options(instance_id=f"{ctx.instance_id}.c")(count, naps, form)


@workflow(version="1")
async def shape_gathers(ctx: WorkflowContext, count: int, naps: bool, form: str, seconds: float) -> int:  # noqa: FBT001
    """What is gathered beside an activity that fails is stopped by the end of its run."""
    await asyncio.gather(shape_breaks(seconds), _call_child(ctx, count, naps, form))
    return 0


class Stopped:
    """One way to stop an instance."""

    sealed = False
    workflows: tuple[Any, ...] = (shape_puts, shape_in_time, shape_beside, shape_gathers)

    def __init__(self, how: str) -> None:
        self.name = how

    async def play(self, scene: Scene) -> None:
        """Start an instance, and stop it after some of its activities."""
        chance, path, app = scene.chance, scene.path, scene.app
        count, naps = chance.randint(stage.most // 4, stage.most), chance.random() < 0.4
        form = chance.choice([*FORMS, "coroutine"])
        seconds = chance.uniform(0.02, 0.6) * stage.most / 40
        of = {"limit": shape_in_time, "sibling": shape_beside, "gather": shape_gathers}.get(self.name)
        if of is not None:
            await scene.start(of.options(instance_id=path).bind(count, naps, form, seconds))
        elif self.name == "deadline":
            limited = shape_puts.options(instance_id=path, timeout=timedelta(seconds=seconds))
            await scene.start(limited.bind(count, naps, form))
        else:
            await scene.start(shape_puts.options(instance_id=path).bind(count, naps, form))
            await asyncio.sleep(seconds)  # the moment is what is tried
            await scene.stop(
                lambda: app.cancel(path) if self.name == "cancel" else app.terminate(path, reason=TERMINATED)
            )
        await scene.outcome(path)
