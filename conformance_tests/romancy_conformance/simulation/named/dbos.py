"""What went wrong in public while DBOS recovered workflows (dbos-transact-py, by the numbers of its issues).

Each case plays the same course of events. docs/recovery-cases.md tells what happened there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from romancy import UsageError, WorkflowContext, activity, workflow
from romancy_conformance.simulation.named.scene import ScenePlayedWronglyError, did

if TYPE_CHECKING:
    from romancy.testing.simulating.worker import Worker
    from romancy_conformance.simulation.named.scene import Effect, Scene

__all__ = [
    "WORKFLOWS",
    "database_restarts_amid_a_takeover",
    "old_and_new_have_one_name",
    "stale_list",
    "stuck_in_front",
]

_JOBS = 60
_DRAINS_FOR = 5.0


@activity
async def step(name: str, seconds: float) -> str:
    did(name)
    await asyncio.sleep(seconds)
    return name


@workflow
async def job(ctx: WorkflowContext, seconds: float) -> str:
    for name in ("first", "second", "third"):
        await step(name, seconds)
    return "done"


@workflow
async def sleeper(ctx: WorkflowContext) -> str:
    for name in ("first", "second", "third"):
        await step(name, 0.5)
        await ctx.sleep(2.0)
    return "done"


WORKFLOWS = (job, sleeper)


async def _jobs(scene: Scene, count: int, seconds: float) -> None:
    await scene.app.start_many([job.options(instance_id=f"job{number}").bind(seconds) for number in range(count)])


async def database_restarts_amid_a_takeover(scene: Scene) -> None:
    """#716: a worker dies with many workflows, and the database restarts while another one takes them over."""
    await _jobs(scene, _JOBS, 0.3)
    first = scene.worker("a", WORKFLOWS, machine=0)
    await scene.until(lambda: len(scene.effects) > _JOBS, "the work of a")
    other = scene.worker("b", WORKFLOWS, machine=1)
    await asyncio.sleep(scene.chance.uniform(0.0, 0.2))
    first.kill()
    await scene.until(lambda: other.asks("takeover"), "a takeover by b")
    await asyncio.sleep(scene.chance.choice((0.0, 0.0003, 0.001, 0.005)))
    scene.breaks()
    await asyncio.sleep(2.0)
    scene.comes_back()


async def stale_list(scene: Scene) -> None:
    """#742: two workers see a dead one. When the second acts, the first has taken and given back its workflows."""
    seen, given_back, moved = asyncio.Event(), asyncio.Event(), list[int]()

    def second(store: Any) -> None:
        takeover = store.takeover

        async def later(*args: Any) -> Any:
            seen.set()
            await scene.until(given_back.is_set, "what b gives back")
            answer = await takeover(*args)
            moved.append(len(answer.moved))
            return answer

        store.takeover = later

    def first(store: Any) -> None:
        takeover = store.takeover

        async def once_seen(*args: Any) -> Any:
            await scene.until(seen.is_set, "what c sees")
            return await takeover(*args)

        store.takeover = once_seen

    await _jobs(scene, 6, 1.5)
    dead = scene.worker("a", WORKFLOWS, machine=0)
    await scene.until(lambda: len(scene.effects) >= 6, "the work of a")
    taker = scene.worker("b", WORKFLOWS, machine=1, alters=first, lease=30.0)
    scene.worker("c", WORKFLOWS, machine=2, alters=second, lease=30.0)
    await asyncio.sleep(scene.chance.uniform(0.5, 1.0))
    dead.kill()
    await scene.until(lambda: any(each.process != "a" for each in scene.effects), "work of b or c")
    taker.drain()
    await taker.is_over.wait()
    given_back.set()
    await scene.until(lambda: bool(moved), "the takeover by c")
    if any(moved):
        scene.find("takeover", "job0", f"c took {moved} workflows over that the dead worker had no more")


async def old_and_new_have_one_name(scene: Scene) -> None:
    """#804: the new process begins under the name of the old one, while that one drains."""
    for number in range(4):
        await scene.app.start(sleeper.options(instance_id=f"sleeper{number}"))
    await scene.app.start(job.options(instance_id="long"), _DRAINS_FOR)
    old = scene.worker("old", WORKFLOWS, machine=0, worker_id="local", drain=10.0)

    def beside(effect: Effect) -> None:
        if effect.process != "old" and not old.process.is_dead:
            scene.find("crew", effect.instance, f"{effect.process} works beside another worker of its name")

    scene.hears.append(beside)
    await asyncio.sleep(scene.chance.uniform(0.5, 4.0))
    old.drain()
    refused = 0
    while (new := await _begun(scene, f"new{refused}")).process.is_dead:
        if not isinstance(new.process.error, UsageError):
            raise ScenePlayedWronglyError("the new process ended by itself") from new.process.error
        refused += 1
        await asyncio.sleep(0.1)
    if not refused and not scene.findings:
        raise ScenePlayedWronglyError("the new process was not there before the old one had gone")


async def _begun(scene: Scene, name: str) -> Worker:
    """Start a worker of the same name, and return it once it is at work or has ended."""
    new = scene.worker(name, WORKFLOWS, machine=0, worker_id="local")
    at_work = asyncio.Event()
    scene.hears.append(lambda effect: at_work.set() if effect.process == name else None)
    waiting = [asyncio.create_task(event.wait()) for event in (new.is_over, at_work)]
    await asyncio.wait(waiting, timeout=20.0, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()
    return new


async def stuck_in_front(scene: Scene) -> None:
    """#805: a worker that takes one workflow at a time dies between two steps, and others wait behind that workflow."""
    worker: list[Worker] = []

    def at_work(name: str) -> Worker:
        return scene.worker(name, WORKFLOWS, machine=0, max_live=1, max_activities=1)

    def dies_soon(effect: Effect) -> None:
        if effect.what == "second" and len(worker) < 3:
            world, dying = scene.cluster.world, worker[-1]
            ends = world.now + 10_000 + scene.chance.choice((-500, 200, 600, 1000, 2000))
            world.at(ends, dying.kill)

    scene.hears.append(dies_soon)
    await _jobs(scene, 6, 0.01)
    worker.append(at_work("w1"))
    for number in (2, 3):
        await worker[-1].is_over.wait()
        await asyncio.sleep(0.2)
        worker.append(at_work(f"w{number}"))
