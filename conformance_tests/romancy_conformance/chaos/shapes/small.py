"""Small instances, many of which are started at once: they are claimed, handed over and relayed in batches."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from romancy import RomancyError, UsageError, WorkflowContext, workflow
from romancy_conformance.chaos.shapes.acts import FORMS

if TYPE_CHECKING:
    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Small"]

_MOST: Final = 24
_TRIED: Final = 0.1


@workflow(version="1")
async def shape_small(ctx: WorkflowContext, count: int, form: str, nap: float) -> int:
    total = 0
    for number in range(count):
        if nap:
            await ctx.sleep(nap)
        total += await FORMS[form](number)
    return total


class Small:
    """A batch of instances, each with an activity or two, all of which return. An operator tries to resume some."""

    name = "small"
    sealed = False
    workflows: tuple[Any, ...] = (shape_small,)

    async def play(self, scene: Scene) -> None:
        """Start all at once, some with a delay, and compare what each returns."""
        chance, calls, right = scene.chance, list[Any](), dict[str, int]()
        for number in range(chance.randint(_MOST // 2, _MOST)):
            path, count = f"{scene.path}.{number}", chance.choice((0, 1, 1, 2))
            nap = chance.choice((0.0, 0.0, 0.01, 0.3))
            delay = chance.choice((None, None, None, 0.05, 1.0))
            options = shape_small.options(instance_id=path, delay=delay)
            calls.append(options.bind(count, chance.choice([*FORMS]), nap))
            right[path] = sum(range(count))
        await scene.insist(partial(scene.app.start_many, calls))
        tried = [path for path in right if chance.random() < _TRIED]
        await asyncio.gather(
            *(self._ends(scene, path, total) for path, total in right.items()),
            *(self._is_not_resumed(scene, path, chance.uniform(0.0, 1.0)) for path in tried),
        )

    async def _is_not_resumed(self, scene: Scene, path: str, after: float) -> None:
        await asyncio.sleep(after)  # the moment is what is tried
        try:
            await scene.insist(partial(scene.app.resume, path))
        except UsageError:
            return
        scene.find("wrong", f"{path} was resumed, and was not stuck")

    async def _ends(self, scene: Scene, path: str, right: int) -> None:
        outcome = await scene.outcome(path)
        if isinstance(outcome, RomancyError) or outcome != right:
            scene.find("wrong", f"{path} ended with {outcome}; it had to return {right}")
