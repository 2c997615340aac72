"""The worker of an entity dies at each place, and each caller gets the same answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from romancy import RequestFailedError, WorkflowContext, activity, entity, workflow
from romancy.testing import crash_at_every_commit

if TYPE_CHECKING:
    from romancy import Handle
    from romancy.testing import TestApp

pytestmark = pytest.mark.anyio


@activity
async def weight_of(item: str) -> int:
    return len(item)


@entity("crashed-shelf")
@dataclass
class Shelf:
    """Holds ten."""

    items: list[str] = field(default_factory=list[str])
    weight: int = 0

    async def put(self, item: str) -> int:
        self.items.append(item)
        self.weight += await weight_of(item)
        if self.weight > 10:
            raise OverflowError(f"no room for {item}")
        return self.weight


@workflow
async def waits_for_callers(ctx: WorkflowContext) -> None:
    await ctx.wait_event("done")


WORKFLOWS: Any = [waits_for_callers, Shelf]


async def test_each_caller_gets_the_same_answer_wherever_the_worker_dies() -> None:
    answers: list[list[object]] = []

    async def call(app: TestApp, handle: Handle[Any]) -> None:
        async def told(item: str, id: str) -> object:
            try:
                return await app.entity(Shelf, "a", id=id).put(item)
            except RequestFailedError as error:
                return repr(error.__cause__)

        alone = [await told("lamp", "1"), await told("wardrobe", "2")]
        together = await asyncio.gather(told("cup", "3"), told("pot", "4"))
        state = await app.entity_handle(Shelf, "a").state()
        answers.append([*alone, *sorted(together, key=str), state])
        await handle.signal("done", id="done")

    crashes = await crash_at_every_commit(
        waits_for_callers.bind(), workflows=WORKFLOWS, drive=call, effects=lambda: answers[-1]
    )

    assert len(crashes) > 12
    assert [4, "OverflowError('no room for wardrobe')", 10, 7, Shelf(["lamp", "cup", "pot"], 10)] == crashes[0].effects


@workflow
async def fills(ctx: WorkflowContext) -> list[object]:
    shelf, told = ctx.entity(Shelf, "b"), list[object]()
    for item in ("lamp", "wardrobe", "cup"):
        try:
            told.append(await shelf.put(item))
        except RequestFailedError as error:
            told.append(repr(error.__cause__))
    return told


async def test_a_body_calls_once_wherever_the_worker_dies() -> None:
    states: list[object] = []

    async def look(app: TestApp, handle: Handle[Any]) -> None:
        await handle.result()
        states.append(await app.entity_handle(Shelf, "b").state())

    crashes = await crash_at_every_commit(
        fills.bind(), workflows=[fills, Shelf], drive=look, effects=lambda: states[-1]
    )

    assert len(crashes) > 12
    assert Shelf(["lamp", "cup"], 7) == crashes[0].effects
