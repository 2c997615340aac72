"""Ids that are used again and again: an operator stops and purges each life, and gives calls up that hang.

After a start was acknowledged, no call that was made before it may stop or remove that life, however late it arrives.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from romancy import (
    InstanceConflictError,
    InstanceNotFoundError,
    StorageUnavailableError,
    WorkflowCancelledError,
    WorkflowContext,
    workflow,
)
from romancy_conformance.chaos.shapes.acts import FORMS
from romancy_conformance.chaos.shapes.honesty import TERMINATED

if TYPE_CHECKING:
    from datetime import datetime

    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Purged"]

_MOST_LIVES: Final = 8
_OF_A_LIFE: Final = 1000
"""The numbers of each life begin at another multiple of this."""
_PATIENCES: Final = (0.03, 0.3, 60.0)
"""Seconds after which an operator gives a call up."""
_STAYS: Final = (0.0, 0.0, 0.5, 5.0)
"""Seconds that an instance is left alone after its end, in which a late purge may come."""


@workflow(version="1")
async def shape_anew(ctx: WorkflowContext, first: int, count: int, nap: float, form: str) -> int:
    total = 0
    for number in range(first, first + count):
        await ctx.sleep(nap)
        total += await FORMS[form](number)
    return total


class Purged:
    """Several lives of one id, one after the other."""

    name = "purged"
    sealed = False
    workflows: tuple[Any, ...] = (shape_anew,)

    async def play(self, scene: Scene) -> None:
        """Start a life, stop it or let it return, look whether it stays, and purge it before the next one."""
        last = scene.chance.randint(2, _MOST_LIVES) - 1
        before: _Life | None = None
        for number in range(last + 1):
            life = before = _Life(scene, number, before)
            if not await life.begins():
                return
            await asyncio.gather(life.is_stopped(), life.ends())
            await life.stays()
            if number == last or not life.is_sure:  # a start that comes late must not begin an id that was purged
                return
            await life.is_purged()


class _Life:
    """One use of an id. Its number shows in what it returns."""

    def __init__(self, scene: Scene, number: int, before: _Life | None) -> None:
        self.is_sure = True
        """No start of it can still be on its way, as far as the operator knows."""
        self.created_at: datetime | None = None
        self._before = before
        chance = scene.chance
        self._scene = scene
        self._number = number
        self._first, self._count = _OF_A_LIFE * number, chance.randint(1, 5)
        self._nap, self._form = chance.choice((0.01, 0.2, 0.2, 2.0)), chance.choice([*FORMS])
        self._stop = chance.choice(("", "", "cancel", "cancel", "terminate"))
        self._calls = chance.choice((1, 3))
        self._patience = chance.choice(_PATIENCES)
        self._insists = chance.random() < 0.5
        self._moment = chance.uniform(0.0, 1.5 * self._nap * self._count)

    async def begins(self) -> bool:
        """Start it. False: a start of the life before, which its app has sent twice, took the id after the purge."""
        scene = self._scene
        call = shape_anew.options(instance_id=scene.path).bind(self._first, self._count, self._nap, self._form)
        while True:
            try:
                await scene.app.start_many([call])
            except StorageUnavailableError:
                self.is_sure = False
                await asyncio.sleep(0.1)
            except InstanceConflictError:
                await scene.outcome(scene.path)
                found = await scene.insist(partial(scene.app.get_instance, scene.path))
                if self._before is None or found is None or found.created_at == self._before.created_at:
                    scene.find("wrong", f"the id of life {self._number} is taken, and nobody can have taken it")
                scene.lives.is_begun_twice = True
                return False
            else:
                return True

    async def is_stopped(self) -> None:
        """Stop it at some moment, perhaps by calls that are given up."""
        if self._stop:
            await asyncio.sleep(self._moment)  # the moment is what is tried
            for _ in range(self._calls):
                await self._ask(self._stop)
            if self._insists:
                await self._scene.insist(partial(self._asked, "terminate"))

    async def _ask(self, how: str) -> None:
        with suppress(StorageUnavailableError, TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._asked(how)

    async def _asked(self, how: str) -> None:
        app, path = self._scene.app, self._scene.path
        try:
            await (app.cancel(path) if how == "cancel" else app.terminate(path, reason=TERMINATED))
        except InstanceNotFoundError:
            self._is_lost("when it was to be stopped")

    async def ends(self) -> None:
        """Wait for its end, and compare it with what may have become of it."""
        outcome = await self._scene.outcome(self._scene.path)
        right = sum(range(self._first, self._first + self._count))
        if isinstance(outcome, InstanceNotFoundError):
            self._is_lost("before its end")
        elif isinstance(outcome, WorkflowCancelledError) and not self._stop:
            self._scene.find("wrong", f"life {self._number} was stopped, and nobody had asked for it: {outcome}"[:300])
        elif outcome != right and not isinstance(outcome, WorkflowCancelledError):
            self._scene.find("wrong", f"life {self._number} ended with {outcome}, and had to return {right}"[:300])

    async def stays(self) -> None:
        """Leave it alone for a while: only what was asked for before it began could remove it."""
        scene = self._scene
        await asyncio.sleep(scene.chance.choice(_STAYS))
        try:
            events = await scene.insist(partial(scene.app.history, scene.path))
        except InstanceNotFoundError:
            self._is_lost("after its end")
            return
        scene.lives.logs.append(events)
        found = await scene.insist(partial(scene.app.get_instance, scene.path))
        self.created_at = None if found is None else found.created_at

    async def is_purged(self) -> None:
        """Purge it, until it is gone. Any of these calls may still be on its way then."""
        scene, patience = self._scene, self._scene.chance.choice(_PATIENCES)
        while True:
            children = scene.chance.random() < 0.3
            with suppress(StorageUnavailableError, TimeoutError):
                async with asyncio.timeout(patience):
                    if await scene.app.purge(scene.path, children=children):
                        return
            found = await scene.insist(partial(scene.app.get_instance, scene.path))
            if found is None:
                return
            scene.lives.is_begun_twice |= found.created_at != self.created_at
            patience = _PATIENCES[-1]

    def _is_lost(self, when: str) -> None:
        self._scene.find("lost", f"life {self._number} was removed {when}, by what was asked for before it began")
