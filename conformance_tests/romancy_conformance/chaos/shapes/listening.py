"""Bodies that handle messages of several kinds, wait for conditions, and recur, while operators stop some of them.

Each number that an instance is sent is handled once. The handlers of signals begin in the order in which these were
sent, also over the borders of kinds and runs. Events with a key, and a plain wait, stand beside them.
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
    from collections.abc import Awaitable, Callable

    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Listening"]

_SIGNALS: Final = tuple(EventType(f"shape-{name}", int) for name in ("plus", "minus", "quiet"))
_KEYED: Final = EventType("shape-keyed", int)
_BESIDE: Final = EventType("shape-beside", None)
_STOPPED: Final = 0.2
_CUT: Final = 0.5
"""The share of those that are stopped which is terminated."""


async def _listens(
    ctx: WorkflowContext,
    heard: list[int],
    done: list[int],
    *,
    met: bool,
    count: int,
    each: int,
) -> list[Any]:
    """Handle so many numbers, `each` of them in a run, and meet what a plain wait beside the handlers is for.

    Returns the numbers that were signals, as their handlers began, and all whose handlers have ended.
    """
    busy, taken = list[int](), len(done)
    beside = asyncio.create_task(ctx.wait_event(_BESIDE))

    async def acts(number: int, form: str) -> None:
        await ctx.until(lambda: not busy)
        if busy:
            raise RuntimeError(f"{number} was let in beside {busy}")
        busy.append(number)
        done.append(await FORMS[form].options(id=f"listens-{number}")(number))
        busy.clear()

    async def on_a_coroutine(number: int) -> None:
        heard.append(number)
        await acts(number, "coroutine")

    async def on_a_thread(number: int) -> None:
        heard.append(number)
        await acts(number, "thread")

    async def quietly(number: int) -> None:
        heard.append(number)
        with suppress(TimeoutError):
            await ctx.until(lambda: heard[-1] != number, timeout=0.02)
        done.append(number)

    plus, minus, quiet = _SIGNALS
    handlers = (plus.by(on_a_coroutine), minus.by(on_a_thread), quiet.by(quietly))
    async with ctx.handling(*handlers, _KEYED.by(partial(acts, form="coroutine"), key=ctx.instance_id)):
        await ctx.until(lambda: len(done) >= min(count, taken + each))
        await ctx.all_handled()
        met = met or beside.done()
        if len(done) < count:
            _LISTENS[ctx.workflow_name == _SEALED].recur(heard, done, met=met, count=count, each=each)
    if not met:
        await beside
    return [heard, sorted(done)]


_SEALED: Final = "shape_listens_sealed"
_LISTENS: Final = {
    False: workflow(version="1", name="shape_listens")(_listens),
    True: workflow(version="1", name=_SEALED)(_listens),
}


class Listening:
    """An instance is told numbers by one sender: by signals of three kinds, and by events with its key."""

    def __init__(self, *, sealed: bool) -> None:
        self.name = "listening-sealed" if sealed else "listening"
        self.sealed = sealed
        self.workflows: tuple[Any, ...] = (_LISTENS[sealed],)

    async def play(self, scene: Scene) -> None:
        """Send all numbers in their order, some twice, and compare with what was handled."""
        chance, path = scene.chance, scene.path
        numbers = list(range(1, chance.randint(4, 16)))
        kinds = {number: chance.choice((*_SIGNALS, _KEYED)) for number in numbers}
        stopped = chance.random() < _STOPPED
        each = len(numbers) if stopped else chance.randint(2, 5)  # an end undoes nothing of former runs
        listens = self.workflows[0].options(instance_id=path)
        await scene.start(listens.bind([], [], met=False, count=len(numbers), each=each))
        sending = self._send(scene, kinds, stopped=stopped)
        await asyncio.gather(sending, *([self._stop(scene, chance.uniform(0.0, 1.0))] if stopped else []))
        outcome = await scene.outcome(path)
        if isinstance(outcome, RomancyError) and stopped:
            return
        signals = [number for number, kind in kinds.items() if kind is not _KEYED]
        if outcome != [signals, numbers]:
            scene.find("wrong", f"it was told {numbers}, {signals} by signals, and ended with {outcome}"[:400])

    @staticmethod
    async def _send(scene: Scene, kinds: dict[int, EventType[int]], *, stopped: bool) -> None:
        """Tell it all numbers, and, at some moment, what the plain wait is for. It cannot end before that."""
        app, path, last = scene.app, scene.path, max(kinds)
        meets_at = scene.chance.choice([*kinds])
        for number, kind in kinds.items():
            send: Callable[[], Awaitable[object]] = partial(app.signal, path, kind, number, id=f"{path}-{number}")
            if kind is _KEYED:
                send = partial(app.send, kind, number, key=path, source="/shape", id=f"{path}-{number}")
            meet = partial(app.signal, path, _BESIDE, id=f"{path}-beside")
            for call in ([send] * scene.chance.choice((1, 1, 2))) + ([meet] if number == meets_at else []):
                try:
                    await scene.insist(call)
                except InstanceEndedError:
                    if number != last and not stopped:
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
