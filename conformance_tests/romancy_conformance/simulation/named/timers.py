"""Timers of instances that cannot rest for hours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy import WorkflowContext, activity, workflow
from romancy_conformance.simulation.named.scene import did

if TYPE_CHECKING:
    from romancy_conformance.simulation.named.scene import Scene

__all__ = ["WORKFLOWS", "long_timer"]

_LATER: Final = 5400.0
_LONGER: Final = 6000.0


@activity
async def at_work() -> None:
    did("begins")
    await asyncio.sleep(_LONGER)


@activity
async def rings() -> None:
    did("rings")


@workflow
async def alarm(ctx: WorkflowContext) -> None:
    """Its activity keeps it loaded while its timer runs."""

    async def wait() -> None:
        await ctx.sleep(_LATER)
        await rings()

    await asyncio.gather(at_work(), wait())


WORKFLOWS = (alarm,)


async def long_timer(scene: Scene) -> None:
    """A timer of an hour and a half rings in time, in an instance that is loaded all the while."""
    began = scene.now
    await scene.app.start(alarm.options(instance_id="alarm"))
    scene.worker("a", WORKFLOWS, machine=0, lease=120.0)
    await asyncio.sleep(_LONGER + 10)
    for effect in scene.effects:
        if effect.what == "rings" and not _LATER <= effect.at - began < _LATER + 1:
            scene.find("timer", effect.instance, f"it rang {effect.at - began:.3f} s after its start")
