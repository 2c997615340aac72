"""A workflow whose code changes in the middle of its run, by a rolling deploy with `ctx.patched`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from romancy import RomancyError, UsageError, WorkflowContext, WorkflowStuckError, workflow
from romancy_conformance.chaos.shapes.acts import DO, put, read_acts
from romancy_conformance.chaos.stage import stage

if TYPE_CHECKING:
    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["OLD_CODE", "Changed"]

_NEW = 1000
"""The numbers from here on are those of the new code."""


async def _before(ctx: WorkflowContext, count: int) -> list[int]:
    done: list[int] = []
    for number in range(count):
        done.append(await put(number))
        await ctx.sleep(0.1)
    return done


async def _after(ctx: WorkflowContext, count: int) -> list[int]:
    done: list[int] = []
    for number in range(count):
        if ctx.patched(f"more-{number}"):
            done.append(await put(_NEW + number))
        done.append(await put(number))
        await ctx.sleep(0.1)
    return done


_OLD = workflow(version="1", name="shape_changed")(_before)
OLD_CODE: dict[Any, Any] = {}
"""What a worker of before the deploy runs in place of the workflows of today."""


class Changed:
    """An instance that may begin with the old code and goes on with the new one."""

    name = "changed"
    sealed = False
    workflows: tuple[Any, ...] = (workflow(version="2", name="shape_changed")(_after),)

    async def play(self, scene: Scene) -> None:
        """Play one instance: each step of the old code is there, those of the new one once the code is new."""
        count = scene.chance.randint(5, stage.most * 3 // 2)
        await scene.start(self.workflows[0].options(instance_id=scene.path).bind(count))
        outcome = await scene.outcome(scene.path)
        while isinstance(outcome, WorkflowStuckError):  # until a worker with the new code comes
            await asyncio.sleep(0.5)
            if scene.chance.random() < 0.5:  # an operator tries whether the code is there by now
                with suppress(UsageError):  # it is not stuck any more
                    await scene.insist(partial(scene.app.resume, scene.path))
            outcome = await scene.outcome(scene.path)
        if isinstance(outcome, RomancyError):
            scene.find("wrong", f"it ended with {outcome}"[:300])
            return
        numbers: list[int] = outcome
        if [number for number in numbers if number < _NEW] != list(range(count)):
            scene.find("wrong", f"it returned {numbers}")
        did = {act.number for act in read_acts(scene.folder)[0] if act.instance == scene.path and act.what == DO}
        if did != set(numbers):
            scene.find("wrong", f"it did {sorted(did)}, and returned {numbers}"[:300])


OLD_CODE[Changed.workflows[0]] = _OLD
