"""What comes while the end of an instance is on its way to the log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from romancy import EventType, WorkflowContext, activity, activity_context, workflow
from romancy.status import TERMINAL_STATUSES, Status
from romancy_conformance.simulation.named.scene import did

if TYPE_CHECKING:
    from romancy_conformance.simulation.named.scene import Scene

__all__ = ["WORKFLOWS", "message_amid_an_end", "request_behind_an_end"]

number_sent = EventType("number", int)


@workflow
async def hears_one(ctx: WorkflowContext) -> int:
    return (await ctx.wait_event(number_sent)).data


@activity
async def works(seconds: float) -> None:
    did("works")
    await asyncio.sleep(seconds if activity_context().attempt == 1 else 0.1)


@workflow
async def task(ctx: WorkflowContext) -> str:
    await works(20.0)
    return "done"


WORKFLOWS = (hears_one, task)


class _HoldsAnEnd:
    """Holds the first append back that ends an instance, before it is sent."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def alters(self, store: Any) -> None:
        commit = store.commit

        async def late(items: Any, **kwargs: Any) -> Any:
            if not self.begun.is_set() and any(_ends(item) for item in items):
                self._loop.call_soon_threadsafe(self.begun.set)
                await asyncio.sleep(1.0)
            return await commit(items, **kwargs)

        store.commit = late


def _ends(item: Any) -> bool:
    change = getattr(item, "change", None)
    return change is not None and change.status in TERMINAL_STATUSES


async def message_amid_an_end(scene: Scene) -> None:
    """A newer message comes while its receiver's end is under way: it does not take the place of the last one."""
    holds = _HoldsAnEnd()
    handle = await scene.app.start(hears_one.options(instance_id="hears"))
    scene.worker("a", WORKFLOWS, machine=0, alters=holds.alters)
    await asyncio.sleep(scene.chance.uniform(0.0, 0.5))
    await scene.app.signal("hears", number_sent, 1)
    await holds.begun.wait()
    await asyncio.sleep(scene.chance.uniform(0.0, 0.5))
    await scene.app.signal("hears", number_sent, 2)
    if (heard := await handle.result()) != 1:
        scene.find("order", "hears", f"it received {heard} before 1")


async def request_behind_an_end(scene: Scene) -> None:
    """A request to cancel comes while an instance is being terminated, and stays behind its end. It is retried then."""
    holds = _HoldsAnEnd()
    await scene.app.start(task.options(instance_id="task"))
    scene.worker("a", WORKFLOWS, machine=0, alters=holds.alters)
    await scene.until(lambda: bool(scene.effects), "the work of a")
    terminating = asyncio.create_task(scene.app.terminate("task"))
    await holds.begun.wait()
    await asyncio.sleep(scene.chance.uniform(0.0, 0.5))
    await scene.app.cancel("task")
    await terminating
    await asyncio.sleep(2.0)
    await scene.app.retry("task", unsure="undone")
    await asyncio.sleep(30.0)
    if (status := await scene.app.handle("task").status()) is not Status.COMPLETED:
        scene.find("wrong", "task", f"its retry is {status}: a request from before its end has stopped it")
