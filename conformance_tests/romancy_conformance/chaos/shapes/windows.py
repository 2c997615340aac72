"""Windows of calls, from several callers at once, while their instances end and begin again.

Of a batch, each call that was answered is in exactly one start, and one whose answer is missing in at most one. Of a
debounce no call is started twice, and the last one of all is started.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from romancy import InstanceNotFoundError, StorageUnavailableError, WorkflowContext, WorkflowStuckError, workflow
from romancy.windows.asking import LINGERS
from romancy_conformance.chaos.shapes.acts import FORMS
from romancy_conformance.chaos.stage import stage

if TYPE_CHECKING:
    from romancy import Romancy, WindowHandle, Workflow
    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Windows"]

_PATIENCE: Final = 300.0
"""Seconds after which a window whose instance is stuck was taken up by a worker with the codec."""
_PAUSES: Final = (0.0, 0.0, 0.02, 0.3, 2.0)
"""Seconds between two calls of one caller, at most."""
_LENGTHS: Final = (0.01, 0.1, 0.5, 2.0)
"""Seconds until a window closes."""
_LINGERS: Final = (10_000, 300_000, 2_000_000)
"""Microseconds after which an instance ends that has heard nothing."""


async def _last(ctx: WorkflowContext, call: str, form: str) -> list[str]:
    await FORMS[form](0)
    return [call]


async def _all(ctx: WorkflowContext, calls: list[str], form: str = "coroutine") -> list[str]:
    await FORMS[form](0)
    return calls


_LAST: Final[dict[bool, Workflow[[str, str], list[str]]]] = {
    False: workflow(version="1", name="shape_last")(_last),
    True: workflow(version="1", name="shape_last_sealed")(_last),
}
_ALL: Final[dict[bool, Workflow[[list[str]], list[str]]]] = {
    False: workflow(version="1", name="shape_all")(_all),
    True: workflow(version="1", name="shape_all_sealed")(_all),
}


class Windows:
    """A window that several callers fill. What it starts does little, and returns the calls."""

    def __init__(self, *, sealed: bool) -> None:
        self.name = "windows-sealed" if sealed else "windows"
        self.sealed = sealed
        self.workflows: tuple[Any, ...] = (_LAST[sealed], _ALL[sealed])

    async def play(self, scene: Scene) -> None:
        """Make calls, the last one when all others were made, and look at what was started."""
        callers = _Callers(scene, sealed=self.sealed)
        await callers.call()
        await callers.see_the_last()
        await callers.see_the_end()
        await callers.judge()


class _Callers:
    """Those who call for one key."""

    def __init__(self, scene: Scene, *, sealed: bool) -> None:
        chance = scene.chance
        self._scene = scene
        self._app: Romancy = scene.app
        self._sealed = sealed
        self._debounces = chance.random() < 0.5
        self._form = chance.choice([*FORMS])
        self._length = chance.choice(_LENGTHS)
        self._longest = chance.choice((None, self._length, 3 * self._length))
        self._size = chance.choice((1, 2, 3, 7))
        self._lingers = chance.choice(_LINGERS) if chance.random() < 0.6 else None
        """None: as long as always. Otherwise ids are forgotten soon, and no call is repeated."""
        self._sure: list[str] = []
        self._unsure: list[str] = []
        self._last: tuple[str, WindowHandle[Any]] | None = None

    async def call(self) -> None:
        """Let several callers call at once, and then make the last call."""
        await asyncio.gather(*(self._calls(f"c{number}") for number in range(self._scene.chance.randint(1, 4))))
        while self._last is None:
            await self._make("last", len(self._unsure))

    async def _calls(self, caller: str) -> None:
        chance = self._scene.chance
        for number in range(chance.choice((1, 3, 9, 20))):
            made = await self._make(caller, number)
            if made is not None and chance.random() < 0.1:
                await self._scene.insist(made.flush)
            await asyncio.sleep(chance.random() * chance.choice(_PAUSES))

    async def _make(self, caller: str, number: int) -> WindowHandle[Any] | None:
        """Make a call: until it is answered or, if ids are soon forgotten, once. None: it was not answered."""
        call = f"{caller}.{number:03}"
        while True:
            try:
                made = await self._made(call)
            except StorageUnavailableError:
                await asyncio.sleep(0.1)
                if self._lingers is not None:
                    self._unsure.append(call)
                    return None
            else:
                self._sure.append(call)
                if caller == "last":
                    self._last = call, made
                return made

    async def _made(self, call: str) -> WindowHandle[Any]:
        key, id = f"{self._scene.path}.w", call if self._lingers is None else None
        if self._lingers is not None:
            LINGERS.set(self._lingers)
        if self._debounces:
            what = _LAST[self._sealed].bind(call, self._form)
            return await self._app.debounce(what, key, wait=self._length, max_wait=self._longest, id=id)
        wf: Any = _ALL[self._sealed]
        return await self._app.batch(wf, call, key, size=self._size, within=self._length, id=id)

    # ── what they see ───────────────────────────────────────────────────────────────────────────────────────────

    async def see_the_last(self) -> None:
        """Wait for what the last call has come to. In a short life it may be forgotten before it is looked at."""
        assert self._last is not None
        call, made = self._last
        try:
            started = await self._scene.insist(made.started)
        except InstanceNotFoundError as error:
            if self._lingers is None:
                self._find("lost", f"{call} has come to nothing: {error}")
            return
        told: Any = await self._scene.outcome(started.instance_id)
        if isinstance(told, Exception) or not self._has_come_to(call, told):
            self._find("wrong", f"{call} has come to {started.instance_id}, which told {told}")

    async def see_the_end(self) -> None:
        """Wait until its instance has ended, where that takes no time."""
        assert self._last is not None
        instance = self._last[1].instance_id
        if not stage.is_quick and self._lingers is None:
            await self._scene.stop(lambda: self._app.terminate(instance))
            return
        outcome, since = await self._scene.outcome(instance), stage.moment()
        while isinstance(outcome, WorkflowStuckError) and stage.moment() - since < _PATIENCE:
            await asyncio.sleep(1)  # a worker without the codec has met it; one that has the codec takes it again
            outcome = await self._scene.outcome(instance)
        if outcome is not None:
            self._find("wrong", f"the instance of the window ended with {outcome}")

    async def judge(self) -> None:
        """Compare what was started with what was called."""
        assert self._last is not None
        instance = self._last[1].instance_id

        async def started() -> list[tuple[Any, str]]:
            found = self._app.iter_instances(parent=instance)
            return sorted([(one.created_at, one.instance_id) async for one in found])

        starts: list[list[str]] = []
        for _, one in await self._scene.insist(started):
            told: Any = await self._scene.outcome(one)
            if isinstance(told, Exception):
                self._find("wrong", f"{one} ended with {told}")
            else:
                starts.append(told)
        self._judge_each(Counter(call for calls in starts for call in calls))
        for calls in starts:
            if len(calls) > self._size and not self._debounces:
                self._find("wrong", f"{len(calls)} calls came to a batch of {self._size}")
        if self._debounces and not any(self._has_come_to(self._last[0], calls) for calls in starts):
            self._find("lost", f"the last call, {self._last[0]}, was not started")

    def _has_come_to(self, call: str, started: list[str]) -> bool:
        """Whether this call has come to a start: of a debounce also one that was given up, and came behind the call."""
        return call in started or (self._debounces and started[0] in self._unsure)

    def _judge_each(self, found: Counter[str]) -> None:
        for call, times in found.items():
            if times > 1:
                self._find("doubled", f"{call} was started {times} times")
            if call not in self._sure and call not in self._unsure:
                self._find("phantom", f"nobody has called {call}")
        if not self._debounces:
            for call in self._sure:
                if call not in found:
                    self._find("lost", f"{call} is in no batch")

    def _find(self, kind: str, text: str) -> None:
        self._scene.find(kind, f"{text} ({'debounce' if self._debounces else f'batch of {self._size}'})")
