"""Payloads of a megabyte: as input, as result of activities, in events, and as the result of the workflow."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

from romancy import EventType, InstanceEndedError, RetryPolicy, WorkflowContext, activity, workflow

if TYPE_CHECKING:
    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Heavy"]

_SIZE = 1_000_000
_LOAD = EventType("shape-load", str)


def _next(load: str) -> str:
    """Return other text of the same length."""
    block = hashlib.sha256(load.encode()).hexdigest()
    return (block * (len(load) // len(block) + 1))[: len(load)]


@activity(retry=RetryPolicy.fixed(12, 0.01))
async def shape_carries(load: str) -> str:
    return _next(load)


async def _heavy(ctx: WorkflowContext, load: str) -> str:
    load = await shape_carries(load)
    return await shape_carries(load[:1] + (await ctx.wait_event(_LOAD)).data)


_HEAVY = {
    False: workflow(version="1", name="shape_heavy")(_heavy),
    True: workflow(version="1", name="shape_heavy_sealed")(_heavy),
}


class Heavy:
    """One instance carries megabytes to its end."""

    def __init__(self, *, sealed: bool) -> None:
        self.name = "heavy-sealed" if sealed else "heavy"
        self.sealed = sealed
        self.workflows: tuple[Any, ...] = (_HEAVY[sealed],)

    async def play(self, scene: Scene) -> None:
        """Play one instance, and compare every byte."""
        load = _next(f"{scene.chance.random():<{_SIZE}}")
        await scene.start(_HEAVY[self.sealed].options(instance_id=scene.path).bind(load))
        sent = _next(load)
        try:
            await scene.insist(partial(scene.app.send, _LOAD, sent, to=scene.path, id=f"{scene.path}-load"))
        except InstanceEndedError:
            scene.find("wrong", "it had ended before it was sent its load")
        right = _next(_next(load)[:1] + sent)
        if (outcome := await scene.outcome(scene.path)) != right:
            scene.find("wrong", f"it ended with {outcome}"[:300])
