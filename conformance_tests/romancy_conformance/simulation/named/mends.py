"""Courses of events that the engine once did not survive, and that random rounds have once in some hours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from romancy import WorkflowContext, activity, compensation, workflow
from romancy.core import ActivityCancelled, decode_commit
from romancy_conformance.chaos.judge import read_log
from romancy_conformance.simulation.named.scene import did

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy_conformance.simulation.named.scene import Scene

__all__ = ["WORKFLOWS", "cancelled_after_a_death", "lapse_amid_an_append"]


@compensation
async def take_back() -> None:
    did("take back")


@activity(compensation=take_back)
async def book() -> None:
    did("book")
    await asyncio.sleep(60.0)


@workflow
async def trip(ctx: WorkflowContext) -> None:
    await book()


@activity
async def quick(number: int) -> None:
    did(f"quick {number}")


@workflow
async def quicks(ctx: WorkflowContext) -> str:
    for number in range(300):
        await quick(number)
        await ctx.sleep(0.02)
    return "done"


WORKFLOWS = (trip, quicks)


async def cancelled_after_a_death(scene: Scene) -> None:
    """A call is cancelled, and its attempt stops. A former attempt died in the middle: its outcome is unknown."""
    await scene.app.start(trip.options(instance_id="trip"))
    first = scene.worker("a", WORKFLOWS, machine=0)
    await scene.until(lambda: bool(scene.effects), "the first attempt")
    await asyncio.sleep(scene.chance.uniform(0.0, 1.0))
    first.kill()
    scene.worker("b", WORKFLOWS, machine=0)
    await scene.until(lambda: len(scene.effects) > 1, "the second attempt")
    await asyncio.sleep(scene.chance.uniform(0.0, 1.0))
    await scene.app.cancel("trip")
    await asyncio.sleep(5.0)
    ends = [event for event in await _events(scene.reads, "trip") if isinstance(event, ActivityCancelled)]
    if not ends or not ends[0].unknown:
        scene.find("unheard", "trip", f"an attempt has died that had booked, and the log says {ends}")


async def lapse_amid_an_append(scene: Scene) -> None:
    """A lease lapses while an append is under way. The worker claims again, and the append arrives after that."""
    held = asyncio.Event()
    holding, silences = list[str](), list[float]()

    def holds(store: Any) -> None:
        heartbeat, commit = store.heartbeat, store.commit

        async def silent(*args: Any) -> Any:
            if holding and not silences:
                silences.append(scene.now)
                await asyncio.sleep(4.0)
                answer = await heartbeat(*args)
                loop.call_later(scene.chance.uniform(3.3, 4.5), held.set)
                return answer
            return await heartbeat(*args)

        async def late(items: Any, **kwargs: Any) -> Any:
            if scene.now > 3.0 and not holding:
                holding.append(items[0].instance_id)
                await held.wait()
            return await commit(items, **kwargs)

        loop = asyncio.get_running_loop()
        store.heartbeat, store.commit = silent, late

    await scene.app.start(quicks.options(instance_id="quicks"))
    scene.worker("a", WORKFLOWS, machine=0, alters=holds)
    await scene.until(held.is_set, "the append that is late")
    await asyncio.sleep(40.0)
    per_activity: dict[str, int] = {}
    for effect in scene.effects:
        per_activity[effect.activity] = per_activity.get(effect.activity, 0) + 1
    for name, times in per_activity.items():
        if times > 1:
            scene.find(
                "doubled", "quicks", f"{name} was carried out {times} times, and its end was on its way to the log"
            )


async def _events(store: Store, instance_id: str) -> list[Any]:
    found = await read_log(store, instance_id)
    assert found is not None
    return [event for row in found[1] for event in decode_commit(row.body)]
