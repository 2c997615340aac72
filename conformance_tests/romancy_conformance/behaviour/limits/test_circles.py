"""Who waits for each other under limits is named."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from romancy import Limit, Romancy, WorkflowContext, workflow
from romancy_conformance.behaviour.limits.serving import GO, SOON, until_asked
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from romancy import Handle

pytestmark = pytest.mark.anyio

LEFT, RIGHT = Limit("left", concurrency=1), Limit("right", concurrency=1)


@workflow
async def takes_both(ctx: WorkflowContext, first: str) -> str:
    one, other = (LEFT, RIGHT) if first == "left" else (RIGHT, LEFT)
    async with ctx.limit(one):
        await ctx.wait_event(GO)
        async with ctx.limit(other):
            return first


async def told(handle: Handle[str]) -> str:
    return " ".join(await handle.explain())


async def test_a_circle_is_named_and_others_are_not(app: Romancy) -> None:
    handles = [await app.start(takes_both.options(instance_id=one), one) for one in ("left", "right")]
    for handle in handles:
        await until_asked(handle)
    behind = await app.start(takes_both.options(instance_id="behind"), "left")
    await until(partial(_says, behind, "held by left"))
    assert "circle" not in await told(behind), "who has the place waits for a message"

    for handle in handles:
        await handle.signal(GO, "on")
    circle = "a circle: all of left, right have places and wait for places that the others have"
    for handle in (*handles, behind):
        await until(partial(_says, handle, circle))

    await app.free_places("right")
    assert "left" == await handles[0].result(SOON)
    assert "circle" not in await told(behind)


async def _says(handle: Handle[str], words: str) -> bool:
    return words in await told(handle)
