"""Bodies that handle messages of three kinds, wait for conditions, and recur, while operators stop some of them.

Each number that an instance is sent is handled once. Handlers begin in the order in which the numbers were sent, also
over the borders of kinds and runs, and what they did is in the result.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from romancy import EventType, InstanceEndedError, RomancyError, WorkflowContext, workflow
from romancy_conformance.chaos.shapes.acts import FORMS
from romancy_conformance.chaos.shapes.honesty import TERMINATED

if TYPE_CHECKING:
    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Listening"]

_KINDS: Final = tuple(EventType(f"shape-{name}", int) for name in ("plus", "minus", "quiet"))
_STOPPED: Final = 0.2
_CUT: Final = 0.5
"""The share of those that are stopped which is terminated."""


@workflow(version="1")
async def shape_listens(ctx: WorkflowContext, heard: list[int], done: list[int], count: int, each: int) -> list[Any]:
    """Handle so many numbers, `each` of them in a run. Returns them as they were begun, and what was done."""
    busy, before = list[int](), len(heard)

    async def acts(number: int, form: str) -> None:
        heard.append(number)
        await ctx.until(lambda: not busy)
        if busy:
            raise RuntimeError(f"{number} was let in beside {busy}")
        busy.append(number)
        done.append(await FORMS[form].options(id=f"listens-{number}")(number))
        busy.clear()

    async def quietly(number: int) -> None:
        heard.append(number)
        await ctx.until(lambda: number in done or heard[-1] != number, timeout=0.02)
        done.append(number)

    async def waits(number: int) -> None:
        with suppress(TimeoutError):
            await quietly(number)
        if number not in done:
            done.append(number)

    plus, minus, quiet = _KINDS
    handlers = (plus.by(partial(acts, form="coroutine")), minus.by(partial(acts, form="thread")), quiet.by(waits))
    async with ctx.handling(*handlers):
        await ctx.until(lambda: len(heard) >= min(count, before + each))
        await ctx.all_handled()
        if len(heard) < count:
            return shape_listens.recur(heard, done, count, each)
    return [heard, sorted(done)]


class Listening:
    """An instance is told numbers by one sender, in messages of three kinds."""

    name = "listening"
    sealed = False
    workflows: tuple[Any, ...] = (shape_listens,)

    async def play(self, scene: Scene) -> None:
        """Send all numbers in their order, some twice, and compare with what was handled."""
        chance, path = scene.chance, scene.path
        numbers = list(range(1, chance.randint(4, 16)))
        stopped = chance.random() < _STOPPED
        each = len(numbers) if stopped else chance.randint(2, 5)  # an end undoes nothing of former runs
        await scene.start(shape_listens.options(instance_id=path).bind([], [], len(numbers), each))
        sending = self._send(scene, numbers, stopped=stopped)
        await asyncio.gather(sending, *([self._stop(scene, chance.uniform(0.0, 1.0))] if stopped else []))
        outcome = await scene.outcome(path)
        if isinstance(outcome, RomancyError) and stopped:
            return
        if outcome != [numbers, numbers]:
            scene.find("wrong", f"it was told {numbers}, and ended with {outcome}"[:300])

    @staticmethod
    async def _send(scene: Scene, numbers: list[int], *, stopped: bool) -> None:
        for number in numbers:
            kind = scene.chance.choice(_KINDS)
            for _ in range(scene.chance.choice((1, 1, 2))):
                send = partial(scene.app.signal, scene.path, kind, number, id=f"{scene.path}-{number}")
                try:
                    await scene.insist(send)
                except InstanceEndedError:
                    if number != numbers[-1] and not stopped:
                        scene.find("wrong", f"it had ended before it was told {number}")
            await asyncio.sleep(scene.chance.choice((0.0, 0.0, 0.02, 0.06)))

    @staticmethod
    async def _stop(scene: Scene, after: float) -> None:
        await asyncio.sleep(after)  # the moment is what is tried
        terminates = scene.chance.random() < _CUT
        with suppress(RomancyError):
            if terminates:
                await scene.stop(partial(scene.app.terminate, scene.path, reason=TERMINATED))
            else:
                await scene.stop(partial(scene.app.cancel, scene.path))
